package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// eventsFormat is the version of what --json prints of a run. It changes when a
// name or its meaning does, not when there is a name more.
const eventsFormat = 1

// runEvents prints what happens in a run for programs: an object a line, the
// moment it happens. Nobody is failed by a reader that has gone.
type runEvents struct {
	mu  sync.Mutex
	out io.Writer
	// mark stands before each line where a run on another node reads them among
	// others.
	mark string
	run  string // the outermost run, once it is known
}

// eventMark begins a line on standard error of a run that is part of one on
// another node.
const eventMark = "warmrun: event "

type (
	// streamEvent is the first line.
	streamEvent struct {
		Event   string    `json:"event"`
		Format  int       `json:"format"`
		At      time.Time `json:"at"`
		Version string    `json:"version"`
		Runbook string    `json:"runbook,omitempty"`
	}
	// runEvent is an event of a run, or of one within it, on a node.
	runEvent struct {
		engine.Event
		Run  string           `json:"run"`
		Node cluster.NodeName `json:"node"`
	}
	// streamEnd is the last line: how the program ends, and what to type then.
	streamEnd struct {
		Event    string    `json:"event"`
		At       time.Time `json:"at"`
		Run      string    `json:"run,omitempty"`
		ExitCode int       `json:"exit_code"`
		Error    string    `json:"error,omitempty"`
		Hint     string    `json:"hint,omitempty"`
	}
)

// streamed runs a command that prints its events for programs in the place of
// what people read. Errors are on standard error as ever.
func (p *process) streamed(runbook string, run func(*process) error) error {
	followed := *p
	followed.out, followed.events = io.Discard, &runEvents{out: p.out}
	followed.events.print(streamEvent{Event: "stream", Format: eventsFormat, At: time.Now(), Version: version, Runbook: runbook})
	err := run(&followed)
	end := streamEnd{Event: "end", At: time.Now(), Run: followed.events.run, ExitCode: exitCode(err)}
	if err != nil {
		end.Error, end.Hint = describe(err)
	}
	followed.events.print(end)
	return err
}

// partStream lets a run that is part of another node's tell its events among what
// that reads on standard error.
func (p *process) partStream(wanted bool) {
	if wanted {
		p.events = &runEvents{out: p.err, mark: eventMark}
	}
}

// of tells the events of one run.
func (e *runEvents) of(run, outermost string, node cluster.NodeName) func(engine.Event) {
	if e == nil {
		return nil
	}
	return func(event engine.Event) {
		e.mu.Lock()
		e.run = outermost
		e.mu.Unlock()
		e.print(runEvent{Event: event, Run: run, Node: node})
	}
}

func (e *runEvents) print(event any) {
	text, err := json.Marshal(event)
	if told, ok := event.(runEvent); ok && err != nil { // a number that JSON has no form for
		told.Value = fmt.Sprint(told.Value)
		text, err = json.Marshal(told)
	}
	if err == nil {
		e.line(string(text))
	}
}

// relay passes on the line of a run on another node. Nil drops it.
func (e *runEvents) relay(line string) {
	if e != nil {
		e.line(strings.TrimRight(line, "\r\n"))
	}
}

func (e *runEvents) line(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _ = io.WriteString(e.out, e.mark+text+"\n")
}
