package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

func runbookOperations() []operation {
	return []operation{{module: "runbooks", bind: func(s *session) engine.Func {
		return engine.Func{
			Name: "run", Effect: engine.Change, Plans: true, Resumes: true, Args: []string{"node", "name", "params"},
			Doc: "run another runbook, on this node or another, as part of this one",
			Fn: func(ctx context.Context, node, name string, params map[string]any) (string, error) {
				return runNested(ctx, s, cluster.NodeName(node), name, params)
			},
		}
	}}}
}

// runNested runs a runbook inside a step: here in this process, elsewhere
// through the program on that node. In a plan it returns the nested plan.
func runNested(ctx context.Context, s *session, node cluster.NodeName, name string, params map[string]any) (string, error) {
	args := map[string]string{}
	for key, value := range params {
		args[key] = fmt.Sprint(value)
	}
	if _, err := s.site.Node(node); err != nil {
		return "", err
	}
	if engine.Planning(ctx) {
		return planNested(ctx, s, node, name, args)
	}
	key, again, err := engine.CallsRun(ctx, string(node), name)
	if err != nil {
		return "", err
	}
	outer := recorderOf(ctx)
	call := nestedCall{name: name, id: outer.id + "." + key, args: args, again: again, words: outer.words, passed: func() error { return engine.NoReturn(ctx) }}
	if s.site.IsSelf(node) {
		at := setting{view: viewOf(s.site), pinned: outer.at.pinned}
		err := nestedRun(ctx, s, at, call, engine.RunOptions{AssumeYes: true})
		engine.CallEnded(ctx, key)
		return "", err
	}
	err = runThere(ctx, s, node, call)
	var answered *remoteError
	if err == nil || errors.As(err, &answered) {
		engine.CallEnded(ctx, key)
	}
	return "", err
}

// planNested plans a runbook inside a step.
func planNested(ctx context.Context, s *session, name cluster.NodeName, book string, args map[string]string) (string, error) {
	if !s.site.IsSelf(name) {
		return planThere(ctx, s, name, book, args)
	}
	loaded, err := loadRunbook(ctx, s, s.setting(), book)
	if err != nil {
		return "", err
	}
	plan, err := loaded.Plan(ctx, args)
	if err != nil {
		return "", err
	}
	return plan.Nested(), nil
}

// planThere plans a runbook on another node as part of this plan.
func planThere(ctx context.Context, s *session, name cluster.NodeName, book string, args map[string]string) (string, error) {
	var text bytes.Buffer
	words := append(runbookWords(book, args), "--plan", "--json", "--within", "plan")
	if _, err := commandThere(ctx, s, name, book, words, &text, func() error { return nil }); err != nil {
		return "", err
	}
	plan := &engine.Plan{}
	if err := json.Unmarshal(text.Bytes(), plan); err != nil {
		return "", hint.Wrap(fmt.Errorf("the plan of %s on %s cannot be understood: %w", book, name, err), "the nodes run different versions of warmrun; run: warmrun distrib")
	}
	engine.PlansWithin(ctx, plan)
	return plan.Nested(), nil
}

// runbookWords are the command line of a runbook.
func runbookWords(book string, args map[string]string) []string {
	words := []string{book}
	for _, key := range sortedKeys(args) {
		words = append(words, fmt.Sprintf("--%s=%s", engine.Param{Name: key}.Flag(), args[key]))
	}
	return words
}

// runThere runs a runbook on another node.
func runThere(ctx context.Context, s *session, node cluster.NodeName, call nestedCall) error {
	words := append(runbookWords(call.name, call.args), s.asPart(call.id)...)
	if call.again {
		words = append(append(words, "--again"), call.words.words()...)
	}
	notBegun, err := commandThere(ctx, s, node, call.name, words, engine.Frame(ctx), call.passed)
	if err != nil && (call.again || !notBegun) && mayHavePassed(ctx, s, call.name, err) {
		err = errors.Join(err, call.passed())
	}
	return err
}

// asPart are the flags of a run that is part of this one.
func (s *session) asPart(id string) []string {
	words := []string{"--yes", "--attended", "--within", s.run, "--driver", s.driver, "--as", id}
	if s.color {
		words = append(words, "--color")
	}
	if s.events != nil {
		words = append(words, "--events")
	}
	return words
}

