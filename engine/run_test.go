package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// ticking is a clock that goes on by 100 ms at each look.
func ticking() func() time.Time {
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		at = at.Add(100 * time.Millisecond)
		return at
	}
}

func run(t *testing.T, host Host, text string, opts RunOptions) (*Result, string, error) {
	t.Helper()
	host.Now = ticking()
	r := mustLoad(t, bookText(text), host)
	var out bytes.Buffer
	opts.Out, opts.announceAfter = &out, time.Hour
	result, err := r.Run(t.Context(), nil, opts)
	return result, out.String(), err
}

func diff(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n--- got\n%s\n--- want\n%s", what, got, want)
	}
}

func TestRunOutput(t *testing.T) {
	w := &world{state: "in production"}
	_, out, err := run(t, w.host(), `
checks = { check { "is primary", function(c) say("asking %s", c.node) return true end } },
steps = {
  step { "checkpoint", run = function(c) psql.exec(c.node, "CHECKPOINT") end },
  step { "skip me", when = function(c) return false end, run = function(c) fail("no") end },
  step { "is up", done_if = function(c) return true end, run = function(c) fail("no") end },
  step { "stop", run = function(c) say("stopping %s", c.node) test.print("10%\r20%\r100%") say("stopped") return pg_ctl.stop(c.node, { mode = "fast" }) end },
}`, RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "output", strings.ReplaceAll(out, "\r", "<CR>"), `==> checks
    asking db1
    ok      is primary
==> checkpoint  [1/4]  done in 0.1 s
==> skip me  [2/4]  skipped
==> is up  [3/4]  already done
==> stop  [4/4]
    stopping db1
    10%<CR>    20%<CR>    100%
    stopped
    done in 0.1 s
`)
	if got, want := fmt.Sprint(w.calls), "[exec db1 CHECKPOINT [] stop db1 fast 0s]"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
	_, out, err = run(t, w.host(), `steps = { step { "one", run = function(c) say("loud") end } }`, RunOptions{Quiet: true})
	if err != nil || out != "" {
		t.Errorf("quiet: got %q, %v", out, err)
	}
	_, out, _ = run(t, w.host(), `steps = { step { "one", run = function(c) end } }`, RunOptions{Terminal: true})
	if !strings.Contains(out, "\x1b[1m==> one\x1b[0m") {
		t.Errorf("colour: got %q", out)
	}
}

func TestResultsOfSteps(t *testing.T) {
	w := &world{}
	result, _, err := run(t, w.host(), `
steps = {
  step { "stop", run = function(c) return pg_ctl.stop(c.node, { mode = "fast" }) end },
  step { "made", done_if = function(c) return true, { at = lsn("0/5") } end, run = function(c) end },
  step { "use", run = function(c)
    local r = c.results.stop
    r.state = "a copy is changed"
    return { list = { 1, 2 }, more = c.results.stop.checkpoint - lsn("0/28"), state = c.results.stop.state,
      at = c.results.made.at, none = c.results.use } end },
}`, RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(result.Steps[2].Value)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "result", string(data), `{"at":"0/5","list":[1,2],"more":50331648,"state":"shut down"}`)
	if got := result.Steps[1].Outcome; got != AlreadyDone {
		t.Errorf("outcome: got %q", got)
	}
	_, _, err = run(t, w.host(), `steps = { step { "one", run = function(c) return function() end end } }`, RunOptions{})
	if err == nil || err.Error() != "step one: what it returned cannot be kept as a result: a function cannot be kept or passed on" {
		t.Errorf("got %v", err)
	}
}

