package main

import (
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// copyOutput is where a copy tells what it does.
type copyOutput struct {
	show  func(filesync.Progress) // nil: nobody wants to know
	notes io.Writer               // lines for people
	names io.Writer               // of what is transferred or deleted; nil: nobody wants to know
}

// writer is a function as an io.Writer.
type writer func(text []byte) (int, error)

func (w writer) Write(text []byte) (int, error) { return w(text) }

// The lines of copy --json. Times are in seconds, in place of the nanoseconds
// of what is embedded.
type (
	progressEvent struct {
		Event string `json:"event"`
		filesync.Progress
		Elapsed float64 `json:"elapsed"`
	}
	lineEvent struct {
		Event string `json:"event"`
		Line  string `json:"line"` // as -v prints it
	}
	summaryEvent struct {
		Event string `json:"event"`
		copyResult
		Elapsed float64 `json:"elapsed"`
	}
	errorEvent struct {
		Event string `json:"event"`
		Error string `json:"error"`
		Hint  string `json:"hint,omitempty"`
		Code  int    `json:"code"` // the exit code
	}
)

// eventsEvery is how often an event tells how far a copy has come.
const eventsEvery = time.Second

// copyEvents tells programs what a copy does.
type copyEvents struct {
	out  io.Writer
	mu   sync.Mutex
	last time.Duration
}

func (e *copyEvents) show(p filesync.Progress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.Done || p.Elapsed-e.last >= eventsEvery {
		e.last = p.Elapsed
		_ = printEvent(e.out, progressEvent{Event: "progress", Progress: p, Elapsed: p.Elapsed.Seconds()}) // the summary will fail as well
	}
}

func (e *copyEvents) line(text []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(text), printEvent(e.out, lineEvent{Event: "line", Line: strings.TrimSuffix(string(text), "\n")})
}

func failedEvent(err error) errorEvent {
	message, next := describe(err)
	return errorEvent{Event: "error", Error: message, Hint: next, Code: exitCode(err)}
}

// printEvent prints an object on a line of its own.
func printEvent(out io.Writer, event any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(event)
}
