package main

import (
	"bytes"
	"cmp"
	"context"
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
			Name: "run", Effect: engine.Change, Plans: true, Args: []string{"node", "name", "params"},
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
	if s.site.IsSelf(node) {
		return runNestedHere(ctx, s, name, args)
	}
	return runNestedThere(ctx, s, node, name, args)
}

func runNestedHere(ctx context.Context, s *session, name string, args map[string]string) (string, error) {
	book, err := loadRunbook(ctx, s, name)
	if err != nil {
		return "", err
	}
	if engine.Planning(ctx) {
		plan, err := book.Plan(ctx, args)
		if err != nil {
			return "", err
		}
		return plan.Nested(), nil
	}
	if err := checkRunsOn(ctx, s, book); err != nil {
		return "", engine.NotBegun(err)
	}
	if warning, err := movedWarning(s.site, name); err != nil || warning != "" {
		say(ctx, s, "%s", cmp.Or(warning, fmt.Sprint(err)))
	}
	_, err = book.Run(ctx, args, engine.RunOptions{AssumeYes: true})
	return "", err
}

func runNestedThere(ctx context.Context, s *session, name cluster.NodeName, book string, args map[string]string) (string, error) {
	node, err := s.site.Node(name)
	if err != nil {
		return "", err
	}
	client, err := s.client(ctx, name)
	if err != nil {
		return "", engine.NotBegun(fmt.Errorf("reach %s: %w", name, err))
	}
	words := []string{book}
	for _, key := range sortedKeys(args) {
		words = append(words, fmt.Sprintf("--%s=%s", engine.Param{Name: key}.Flag(), args[key]))
	}
	live := s.live(ctx)
	var plan bytes.Buffer
	if engine.Planning(ctx) {
		words = append(words, "--plan", "--within", "plan")
		live = &plan
	} else {
		words = append(words, "--yes", "--attended", "--within", s.run)
		if s.color {
			words = append(words, "--color")
		}
	}
	passed := func() error { return engine.NoReturn(ctx) }
	watch := &nestedOutput{rest: live, noReturn: passed}
	err = client.Run(ctx, s.command(node, words...), remote.Streams{
		Out: live, Err: watch, KeepOpen: true, Grace: nestedUndo, GiveUp: s.stopUndo,
	})
	err = explainNested(ctx, name, book, watch.complaints.String(), err)
	if watch.notBegun {
		err = engine.NotBegun(err)
	}
	if watch.err != nil {
		err = errors.Join(err, watch.err)
	}
	if err != nil && !engine.Planning(ctx) && mayHavePassed(ctx, s, book, err) {
		err = errors.Join(err, passed())
	}
	return plan.String(), err
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
	if errors.As(err, &remote) {
		return remote.code == exitOperator
	}
	loaded, loadErr := loadRunbook(ctx, s, book)
	if loadErr != nil {
		return true
	}
	for _, step := range loaded.Steps {
		if step.Irreversible {
			return true
		}
	}
	return false
}

// nestedOutput reads a nested run's standard error: its own error and hint
// become this run's, its marks are taken over, and everything else is passed
// on.
type nestedOutput struct {
	rest       io.Writer
	noReturn   func() error
	complaints bytes.Buffer
	notBegun   bool
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