func TestParametersReachTheSteps(t *testing.T) {
	host := (&world{}).host()
	host.Node = func(name string) (any, error) {
		if name != "db2" {
			return nil, fmt.Errorf("unknown node %q", name)
		}
		return node{Name: name, Port: 5433}, nil
	}
	r := mustLoad(t, bookText(`
params = {
  text = param.string { default = "hello" }, count = param.integer {}, sure = param.boolean {},
  wait_for = param.duration { default = "1h30m" }, limit = param.size { default = "16MB" },
  mode = param.choice { choices = { "fast", "smart" } }, to = param.node { required = true },
},
steps = { step { "one", run = function(c)
  local p = c.params
  return { p.text, tostring(p.count), p.sure, p.wait_for, p.limit, tostring(p.mode), p.to.port, test.wait(p.wait_for) }
end } }`), host)
	for _, test := range []struct {
		args map[string]string
		want string
	}{
		{map[string]string{"to": "db2"}, `[hello nil false 1h30m 16777216 nil 5433 5400]`},
		{map[string]string{"to": "db2", "count": "7", "sure": "true", "wait-for": "2d", "limit": "1.5kB", "mode": "smart", "text": ""},
			`[ 7 true 2d 1536 smart 5433 172800]`},
		{map[string]string{}, `demo needs --to`},
		{map[string]string{"to": "db9"}, `--to: unknown node "db9"`},
		{map[string]string{"to": "db2", "count": "many"}, `--count: "many" is not a whole number`},
		{map[string]string{"to": "db2", "sure": "maybe"}, `--sure: "maybe" is neither true nor false`},
		{map[string]string{"to": "db2", "wait_for": "90"}, `--wait-for: "90" is not a duration: want a number and a unit, such as 30s, 5min or 1h30m`},
		{map[string]string{"to": "db2", "limit": "big"}, `--limit: "big" is not a size: want bytes or a number and a unit, such as 512kB, 16MB or 1GB`},
		{map[string]string{"to": "db2", "mode": "fats"}, `--mode: "fats" is not one of fast, smart, did you mean fast?`},
		{map[string]string{"to": "db2", "wiat-for": "1s"}, `demo has no flag --wiat-for, did you mean --wait-for?`},
	} {
		result, err := r.Run(t.Context(), test.args, RunOptions{})
		got := ""
		if err != nil {
			var wrong *ParamError
			if !errors.As(err, &wrong) {
				t.Errorf("%v: got %T, want a *ParamError", test.args, err)
			}
			got = err.Error()
		} else {
			got = fmt.Sprint(result.Steps[0].Value)
		}
		if got != test.want {
			t.Errorf("%v:\ngot  %s\nwant %s", test.args, got, test.want)
		}
	}
}

func TestFailingChecksChangeNothing(t *testing.T) {
	w := &world{}
	_, out, err := run(t, w.host(), `
checks = {
  check { "fine", function(c) return true end },
  check { "says why", function(c) return false, "because of " .. c.node end },
  check { "static", function(c) return false end, "the written reason", hint = "do this" },
  check { "silent", function(c) end },
  check { "raises", function(c) test.fail("cannot look") end },
  check { "odd", function(c) return "a string" end },
  check { "changes", function(c) pg_ctl.stop(c.node) return true end },
},
steps = { step { "one", run = function(c) pg_ctl.stop(c.node) end } }`, RunOptions{})
	diff(t, "output", out, `==> checks
    ok      fine
    FAILED  says why: because of db1
    FAILED  static: the written reason
    FAILED  silent
    FAILED  raises: cannot look
    FAILED  odd: demo.lua:9: a check returns true, or false and a message; this one returned a string
    FAILED  changes: demo.lua:10: pg_ctl.stop changes something and may not be called in a check
`)
	var failed *CheckError
	if !errors.As(err, &failed) || len(failed.Failed) != 6 || failed.Total != 7 {
		t.Fatalf("got %v", err)
	}
	if got := hint.Of(err); got != "do this; try harder" {
		t.Errorf("hint: got %q", got)
	}
	if got := failed.Failed[3].Hint; got != "try harder" {
		t.Errorf("hint of the raised error: got %q", got)
	}
	if len(w.calls) != 0 {
		t.Errorf("something was changed: %v", w.calls)
	}
	_, _, err = run(t, w.host(), `checks = { check { "only", function(c) return false, "why" end } }, steps = { step { "one", run = function(c) end } }`, RunOptions{})
	if err == nil || err.Error() != "check failed: only: why" {
		t.Errorf("got %v", err)
	}
}

func TestCheckRetries(t *testing.T) {
	_, _, err := run(t, (&world{}).host(), `
checks = { (function() local n = 0 return check { "third time", function(c) n = n + 1 return n == 3 end, retries = 2, delay = "1ms" } end)() },
steps = { step { "one", run = function(c) end } }`, RunOptions{})
	if err != nil {
		t.Error(err)
	}
}

