package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// withRunbooks adds the module runbook, as the program does: run loads another
// runbook and runs or plans it.
func withRunbooks(w *world, texts map[string]string) Host {
	host := w.host()
	host.Now = ticking()
	var inner Host
	run := func(ctx context.Context, name string, args map[string]string) (any, error) {
		r, err := Load(ctx, Source{Name: name, Path: name + ".lua", Text: texts[name]}, inner)
		if err != nil {
			return nil, err
		}
		if Planning(ctx) {
			plan, err := r.Plan(ctx, args)
			if err != nil {
				return nil, err
			}
			return plan.Nested(), nil
		}
		result, err := r.Run(ctx, args, RunOptions{})
		if err != nil {
			return nil, err
		}
		return len(result.Steps), nil
	}
	host.Modules = append(host.Modules, Module{Name: "runbook", Funcs: []Func{
		{Name: "run", Effect: Change, Args: []string{"name", "arguments"}, Plans: true,
			Fn: func(ctx context.Context, name string, args *map[string]string) (any, error) {
				if args == nil {
					args = &map[string]string{}
				}
				return run(ctx, name, *args)
			}},
	}})
	inner = host
	return host
}

func named3(name, inner string) string {
	return strings.Replace(bookText(inner), `name = "demo"`, `name = "`+name+`"`, 1)
}

func nestedTexts() map[string]string {
	return map[string]string{
		"flush": named3("flush", `
params = { mode = param.string { default = "fast" } },
checks = { check { "is primary", function(c) return true end } },
steps = {
  step { "block", run = function(c) psql.exec(c.node, "block") end, undo = function(c) psql.exec(c.node, "unblock") end },
  step { "stop", run = function(c) psql.exec(c.node, "stop " .. c.params.mode) end, undo = function(c) psql.exec(c.node, "start") end },
}`),
		"trigger": named3("trigger", `steps = {
  step { "prepare", run = function(c) psql.exec(c.node, "prepare") end, undo = function(c) psql.exec(c.node, "unprepare") end },
  step { "promote", irreversible = true, run = function(c) psql.exec(c.node, "promote") end },
  step { "wait", run = function(c) psql.exec(c.node, "wait") end },
}`),
	}
}

func runNested(t *testing.T, w *world, steps string, opts RunOptions) (string, error) {
	t.Helper()
	host := withRunbooks(w, nestedTexts())
	r := mustLoad(t, bookText(steps), host)
	var out bytes.Buffer
	opts.Out, opts.announceAfter = &out, time.Hour
	_, err := r.Run(t.Context(), nil, opts)
	return out.String(), err
}

func TestNestedRunIsUndoneWithItsStep(t *testing.T) {
	w := &world{}
	var events []string
	out, err := runNested(t, w, `steps = {
  step { "flush", run = function(c) return runbook.run("flush", { mode = "smart" }) end },
  step { "trigger", run = function(c) fail("no answer") end },
}`, RunOptions{Observe: func(e Event) error {
		events = append(events, strings.TrimSpace(fmt.Sprintf("%s: %s %s", e.Runbook, e.Kind, e.Step)))
		return nil
	}})
	if got, want := names(w), "block, stop smart, start, unblock"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
	var step *StepError
	if !errors.As(err, &step) || !step.Undone {
		t.Errorf("got %v", err)
	}
	diff(t, "output", out, `==> flush  [1/2]
    ==> checks
        ok      is primary
    ==> block  [1/2]  done in 0.3 s
    ==> stop  [2/2]  done in 0.3 s
    done in 1.8 s
==> trigger  [2/2]
    failed after 0.2 s: no answer
==> undo flush
    ==> undo stop  undone in 0.2 s
    ==> undo block  undone in 0.2 s
    undone in 1.0 s
`)
	if got := strings.Join(events, "\n"); !strings.Contains(got, "demo/flush/flush: step began stop") {
		t.Errorf("events:\n%s", got)
	}
}

