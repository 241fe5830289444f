package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const extended = `return runbook { api = 1, name = "demo", summary = "s", runs_on = "any", lock = "none",
  params = { mode = param.string { default = "fast" } },
  steps = {
    step { "stop", run = function(c) return pg_ctl.stop(c.node, { mode = c.params.mode }) end, undo = function(c) pg_ctl.start(c.node) end },
    step { "promote", run = function(c) say("stopped at %s", c.results.stop.checkpoint) pg_ctl.promote(c.partner) end },
  },
}`

// extension is a file that extends the runbook above.
func extension(inner string) string {
	return `return extension { api = 1, extends = "demo", summary = "a site's own", ` + "\n" + inner + "\n}"
}

func extendedHost(w *world, files ...string) Host {
	host := w.host()
	host.Extensions = func(runbook string) ([]Source, error) {
		var out []Source
		for i, text := range files {
			out = append(out, Source{Name: fmt.Sprintf("demo.d/%d", i), Path: fmt.Sprintf("demo.d/%d.lua", i), Text: text})
		}
		return out, nil
	}
	return host
}

// pausing is what a site puts around the steps.
const pausing = `
  params = { pool = param.string { default = "db2" } },
  checks = { check { "the pool answers", function(c) return psql.value(c.params.pool, "show") ~= nil end } },
  before = { stop = step { "pause", on_error = "fail", run = function(c) psql.exec(c.params.pool, "PAUSE") end, undo = function(c) psql.exec(c.params.pool, "RESUME") end } },
  after = { promote = { step { "point", run = function(c) psql.exec(c.params.pool, "RELOAD") end }, step { "resume", run = function(c) psql.exec(c.params.pool, "RESUME") end } } },
  finally = { step { "tell", run = function(c) psql.exec("log", string.format("%s %s", c.outcome, tostring(c.error))) end } },`

func TestExtensionRuns(t *testing.T) {
	w := &world{}
	r := mustLoad(t, extended, extendedHost(w, extension(pausing)))
	if got := strings.Join(stepNames(r.Steps), " "); got != "pause stop promote point resume" {
		t.Errorf("steps: got %s", got)
	}
	if len(r.Finally) != 1 || r.Finally[0].Name != "tell" || len(r.Checks) != 1 || len(r.Params) != 2 {
		t.Errorf("got %+v", r)
	}
	if got := r.Sources(); len(got) != 2 || !got[1].Extension {
		t.Errorf("sources: got %+v", got)
	}
	if _, err := r.Run(t.Context(), map[string]string{"pool": "bouncer"}, RunOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"exec bouncer PAUSE []", "stop db1 fast 0s", "promote db2", "exec bouncer RELOAD []", "exec bouncer RESUME []", "exec log done nil []"}
	if !slices.Equal(w.calls, want) {
		t.Errorf("got  %q\nwant %q", w.calls, want)
	}
}

// A run that fails undoes the steps of extensions with the others, and the
// steps of finally come last and know why.
func TestExtensionIsUndone(t *testing.T) {
	w := &world{hook: func(_ context.Context, call string) error {
		if strings.HasPrefix(call, "promote") {
			return errors.New("no promotion")
		}
		return nil
	}}
	r := mustLoad(t, extended, extendedHost(w, extension(pausing)))
	result, err := r.Run(t.Context(), nil, RunOptions{})
	var step *StepError
	if !errors.As(err, &step) || step.Step != "promote" || !step.Undone {
		t.Fatalf("got %v", err)
	}
	want := []string{"exec db2 PAUSE []", "stop db1 fast 0s", "promote db2", "start db1", "exec db2 RESUME []", "exec log failed step promote: no promotion []"}
	if !slices.Equal(w.calls, want) {
		t.Errorf("got  %q\nwant %q", w.calls, want)
	}
	if last := result.Steps[len(result.Steps)-1]; last.Name != "tell" || last.Outcome != Done {
		t.Errorf("the last step: got %+v", last)
	}
}