const undoSteps = `
steps = {
  step { "a", run = function(c) psql.exec(c.node, "a") end, undo = function(c) psql.exec(c.node, "undo a") end },
  step { "b", run = function(c) psql.exec(c.node, "b") end },
  step { "c", run = function(c) psql.exec(c.node, "c") return "kept" end, undo = function(c) psql.exec(c.node, "undo c " .. c.results.c) end },
  step { "was done", done_if = function(c) return true end, run = function(c) end, undo = function(c) psql.exec(c.node, "never") end },
  step { "d", run = function(c) psql.exec(c.node, "d") fail { "no answer", hint = "look there" } end,
    undo = function(c) psql.exec(c.node, "undo d " .. tostring(c.results.d)) end },
  step { "e", run = function(c) psql.exec(c.node, "e") end, undo = function(c) psql.exec(c.node, "undo e") end },
}`

func names(w *world) string {
	return strings.NewReplacer("exec db1 ", "", " []", "").Replace(strings.Join(w.calls, ", "))
}

func TestUndoInReverse(t *testing.T) {
	w := &world{}
	result, out, err := run(t, w.host(), undoSteps, RunOptions{})
	if got, want := names(w), "a, b, c, d, undo d nil, undo c kept, undo a"; got != want {
		t.Errorf("calls:\ngot  %s\nwant %s", got, want)
	}
	var step *StepError
	if !errors.As(err, &step) {
		t.Fatalf("got %v, want a *StepError", err)
	}
	if step.Step != "d" || !step.Undone || len(step.Left) != 0 || step.PastReturn || step.Where != "demo.lua:8" {
		t.Errorf("got %+v", step)
	}
	if got := hint.Of(err); got != "look there" {
		t.Errorf("hint: got %q", got)
	}
	diff(t, "output", out, `==> a  [1/6]  done in 0.1 s
==> b  [2/6]  done in 0.1 s
==> c  [3/6]  done in 0.1 s
==> was done  [4/6]  already done
==> d  [5/6]
    failed after 0.1 s: no answer
==> undo d  undone in 0.1 s
==> undo c  undone in 0.1 s
==> undo a  undone in 0.1 s
`)
	var outcomes []Outcome
	for _, s := range result.Steps {
		outcomes = append(outcomes, s.Outcome)
	}
	if want := []Outcome{Undone, Done, Undone, AlreadyDone, Failed}; !reflect.DeepEqual(outcomes, want) {
		t.Errorf("outcomes: got %v, want %v", outcomes, want)
	}
}

func TestUndoGoesOnAfterAFailure(t *testing.T) {
	w := &world{}
	w.hook = func(_ context.Context, call string) error {
		if strings.HasPrefix(call, "exec db1 undo c") {
			return errors.New("node is gone")
		}
		return nil
	}
	_, out, err := run(t, w.host(), undoSteps, RunOptions{})
	var step *StepError
	if !errors.As(err, &step) {
		t.Fatalf("got %v", err)
	}
	if step.Undone || !reflect.DeepEqual(step.Left, []string{"c"}) || step.UndoErr == nil || step.UndoErr.Error() != "undo c: node is gone" {
		t.Errorf("got %+v, %v", step, step.UndoErr)
	}
	if !strings.HasSuffix(names(w), "undo c kept, undo a") {
		t.Errorf("calls: %s", names(w))
	}
	if !strings.Contains(out, "==> undo c\n    failed after 0.1 s: node is gone\n==> undo a  undone in 0.1 s") {
		t.Errorf("output:\n%s", out)
	}
}

// TestUndoOutlivesTheContext: Ctrl-C ends the context of the run, and the undo
// works all the same.
func TestUndoOutlivesTheContext(t *testing.T) {
	w := &world{}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	w.hook = func(ctx context.Context, call string) error {
		switch {
		case call == "exec db1 c []":
			cancel(interrupted)
			<-ctx.Done()
			return ctx.Err()
		case strings.HasPrefix(call, "exec db1 undo"):
			return ctx.Err()
		}
		return nil
	}
	r := mustLoad(t, bookText(strings.Replace(undoSteps, "c.results.c)", "tostring(c.results.c))", 1)), w.host())
	_, err := r.Run(ctx, nil, RunOptions{})
	var step *StepError
	if !errors.As(err, &step) || step.Step != "c" || !step.Undone || !errors.Is(err, interrupted) {
		t.Errorf("got %v, %+v", err, step)
	}
	if got, want := names(w), "a, b, c, undo c nil, undo a"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
}

