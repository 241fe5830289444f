package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

const callingRunbook = `return runbook {
  api = 1, name = "calling", summary = "Calls another", runs_on = "any", lock = "cluster",
  steps = {
    step { "call", run = function(c) runbooks.run(c.node, "calls_shell", {}) end },
    step { "last", run = function(c) say("the end") end },
  },
}
`

const shellRunbook = `return runbook {
  api = 1, name = "calls_shell", summary = "Cannot be settled", runs_on = "any", lock = "cluster",
  steps = { step { "ask twice", undo = false, run = function(c) shell.run(c.node, "echo again") end } },
}
`

// interruptedWithin leaves a run whose process was killed while a run within it
// called something that nobody knows the end of.
func interruptedWithin(t *testing.T) *session {
	t.Helper()
	s := recorded(t)
	writeFiles(t, map[string]string{s.site.Global("runbooks", "calling.lua"): callingRunbook, s.site.Global("runbooks", "calls_shell.lua"): shellRunbook})
	s.run = "run"
	for _, r := range []struct {
		id, book string
		events   []engine.Event
	}{
		{"run", "calling", []engine.Event{{Kind: engine.RunBegan}, {Kind: engine.StepBegan, Step: "call"},
			{Kind: engine.NestedCalled, Step: "call", Nested: &engine.NestedRun{Key: "1", Node: "db1", Runbook: "calls_shell"}}}},
		{"run.1", "calls_shell", []engine.Event{{Kind: engine.RunBegan}, {Kind: engine.StepBegan, Step: "ask twice"},
			{Kind: engine.ChangeBegan, Step: "ask twice", Func: "shell.run"}}},
	} {
		book, err := loadRunbook(t.Context(), s, s.setting(), r.book)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := beginRecord(s, book, s.setting(), r.id, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.events {
			e.Runbook = r.book
			if err := rec.observe(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := rec.close(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestUnsettledWithin: where a run within another cannot be settled both stay as
// they are, until the operator says what has become of its step.
func TestUnsettledWithin(t *testing.T) {
	for _, test := range []struct {
		word   engine.History
		shell  bool // it is called again
		wanted string
	}{
		{engine.History{Done: []string{"calls_shell/ask twice"}}, false, ""},
		{engine.History{Again: []string{"calls_shell/ask twice"}}, true, ""},
		{engine.History{Done: []string{"calls_shell/another"}}, false, "step another of calls_shell was not interrupted"},
	} {
		s := interruptedWithin(t)
		err := continueRun(t.Context(), s, "run", &engine.History{}, engine.RunOptions{Out: io.Discard}, nil)
		record, readErr := readRecord(s.site, "run")
		if readErr != nil || !record.open() || record.summary().Back {
			t.Errorf("the run is not as it was: %+v, %v", record.summary(), readErr)
		}
		err = explainGoOn(err, record)
		if want := "warmrun runs resume run --done 'calls_shell/ask twice'"; !strings.Contains(hint.Of(err), want) || exitCode(err) != exitOperator {
			t.Errorf("got %v, exit status %d, hint %q, want %s", err, exitCode(err), hint.Of(err), want)
		}
		var out strings.Builder
		err = continueRun(t.Context(), s, "run", &test.word, engine.RunOptions{Out: &out}, nil)
		if test.wanted == "" && err != nil || test.wanted != "" && (err == nil || !strings.Contains(err.Error(), test.wanted)) {
			t.Errorf("%+v: got %v, want %q", test.word, err, test.wanted)
		}
		if record, err := readRecord(s.site, "run"); err != nil || record.open() != (test.wanted != "") || record.summary().Back {
			t.Errorf("%+v: the run is %+v, %v", test.word, record.summary(), err)
		}
		if got := out.String(); strings.Contains(got, "again\n") != test.shell || strings.Contains(got, "the end") != (test.wanted == "") {
			t.Errorf("%+v: got\n%s", test.word, got)
		}
	}
}

// TestVerdictsNobodyTakes: a run that has called none has no steps of such.
func TestVerdictsNobodyTakes(t *testing.T) {
	s := recorded(t)
	begun(t, s, "run", engine.StepBegan, "one")
	err := continueRun(t.Context(), s, "run", &engine.History{Done: []string{"demo/one"}}, engine.RunOptions{Out: io.Discard}, nil)
	if err == nil || !strings.Contains(err.Error(), "run run has called no other one") || engine.HasBegun(err) {
		t.Errorf("got %v", err)
	}
}

// TestUnsettledElsewhere: what is not known of a step reaches the run around it
// from another node, and does not count as beyond the line of no return.
func TestUnsettledElsewhere(t *testing.T) {
	want := engine.UnsettledError{Runbook: "triggerStandby", Step: `say "go"`, Func: "shell.run"}
	w := &nestedOutput{}
	if _, err := w.Write([]byte(markUnsettled(&want) + "\n")); err != nil {
		t.Fatal(err)
	}
	if w.unsettled == nil || *w.unsettled != want {
		t.Fatalf("got %+v, want %+v", w.unsettled, want)
	}
	if mayHavePassed(context.Background(), recorded(t), "triggerStandby", errors.Join(w.unsettled, &remote.ExitError{Status: 4})) {
		t.Error("it counts as beyond the line")
	}
	words := verdicts{done: []string{"a/b", "c/d"}, again: []string{"e"}}.within("a").words()
	if want := []string{"--part-done=b", "--part-done=c/d", "--part-repeat=e"}; !slices.Equal(words, want) {
		t.Errorf("got %q, want %q", words, want)
	}
}