// TestExtensionOnError: a step that only warns does not end the run, and one of
// finally never changes how it has ended.
func TestExtensionOnError(t *testing.T) {
	for _, test := range []struct{ failing, fails, calls string }{
		{"exec db2 PAUSE", "step pause: broken", "exec db2 PAUSE []|exec db2 RESUME []|exec log failed step pause: broken []"},
		{"exec db2 RELOAD", "", "exec db2 PAUSE []|stop db1 fast 0s|promote db2|exec db2 RELOAD []|exec db2 RESUME []|exec log done nil []"},
		{"exec log", "", "exec db2 PAUSE []|stop db1 fast 0s|promote db2|exec db2 RELOAD []|exec db2 RESUME []|exec log done nil []"},
	} {
		w := &world{}
		w.hook = func(_ context.Context, call string) error {
			if strings.HasPrefix(call, test.failing) {
				return errors.New("broken")
			}
			return nil
		}
		r := mustLoad(t, extended, extendedHost(w, extension(pausing)))
		var out bytes.Buffer
		_, err := r.Run(t.Context(), nil, RunOptions{Out: &out})
		if got := fmt.Sprint(err); test.fails == "" && err != nil || test.fails != "" && !strings.Contains(got, test.fails) {
			t.Errorf("%s: got %v, want %q", test.failing, err, test.fails)
		}
		if got := strings.Join(w.calls, "|"); got != test.calls {
			t.Errorf("%s:\ngot  %s\nwant %s", test.failing, got, test.calls)
		}
		if strings.Contains(test.failing, "RELOAD") && !strings.Contains(out.String(), "the run goes on: step point of an extension only warns") {
			t.Errorf("no warning in:\n%s", &out)
		}
	}
}

// Nothing that ends a run ends what comes finally, and a run whose checks fail
// has nothing to tell.
func TestFinallyOutlivesTheRun(t *testing.T) {
	w := &world{}
	r := mustLoad(t, extended, extendedHost(w, extension(pausing)))
	ctx, cancel := context.WithCancel(t.Context())
	w.hook = func(_ context.Context, call string) error {
		if strings.HasPrefix(call, "stop") {
			cancel()
		}
		return nil
	}
	if _, err := r.Run(ctx, nil, RunOptions{}); err == nil {
		t.Error("the run was not ended")
	}
	if last := w.calls[len(w.calls)-1]; !strings.HasPrefix(last, "exec log failed") {
		t.Errorf("the last call: got %s", last)
	}
	w.calls, w.hook = nil, nil
	r = mustLoad(t, extended, extendedHost(w, extension(pausing), extension(`checks = { check { "never", function(c) return false end } }`)))
	if _, err := r.Run(t.Context(), nil, RunOptions{}); err == nil || len(w.calls) != 0 {
		t.Errorf("got %v and %q, want a failed check and no call", err, w.calls)
	}
}

func TestExtensionOrder(t *testing.T) {
	step := func(name string) string { return `step { "` + name + `", run = function(c) end }` }
	for _, test := range []struct{ files, want string }{
		{`before = { stop = ` + step("a") + ` }|before = { stop = ` + step("b") + ` }`, "a b stop promote"},
		{`after = { stop = ` + step("a") + ` }|after = { stop = { ` + step("b") + `, ` + step("c") + ` } }`, "stop a b c promote"},
		{`after = { stop = ` + step("a") + ` }|before = { promote = ` + step("b") + ` }`, "stop a b promote"},
		{`replace = { stop = ` + step("stop") + ` }|before = { stop = ` + step("b") + ` }`, "b stop promote"},
	} {
		var files []string
		for _, inner := range strings.Split(test.files, "|") {
			files = append(files, extension(inner))
		}
		r := mustLoad(t, extended, extendedHost(&world{}, files...))
		if got := strings.Join(stepNames(r.Steps), " "); got != test.want {
			t.Errorf("%s: got %s, want %s", test.files, got, test.want)
		}
	}
}