func TestOwnUndoReplacesTheNestedOnes(t *testing.T) {
	w := &world{}
	if _, err := runNested(t, w, `steps = {
  step { "flush", run = function(c) runbook.run("flush") end, undo = function(c) psql.exec(c.node, "own") end },
  step { "trigger", run = function(c) fail("no answer") end },
}`, RunOptions{}); err == nil {
		t.Error("want a failure")
	}
	if got, want := names(w), "block, stop fast, own"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
}

// TestNestedFailureBeforeTheLine: a runbook within that fails before its line
// of no return leaves the outer run free to go back.
func TestNestedFailureBeforeTheLine(t *testing.T) {
	w := &world{}
	w.hook = func(_ context.Context, call string) error {
		if strings.Contains(call, "prepare") && !strings.Contains(call, "unprepare") {
			return errors.New("no answer")
		}
		return nil
	}
	_, err := runNested(t, w, `steps = {
  step { "flush", run = function(c) runbook.run("flush") end },
  step { "trigger", run = function(c) runbook.run("trigger") end },
}`, RunOptions{})
	if got, want := names(w), "block, stop fast, prepare, unprepare, start, unblock"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
	var step *StepError
	if !errors.As(err, &step) || step.Step != "trigger" || step.PastReturn || !step.Undone {
		t.Errorf("got %v, %+v", err, step)
	}
	if err.Error() != "step trigger: step prepare: no answer" {
		t.Errorf("got %v", err)
	}
}

// TestRefusedNestedRunIsNotUndone: a runbook within that was refused by its
// checks has changed nothing. The step's own undo would take back what another
// run has done; what the step did before it is undone all the same.
func TestRefusedNestedRunIsNotUndone(t *testing.T) {
	texts := nestedTexts()
	texts["refuses"] = named3("refuses", `
checks = { check { "is free", function(c) return false, "somebody else is at work" end } },
steps = { step { "work", run = function(c) psql.exec(c.node, "work") end } }`)
	texts["within"] = named3("within", `steps = {
  step { "look", run = function(c) end },
  step { "refused", run = function(c) runbook.run("refuses") end, undo = function(c) psql.exec(c.node, "wrong") end },
}`)
	for _, test := range []struct{ run, calls string }{
		{`runbook.run("refuses")`, "first, unfirst"},
		{`runbook.run("within")`, "first, unfirst"},
		{`psql.exec(c.node, "half") runbook.run("refuses")`, "first, half, undo, unfirst"},
		{`runbook.run("flush") runbook.run("refuses")`, "first, block, stop fast, undo, unfirst"},
	} {
		w := &world{}
		r := mustLoad(t, bookText(`steps = {
  step { "first", run = function(c) psql.exec(c.node, "first") end, undo = function(c) psql.exec(c.node, "unfirst") end },
  step { "flush", run = function(c) `+test.run+` end, undo = function(c) psql.exec(c.node, "undo") end },
}`), withRunbooks(w, texts))
		_, err := r.Run(t.Context(), nil, RunOptions{})
		if got := names(w); got != test.calls || err == nil {
			t.Errorf("%s: calls %s, want %s; %v", test.run, got, test.calls, err)
		}
		if !HasBegun(err) {
			t.Errorf("%s: the run is said not to have begun, and its first step has", test.run)
		}
	}
}

// TestBefore: what is asked before each step, and each undo, is asked within nested runs, too,
// and a no ends the run without that step having begun.
func TestBefore(t *testing.T) {
	w := &world{}
	var asked []string
	_, err := runNested(t, w, `steps = {
  step { "first", run = function(c) psql.exec(c.node, "first") end, undo = function(c) psql.exec(c.node, "unfirst") end },
  step { "flush", run = function(c) runbook.run("flush") end },
}`, RunOptions{Before: func(_ context.Context, step string) error {
		if asked = append(asked, step); step == "stop" {
			return errors.New("overtaken")
		}
		return nil
	}})
	if got, want := strings.Join(asked, ", "), "first, flush, block, stop, stop, block, flush, first"; got != want || err == nil {
		t.Errorf("asked before %s, want %s; %v", got, want, err)
	}
	if got, want := names(w), "first, block, unblock, unfirst"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
}