func TestStopUndo(t *testing.T) {
	w := &world{}
	stop := make(chan struct{})
	w.hook = func(ctx context.Context, call string) error {
		if strings.HasPrefix(call, "exec db1 undo c") {
			close(stop)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	_, _, err := run(t, w.host(), undoSteps, RunOptions{StopUndo: stop})
	var step *StepError
	if !errors.As(err, &step) || step.Undone || !reflect.DeepEqual(step.Left, []string{"c", "a"}) || !errors.Is(step.UndoErr, ErrUndoStopped) {
		t.Errorf("got %v, %+v", err, step)
	}
}

func TestUndoTimeout(t *testing.T) {
	w := &world{}
	w.hook = func(ctx context.Context, call string) error {
		if strings.HasPrefix(call, "exec db1 undo c") {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	_, _, err := run(t, w.host(), undoSteps, RunOptions{UndoTimeout: 10 * time.Millisecond})
	var step *StepError
	if !errors.As(err, &step) || !reflect.DeepEqual(step.Left, []string{"c"}) {
		t.Fatalf("got %v, %+v", err, step)
	}
	if got := step.UndoErr.Error(); !strings.HasPrefix(got, "undo c: took longer than its timeout of 10ms") {
		t.Errorf("got %s", got)
	}
}

func TestHintOfAStep(t *testing.T) {
	for body, want := range map[string]string{`fail("no")`: "look at the log", `test.fail("no")`: "try harder"} {
		_, _, err := run(t, (&world{}).host(), `steps = { step { "one", hint = "look at the log", run = function(c) `+body+` end } }`, RunOptions{})
		if got := hint.Of(err); got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

func TestPastTheLineNothingIsUndone(t *testing.T) {
	for name, step := range map[string]string{
		"declared":      `step { "promote", irreversible = true, run = function(c) fail("no reply") end }`,
		"by a function": `step { "promote", run = function(c) test.no_return() fail("no reply") end }`,
		"earlier":       `step { "promote", irreversible = true, run = function(c) end }, step { "rejoin", run = function(c) fail("no reply") end }`,
	} {
		w := &world{}
		_, out, err := run(t, w.host(), `steps = {
step { "stop", run = function(c) psql.exec(c.node, "stop") end, undo = function(c) psql.exec(c.node, "start") end }, `+step+` }`, RunOptions{})
		var failed *StepError
		if !errors.As(err, &failed) || !failed.PastReturn || failed.Undone {
			t.Errorf("%s: got %v, %+v", name, err, failed)
		}
		if names(w) != "stop" {
			t.Errorf("%s: calls %s", name, names(w))
		}
		if !strings.Contains(out, "the line of no return is passed: nothing is undone") {
			t.Errorf("%s: output\n%s", name, out)
		}
	}
}

// TestTheLineIsDrawnLate: what fails before the irreversible work begins is
// still undone.
func TestTheLineIsDrawnLate(t *testing.T) {
	for name, step := range map[string]string{
		"done_if fails":    `done_if = function(c) fail("cannot tell") end`,
		"operator says no": `confirm = "Promote?"`,
		"not recorded":     `timeout = "1h"`,
	} {
		w := &world{}
		host := w.host()
		host.Confirm = func(context.Context, string) (bool, error) { return false, nil }
		opts := RunOptions{}
		if name == "not recorded" {
			opts.Observe = func(e Event) error {
				if e.Kind == NoReturnPassed {
					return errors.New("disk full")
				}
				return nil
			}
		}
		_, _, err := run(t, host, `steps = {
step { "stop", run = function(c) psql.exec(c.node, "stop") end, undo = function(c) psql.exec(c.node, "start") end },
step { "promote", irreversible = true, `+step+`, run = function(c) psql.exec(c.node, "promote") end } }`, opts)
		var failed *StepError
		if !errors.As(err, &failed) || failed.PastReturn || !failed.Undone || names(w) != "stop, start" {
			t.Errorf("%s: got %v, %+v, calls %s", name, err, failed, names(w))
		}
	}
}

func TestRetriesAndTimeout(t *testing.T) {
	w := &world{}
	w.hook = func(_ context.Context, _ string) error {
		if len(w.calls) < 3 {
			return errors.New("busy")
		}
		return nil
	}
	result, out, err := run(t, w.host(), `steps = { step { "try", retries = 2, delay = "1ms", run = function(c) psql.exec(c.node, "x") end } }`, RunOptions{})
	if err != nil || result.Steps[0].Attempts != 3 {
		t.Errorf("got %v, %+v", err, result.Steps)
	}
	diff(t, "output", out, `==> try  [1/1]
    try 1 of 3 failed: busy; again in 1ms
    try 2 of 3 failed: busy; again in 1ms
    done in 0.1 s
`)
	for body, want := range map[string]string{
		`test.hang()`:       "step slow: took longer than its timeout of 10ms",
		`while true do end`: "step slow: took longer than its timeout of 10ms",
	} {
		began := time.Now()
		_, _, err = run(t, w.host(), `steps = { step { "slow", timeout = "10ms", run = function(c) `+body+` end } }`, RunOptions{})
		if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", body, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %s", body, took)
		}
	}
	// A mistake in the runbook is not tried again.
	_, out, _ = run(t, w.host(), `steps = { step { "try", retries = 5, run = function(c) local x = nil; return x.y end } }`, RunOptions{})
	if strings.Contains(out, "again in") {
		t.Errorf("tried again:\n%s", out)
	}
}

func TestConfirm(t *testing.T) {
	steps := `steps = {
  step { "first", run = function(c) psql.exec(c.node, "first") end },
  step { "ask", confirm = function(c) return "Stop " .. c.node .. "?" end, run = function(c) psql.exec(c.node, "asked") end },
}`
	w := &world{}
	_, _, err := run(t, w.host(), steps, RunOptions{})
	if err == nil || err.Error() != "step ask of demo asks a question and there is no terminal to answer it" || hint.Of(err) == "" {
		t.Errorf("no terminal: got %v", err)
	}
	// What a check finds matters more than who could answer.
	_, _, err = run(t, w.host(), `checks = { check { "calm", function(c) return false, "a storm" end } }, `+steps, RunOptions{})
	var check *CheckError
	if !errors.As(err, &check) {
		t.Errorf("no terminal, and a check that fails: got %v", err)
	}
	if len(w.calls) != 0 {
		t.Errorf("no terminal: %v was done", w.calls)
	}
	if _, _, err := run(t, w.host(), steps, RunOptions{AssumeYes: true}); err != nil || names(w) != "first, asked" {
		t.Errorf("--yes: got %v, %s", err, names(w))
	}
	host := w.host()
	asked := ""
	for _, answer := range []bool{true, false} {
		w.calls = nil
		host.Confirm = func(_ context.Context, question string) (bool, error) {
			asked = question
			return answer, nil
		}
		_, _, err := run(t, host, steps, RunOptions{})
		if answer != (err == nil) || !answer && !errors.Is(err, ErrDeclined) || asked != "Stop db1?" {
			t.Errorf("answer %v to %q: got %v", answer, asked, err)
		}
	}
	if _, _, err := run(t, host, `steps = { step { "ask", confirm = function(c) end, run = function(c) end } }`, RunOptions{}); err != nil {
		t.Errorf("no question: got %v", err)
	}
	_, _, err = run(t, host, `steps = { step { "ask", confirm = function(c) pg_ctl.stop(c.node) end, run = function(c) end } }`, RunOptions{})
	if err == nil || !strings.Contains(err.Error(), "pg_ctl.stop changes something and may not be called in when, done_if or confirm") {
		t.Errorf("a change in confirm: got %v", err)
	}
}

func TestEvents(t *testing.T) {
	var events []string
	observe := func(e Event) error {
		line := fmt.Sprintf("%s %s %s %s %s", e.Runbook, e.Kind, e.Step, e.Outcome, e.Error)
		events = append(events, strings.Join(strings.Fields(line), " "))
		return nil
	}
	_, _, err := run(t, (&world{}).host(), `
checks = { check { "ok", function(c) return true end } },
steps = {
  step { "a", run = function(c) end, undo = function(c) end },
  step { "b", retries = 1, delay = "1ms", run = function(c) fail("no") end },
}`, RunOptions{Observe: observe})
	if err == nil {
		t.Fatal("want a failure")
	}
	diff(t, "events", strings.Join(events, "\n"), `demo run began
demo check ended ok done
demo step began a
demo step ended a done
demo step began b
demo step retried b no
demo step ended b failed no
demo gave up b no
demo undo began a
demo undo ended a undone
demo run ended failed step b: no`)
}

func TestRunStopsWhenItCannotBeRecorded(t *testing.T) {
	w := &world{}
	observe := func(e Event) error {
		if e.Kind == StepBegan && e.Step == "c" {
			return errors.New("disk full")
		}
		return nil
	}
	_, _, err := run(t, w.host(), strings.Replace(undoSteps, "c.results.c)", "tostring(c.results.c))", 1), RunOptions{Observe: observe})
	var step *StepError
	if !errors.As(err, &step) || step.Step != "c" || !strings.Contains(err.Error(), "the run cannot be recorded: disk full") {
		t.Errorf("got %v", err)
	}
	if got := names(w); strings.Contains(got, ", c,") || !strings.HasSuffix(got, "undo a") {
		t.Errorf("calls: %s", got)
	}
}

// TestARunbookCanRunTwice: no state is left over from one run to the next.
func TestARunbookCanRunTwice(t *testing.T) {
	r := mustLoad(t, "local n = 0\n"+bookText(`steps = { step { "one", run = function(c) n = n + 1 return n end } }`), Host{})
	for range 2 {
		result, err := r.Run(t.Context(), nil, RunOptions{})
		if err != nil || result.Steps[0].Value != int64(1) {
			t.Errorf("got %v, %v, want 1", result.Steps[0].Value, err)
		}
	}
}

func BenchmarkRunTwentySteps(b *testing.B) {
	var steps strings.Builder
	for i := range 20 {
		fmt.Fprintf(&steps, "step { \"s%d\", run = function(c) end },\n", i)
	}
	r, err := Load(b.Context(), Source{Path: "demo.lua", Text: bookText("steps = {" + steps.String() + "}")}, (&world{}).host())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := r.Run(b.Context(), nil, RunOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestBrokenOutputDoesNotStopARun(t *testing.T) {
	w := &world{}
	r := mustLoad(t, bookText(`steps = { step { "one", run = function(c) say("x") psql.exec(c.node, "done") end } }`), w.host())
	if _, err := r.Run(t.Context(), nil, RunOptions{Out: broken{}}); err != nil || names(w) != "done" {
		t.Errorf("got %v, %s", err, names(w))
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestFailedRunSaysWhatItLeaves: which steps were undone, and in their own words
// what steps leave that have changed something and have no undo.
func TestFailedRunSaysWhatItLeaves(t *testing.T) {
	w := &world{}
	r := mustLoad(t, bookText(`steps = {
  step { "keep", leaves = function(c) return c.results.keep .. " stays" end, run = function(c) psql.exec(c.node, "keep") return "it" end },
  step { "idle", leaves = function(c) return "nothing" end, run = function(c) end },
  step { "silent", leaves = function(c) return nil end, run = function(c) psql.exec(c.node, "silent") end },
  step { "back", run = function(c) psql.exec(c.node, "back") end, undo = function(c) psql.exec(c.node, "unback") end },
  step { "half", leaves = function(c) return "half of it" end, run = function(c) psql.exec(c.node, "half") fail("no answer") end },
}`), w.host())
	_, err := r.Run(t.Context(), nil, RunOptions{})
	var step *StepError
	if !errors.As(err, &step) {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(step.TookBack, step.Leaves), "[back] [it stays half of it]"; got != want {
		t.Errorf("undone and left: %s, want %s", got, want)
	}
}
