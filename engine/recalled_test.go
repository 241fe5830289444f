package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestNestedRunInAnUndo: a run that an undo calls is no run of the step: it has a
// name of its own, is not undone, and a rollback that is resumed goes on with it.
func TestNestedRunInAnUndo(t *testing.T) {
	text := bookText(`steps = {
  step { "one", run = function(c) site.run("inner") fail("no") end, undo = function(c) site.run("back") site.run("back") end },
}`)
	texts := map[string]string{
		"inner": named3("inner", `steps = { step { "a", undo = false, run = function(c) site.set("a") end, repeatable = true } }`),
		"back":  named3("back", `steps = { step { "b", run = function(c) site.set("b") end, undo = function(c) site.unset("b") end, repeatable = true } }`),
	}
	undisturbed := newGround()
	undisturbed.texts = texts
	err := undisturbed.run(t.Context(), text, "top", &History{})
	var step *StepError
	if !errors.As(err, &step) || !step.Undone || undisturbed.now() != "a b" {
		t.Fatalf("set: %s; %v, %+v", undisturbed.now(), err, step)
	}
	for _, journal := range []string{"top.1", "top.u1", "top.u1-2"} {
		if len(undisturbed.journals[journal]) == 0 {
			t.Errorf("there is no journal %s", journal)
		}
	}
	for at := 1; at <= undisturbed.boundary; at++ {
		if !strings.HasPrefix(undisturbed.passed[at-1], "top.u1") && !strings.HasSuffix(undisturbed.passed[at-1], "b=true") {
			continue
		}
		s := newGround()
		s.texts, s.dieAt = texts, at
		process(func() { _ = s.run(t.Context(), text, "top", &History{}) })
		s.dieAt = 0
		err := s.run(t.Context(), text, "top", &History{})
		if !errors.As(err, &step) || !step.Undone || s.now() != "a b" || slices.Contains(s.changes, "b=false") {
			t.Errorf("killed %s, then resumed: %s, want a b, by %v; %v", undisturbed.passed[at-1], s.now(), s.changes, err)
		}
	}
}

// TestFailedPastTheLine: a step that failed past the line of no return, after it
// had called what changes something, is not run again unasked.
func TestFailedPastTheLine(t *testing.T) {
	head := `steps = { step { "line", irreversible = true, run = function(c) end }, step { "move", `
	past := []Event{{Kind: StepBegan, Step: "line"}, {Kind: NoReturnPassed, Step: "line"}, {Kind: StepEnded, Step: "line", Outcome: Done},
		{Kind: StepBegan, Step: "move"}}
	began := Event{Kind: ChangeBegan, Step: "move", Func: "site.set"}
	failed := Event{Kind: StepEnded, Step: "move", Outcome: Failed, Error: "no answer", Changed: true}
	refused := Event{Kind: StepEnded, Step: "move", Outcome: Failed, Error: "not now", Refused: true}
	for _, test := range []struct {
		name, keys string
		events     []Event
		settled    bool
	}{
		{"its answer was lost", "", []Event{began, failed}, false},
		{"repeatable", "repeatable = true,", []Event{began, failed}, true},
		{"it was refused", "", []Event{began, refused}, true},
		{"it had called nothing", "", []Event{{Kind: StepEnded, Step: "move", Outcome: Failed, Error: "no"}}, true},
	} {
		text := bookText(head + test.keys + ` run = function(c) site.set("moved") end } }`)
		s := newGround()
		s.journaled(t, text, append(slices.Clone(past), append(test.events, Event{Kind: RunEnded, Outcome: Failed})...)...)
		err := s.run(t.Context(), text, "top", &History{})
		var unsettled *UnsettledError
		if errors.As(err, &unsettled) == test.settled || s.set["moved"] != test.settled {
			t.Errorf("%s: set: %s; %v", test.name, s.now(), err)
		}
		if want := "step move failed after it had called site.set"; !test.settled && (!strings.HasPrefix(errorText(err), want) || HasBegun(err)) {
			t.Errorf("%s: got %v, want %s", test.name, err, want)
		}
	}
}

// TestFinallyIsNoStepOfTheRun: what the steps of finally do makes a run that was
// refused no begun one, and is never undone. The runs that they call have names of
// their own.
func TestFinallyIsNoStepOfTheRun(t *testing.T) {
	w := &world{hook: func(_ context.Context, call string) error {
		if strings.Contains(call, "stop") {
			return NotBegun(errors.New("not now"))
		}
		return nil
	}}
	var keys []string
	host := extendedHost(w, extension(`finally = {
  step { "tell", run = function(c) psql.exec(c.node, "tell") keys.run() keys.run() end },
  step { "more", run = function(c) keys.run() end },
}`))
	host.Modules = append(host.Modules, Module{Name: "keys", Funcs: []Func{{Name: "run", Effect: Change, Resumes: true, Fn: func(ctx context.Context) error {
		key, again, err := CallsRun(ctx, "db1", "x")
		keys = append(keys, fmt.Sprint(key, again))
		return err
	}}}})
	_, err := mustLoad(t, extended, host).Run(t.Context(), nil, RunOptions{SettleNested: func(context.Context, NestedRun) error {
		t.Error("a run that finally has called was undone")
		return nil
	}})
	if err == nil || HasBegun(err) {
		t.Errorf("a refused run has begun something: %v", err)
	}
	if got, want := strings.Join(keys, " "), "f1false f1-1-2false f2false"; got != want {
		t.Errorf("the runs are called %s, want %s", got, want)
	}
}

// TestWarningHidesNoHalfUndoneRun: a step that only warns ends the run all the same
// where a runbook within it could not be undone, or has passed the line.
func TestWarningHidesNoHalfUndoneRun(t *testing.T) {
	for inner, want := range map[string]string{
		`step { "a", run = function(c) site.set("a") end, undo = function(c) fail("stuck") end }, step { "b", run = function(c) fail("no") end }`:   "mine/a",
		`step { "a", irreversible = true, run = function(c) fail("no") end }`:                                                                       "past",
		`step { "a", run = function(c) site.set("a") end, undo = function(c) site.unset("a") end }, step { "b", run = function(c) fail("no") end }`: "goes on",
	} {
		s := newGround()
		host := s.host()
		host.Modules = append(host.Modules, Module{Name: "inside", Funcs: []Func{{Name: "run", Effect: Change, Fn: func(ctx context.Context) error {
			r, err := Load(ctx, Source{Path: "inner.lua", Text: named3("inner", "steps = { "+inner+" }")}, s.host())
			if err == nil {
				_, err = r.Run(ctx, nil, RunOptions{})
			}
			return err
		}}}})
		host.Extensions = func(string) ([]Source, error) {
			return []Source{{Path: "demo.d/0.lua", Text: extension(`after = { one = step { "mine", run = function(c) inside.run() end } }`)}}, nil
		}
		var warned bool
		_, err := mustLoad(t, bookText(`steps = { step { "one", run = function(c) end } }`), host).Run(t.Context(), nil, RunOptions{Observe: func(e Event) error {
			warned = warned || e.Warned
			return nil
		}})
		got := "goes on"
		var step *StepError
		switch {
		case errors.As(err, &step) && step.PastReturn:
			got = "past"
		case err != nil:
			got = strings.Join(step.Left, " ")
		}
		if got != want || warned != (want == "goes on") {
			t.Errorf("%s: %s, want %s; recorded as a warning: %t; %v", inner, got, want, warned, err)
		}
	}
}