// TestNestedLineCountsForTheOuterRun: once a runbook within has passed the
// line, nothing of the outer run is undone either.
func TestNestedLineCountsForTheOuterRun(t *testing.T) {
	for _, failing := range []string{"promote", "wait", "after"} {
		w := &world{}
		w.hook = func(_ context.Context, call string) error {
			if strings.Contains(call, failing) {
				return errors.New("no answer")
			}
			return nil
		}
		_, err := runNested(t, w, `steps = {
  step { "flush", run = function(c) runbook.run("flush") end },
  step { "trigger", run = function(c) runbook.run("trigger") end },
  step { "after", run = function(c) psql.exec(c.node, "after") end },
}`, RunOptions{})
		var step *StepError
		if !errors.As(err, &step) || !step.PastReturn || step.Undone {
			t.Errorf("%s: got %v, %+v", failing, err, step)
		}
		if strings.Contains(names(w), "start") {
			t.Errorf("%s: calls %s", failing, names(w))
		}
	}
}

func TestCaughtNestedFailure(t *testing.T) {
	// A script may try a runbook and go on without it: it has undone itself.
	w := &world{}
	w.hook = func(_ context.Context, call string) error {
		if strings.Contains(call, "stop") {
			return errors.New("no answer")
		}
		return nil
	}
	_, err := runNested(t, w, `steps = {
  step { "flush", run = function(c) pcall(runbook.run, "flush") end },
  step { "fails", run = function(c) fail("later") end },
}`, RunOptions{})
	if got, want := names(w), "block, stop fast, start, unblock"; got != want || err == nil {
		t.Errorf("calls: got %s, want %s; %v", got, want, err)
	}
}

// TestNestedUndoThatFails: what a runbook within could not take back is named
// by the outer run, whether it failed itself or was undone later.
func TestNestedUndoThatFails(t *testing.T) {
	for failing, want := range map[string]string{"stop": "[flush/block]", "later": "[flush/block]"} {
		w := &world{}
		w.hook = func(_ context.Context, call string) error {
			if strings.Contains(call, failing) || strings.Contains(call, "unblock") {
				return errors.New("no answer")
			}
			return nil
		}
		_, err := runNested(t, w, `steps = {
  step { "flush", run = function(c) runbook.run("flush") end },
  step { "more", run = function(c) psql.exec(c.node, "later") end },
}`, RunOptions{})
		var step *StepError
		if !errors.As(err, &step) || step.Undone || fmt.Sprint(step.Left) != want || step.UndoErr == nil {
			t.Errorf("%s: got %v, %+v", failing, err, step)
		}
	}
}

func TestNestedPlan(t *testing.T) {
	w := &world{}
	r := mustLoad(t, bookText(`steps = {
  step { "flush", run = function(c) runbook.run("flush") end },
  step { "trigger", confirm = "Promote db2?", run = function(c) runbook.run("trigger") psql.exec(c.node, "more") end },
  step { "rejoin", irreversible = true, run = function(c) pg_ctl.start(c.node) end },
}`), withRunbooks(w, nestedTexts()))
	plan, err := r.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "plan", plan.Text(), `Plan of demo: a demonstration
Nothing is changed by planning.

Steps
  1. flush
         runbook flush, on db1
           1. block
                psql.exec db1 "block"
           2. stop
                psql.exec db1 "stop fast"
  2. trigger
       asks: Promote db2?
         runbook trigger, on db1
           1. prepare
                psql.exec db1 "prepare"
           -- no return from here --
           2. promote
                psql.exec db1 "promote"
           3. wait
                psql.exec db1 "wait"
       psql.exec db1 "more"
  3. rejoin
       start the server on db1
`)
	if len(w.calls) != 0 {
		t.Errorf("planning did %v", w.calls)
	}
}