// commandThere runs this program on another node as part of this run. The node's
// own error and hint are the error; passed is called when it passes the line of
// no return, and notBegun reports that it was refused before it had done
// anything.
func commandThere(ctx context.Context, s *session, name cluster.NodeName, what string, words []string, out io.Writer, passed func() error) (notBegun bool, err error) {
	node, err := s.site.Node(name)
	if err != nil {
		return true, engine.NotBegun(err)
	}
	client, err := s.client(ctx, name)
	if err != nil {
		return true, engine.NotBegun(fmt.Errorf("reach %s: %w", name, err))
	}
	watch := &nestedOutput{rest: s.live(ctx), noReturn: passed, event: func(line string) { s.events.relay(engine.Veil(ctx, line)) }}
	defer engine.LivesElsewhere(ctx)() // its steps say that they still run
	err = client.Run(ctx, s.command(node, words...), remote.Streams{
		Out: out, Err: watch, KeepOpen: true, Grace: nestedUndo, GiveUp: s.stopUndo,
	})
	err = explainNested(ctx, name, what, watch.complaints.String(), err)
	if err != nil && watch.unsettled != nil {
		err = fmt.Errorf("%s on %s: %w", what, name, watch.unsettled)
	}
	if watch.notBegun {
		err = engine.NotBegun(err)
	}
	if watch.err != nil {
		err = errors.Join(err, watch.err)
	}
	return watch.notBegun, err
}

// nestedUndo is how long a nested run on another node may take to undo what it
// has done, once this one was interrupted. Only then is the rest undone here:
// two undos at once would be in each other's way.
const nestedUndo = 15 * time.Minute

// noReturnMark is what a nested run prints on standard error right before it
// does what cannot be undone; the run around it then goes only forward too.
const noReturnMark = "warmrun: no return"

// notBegunMark is what a nested run prints when it was refused before it had
// changed anything: then there is nothing to undo in the run around it.
const notBegunMark = "warmrun: nothing begun"

// mayHavePassed reports whether a failed nested run may have done what cannot
// be undone. A connection that broke leaves that unknown, and unknown is not
// failed: the run around it must not undo.
func mayHavePassed(ctx context.Context, s *session, book string, err error) bool {
	var remote *remoteError
	var unsettled *engine.UnsettledError
	if errors.As(err, &unsettled) {
		return false // it has told what it had passed before
	}
	if errors.As(err, &remote) { // and so has one that was refused
		return remote.code == exitOperator && engine.HasBegun(err)
	}
	loaded, loadErr := loadRunbook(ctx, s, s.setting(), book)
	return loadErr != nil || loaded.MayPassNoReturn()
}

// nestedOutput reads a nested run's standard error: its own error and hint
// become this run's, its marks are taken over, and everything else is passed
// on.
type nestedOutput struct {
	rest       io.Writer
	noReturn   func() error
	event      func(line string)
	complaints bytes.Buffer
	notBegun   bool
	unsettled  *engine.UnsettledError
	err        error
	line       []byte
}

func (w *nestedOutput) Write(p []byte) (int, error) {
	for _, b := range p {
		w.line = append(w.line, b)
		if b != '\n' {
			continue
		}
		if err := w.take(string(w.line)); err != nil {
			return 0, err
		}
		w.line = w.line[:0]
	}
	return len(p), nil
}

func (w *nestedOutput) take(line string) error {
	switch {
	case strings.TrimSpace(line) == noReturnMark:
		w.err = errors.Join(w.err, w.noReturn())
		return nil
	case strings.TrimSpace(line) == notBegunMark:
		w.notBegun = true
		return nil
	case strings.HasPrefix(line, eventMark):
		w.event(strings.TrimPrefix(line, eventMark))
		return nil
	case strings.HasPrefix(line, unsettledMark):
		w.unsettled = readUnsettled(line)
		return nil
	case strings.HasPrefix(line, "warmrun: error: "), strings.HasPrefix(line, "warmrun: hint: "):
		_, err := w.complaints.WriteString(line)
		return err
	}
	_, err := io.WriteString(w.rest, line)
	return err
}

// explainNested turns the failure of a runbook elsewhere into the same error
// that it would have been here.
func explainNested(ctx context.Context, node cluster.NodeName, book, complaints string, err error) error {
	if err == nil {
		return nil
	}
	var exit *remote.ExitError
	if !errors.As(err, &exit) && ctx.Err() != nil {
		return hint.Wrap(fmt.Errorf("%s on %s did not end in time: %w", book, node, err),
			"whether it still runs is unknown; look first: warmrun status")
	}
	if !errors.As(err, &exit) {
		return hint.Wrap(fmt.Errorf("the connection to %s broke while it ran %s: %w", node, book, err),
			"whether it ended is unknown; look first: warmrun status")
	}
	message, next := fmt.Sprintf("exit status %d", exit.Status), ""
	for _, line := range strings.Split(complaints, "\n") {
		if text, ok := strings.CutPrefix(line, "warmrun: error: "); ok {
			message = text
		}
		if text, ok := strings.CutPrefix(line, "warmrun: hint: "); ok {
			next = text
		}
	}
	failed := error(&remoteError{message: fmt.Sprintf("%s on %s: %s", book, node, message), code: exit.Status})
	if next != "" {
		failed = hint.Wrap(failed, "%s", next)
	}
	return failed
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