func TestExtensionPlan(t *testing.T) {
	w := &world{}
	r := mustLoad(t, extended, extendedHost(w, extension(pausing)))
	plan, err := r.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := plan.Text()
	for _, want := range []string{"  ok      the pool answers\n", "  1. pause\n       psql.exec db2 \"PAUSE\"\n", "  6. tell (at the end of every run, done or failed)\n", "unknown from here: depends on how the run ends"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if len(w.calls) != 0 {
		t.Errorf("planning has called %q", w.calls)
	}
}

// TestBadExtensions has one file for each mistake, and the exact message.
func TestBadExtensions(t *testing.T) {
	good := `step { "a", run = function(c) end }`
	for _, test := range []struct{ text, want string }{
		{`return {}`, `demo.d/0.lua: the file must end in return extension { ... }, and returns a table`},
		{`return extension { extends = "demo" }`, `demo.d/0.lua:1: extension has no api = 1, the form it is written in`},
		{`return extension { api = 1 }`, `demo.d/0.lua:1: extension has no extends`},
		{`return extension { api = 1, extends = "demo" }`, `demo.d/0.lua:1: extension of demo has no summary`},
		{`return extension { api = 1, summary = "x",` + "\nextends = \"dmo\" }", `demo.d/0.lua:2: the file lies beside runbook demo and extends dmo`},
		{extension(`befor = { stop = ` + good + ` }`), `demo.d/0.lua:2: unknown key befor in extension of demo, did you mean before?`},
		{extension("before = {\nstpo = " + good + ` }`), `demo.d/0.lua:3: before: runbook demo has no step stpo, did you mean stop?`},
		{extension(`before = { stop = 3 }`), `demo.d/0.lua:2: before.stop in extension of demo is not a step: write step { ... }`},
		{extension(`before = { stop = { 3 } }`), `demo.d/0.lua:2: item 1 of before.stop in extension of demo is not a step: write step { ... }`},
		{extension(`replace = { stop = ` + good + ` }`), `demo.d/0.lua:2: replace: the step that takes the place of stop must be one, and be called stop too: others look at its result`},
		{extension(`after = { stop = step { "stop", run = function(c) end } }`), `demo.d/0.lua:2: a second step stop, the first is demo.lua:4`},
		{extension(`after = { stop = step { "a", irreversible = true, run = function(c) end } }`), `demo.d/0.lua:2: step a is irreversible, which only a step that replaces one of the runbook's may be`},
		{extension(`after = { stop = step { "a", on_error = "wrn", run = function(c) end } }`), `demo.d/0.lua:2: on_error in step a: "wrn" is not one of fail, warn, did you mean warn?`},
		{extension(`finally = { step { "a", on_error = "fail", run = function(c) end } }`), `demo.d/0.lua:2: step a cannot fail a run that has ended: on_error in finally is "warn"`},
		{extension(`finally = { step { "a", undo = function(c) end, run = function(c) end } }`), `demo.d/0.lua:2: step a is in finally, which is never undone: it has no undo, irreversible or leaves`},
		{extension(`params = { mode = param.string {} }`), `demo.d/0.lua:2: runbook demo has a parameter mode already`},
		{extension(`before = { stop = step { "a", run = function(c) end, tiemout = "3s" } }`), `demo.d/0.lua:2: unknown key tiemout in step a, did you mean timeout?`},
		{"return extension {\n api = = 1 }", `demo.d/0.lua:2: syntax error near "="`},
	} {
		_, err := Load(t.Context(), Source{Path: "demo.lua", Text: extended}, extendedHost(&world{}, test.text))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s\ngot  %v\nwant %s", test.text, err, test.want)
		}
	}
	_, err := Load(t.Context(), Source{Path: "demo.lua", Text: bookText(`steps = { step { "a", on_error = "warn", run = function(c) end } }`)}, Host{})
	if want := `demo.lua:2: step a: on_error is for the steps of extensions`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	two := extension(`replace = { stop = step { "stop", run = function(c) end } }`)
	_, err = Load(t.Context(), Source{Path: "demo.lua", Text: extended}, extendedHost(&world{}, two, two))
	if want := `demo.d/1.lua:2: replace: another extension has replaced step stop already`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestLintReadsExtensions: they are read with the runbook that they extend.
func TestLintReadsExtensions(t *testing.T) {
	host := extendedHost(&world{}, extension(`params = { pool = param.string {} },
  before = { stop = step { "pause", run = function(c) psql.exec(c.params.poll, "PAUSE") end } },
  finally = { step { "tell", run = function(c) psql.exec(c.node, c.outcom) end } },`))
	var got []string
	for _, f := range Lint(t.Context(), Source{Path: "demo.lua", Text: extended}, host) {
		got = append(got, f.String())
	}
	want := []string{
		`demo.lua:5: step promote changes something (pg_ctl.promote) and has neither undo nor irreversible = true; where nothing needs to be taken back, write undo = false`,
		`demo.d/0.lua:3: runbook demo has no parameter poll, did you mean pool?`,
		`demo.d/0.lua:3: step pause changes something (psql.exec) and has neither undo nor irreversible = true; where nothing needs to be taken back, write undo = false`,
		`demo.d/0.lua:4: c has no field outcom, did you mean outcome?`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A run that is resumed does not take what a step of an extension warned of for
// its own failure, and what comes finally comes at each of its ends.
func TestExtensionResumed(t *testing.T) {
	w := &world{}
	w.hook = func(_ context.Context, call string) error {
		if strings.HasPrefix(call, "exec db2 RELOAD") {
			return errors.New("broken")
		}
		return nil
	}
	r := mustLoad(t, extended, extendedHost(w, extension(pausing)))
	var events []Event
	full, kept := errors.New("disk full"), true
	_, err := r.Run(t.Context(), nil, RunOptions{Observe: func(e Event) error {
		if kept = kept && e.Step != "resume"; !kept {
			return full
		}
		events = append(events, e)
		return nil
	}})
	if !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	w.calls = nil
	if _, err := r.Run(t.Context(), nil, RunOptions{History: &History{Events: events}}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"exec db2 RESUME []", "exec log done nil []"}; !slices.Equal(w.calls, want) {
		t.Errorf("got  %q\nwant %q", w.calls, want)
	}
}
