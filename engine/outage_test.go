package engine

import (
	"context"
	"strings"
	"testing"
)

// plansHost has a function that plans another runbook, in this process or as if
// in another.
func plansHost(texts map[string]string, elsewhere bool) Host {
	var host Host
	host.Modules = []Module{{Name: "site", Funcs: []Func{
		{Name: "run", Effect: Change, Plans: true, Resumes: true, Args: []string{"name"}, Fn: func(ctx context.Context, name string) (string, error) {
			r, err := Load(ctx, Source{Path: name + ".lua", Text: texts[name]}, host)
			if err != nil {
				return "", err
			}
			inner := ctx
			if elsewhere {
				inner = withScope(ctx, &scope{})
			}
			plan, err := r.Plan(inner, nil)
			if err != nil {
				return "", err
			}
			if elsewhere {
				PlansWithin(ctx, plan)
			}
			return plan.Nested(), nil
		}},
		{Name: "left", Fn: func(context.Context) (int, error) { return 3, nil }},
		{Name: "set", Effect: Change, Fn: func(context.Context) (int, error) { return 0, nil }},
	}}}
	return host
}

const halfStop = `return runbook { api = 1, name = "stopIt", summary = "s", runs_on = "any", lock = "none", next = "openIt, there", steps = {
  step { "drain", undo = false, expect = function(c) return "not part of it" end, run = function(c) site.set() end },
  step { "stop", undo = false, outage = "begins", expect = function(c) return string.format("%d clients are connected", site.left()) end, run = function(c) return site.set() end },
  step { "ship", undo = false, expect = function(c) return c.results.stop .. "" end, run = function(c) site.set() end },
} }`

const halfOpen = `return runbook { api = 1, name = "openIt", summary = "s", runs_on = "any", lock = "none", steps = {
  step { "replay", undo = false, expect = function(c) return nil end, run = function(c) site.set() end },
  step { "open", irreversible = true, outage = "ends", run = function(c) site.set() end },
} }`

const bothHalves = `steps = {
  step { "flush", run = function(c) site.run("stopIt") end },
  step { "promote", run = function(c) site.run("openIt") end },
  step { "after", undo = false, expect = function(c) return "not part of it" end, run = function(c) site.set() end },
}`

// TestOutagePlanned: a plan says from which step to which clients cannot write,
// how long that took before, and what the steps know of it now.
func TestOutagePlanned(t *testing.T) {
	texts := map[string]string{"stopIt": halfStop, "openIt": halfOpen}
	past := []PastOutage{{Run: "r3", Seconds: 1.25}, {Run: "r2", Seconds: 0.7}}
	for name, test := range map[string]struct {
		text string
		past []PastOutage
		want string
	}{
		"both": {bookText(bothHalves), past, `Expected outage
  clients cannot write from step flush/stop to step promote/open
  the last 2 runs of demo took 0.7 s to 1.2 s between the two
  flush/stop: 3 clients are connected
`},
		"never run": {bookText(bothHalves), nil, `Expected outage
  clients cannot write from step flush/stop to step promote/open
  how long it takes between the two is not known: no earlier run of demo that was done can be looked at here
  flush/stop: 3 clients are connected
`},
		"the first half": {halfStop, past[:1], `Expected outage
  clients cannot write from step stop on
  nothing in this runbook lets them write again; what usually follows: openIt, there
  the last run of stopIt took 1.2 s from there to its end (r3)
  stop: 3 clients are connected
`},
		"the second half": {halfOpen, nil, `Expected outage
  clients can write again at step open; since when they cannot is not known here
  how long it takes until there is not known: no earlier run of openIt that was done can be looked at here
`},
		"none": {bookText(`steps = { step { "a", undo = false, expect = function(c) return "long" end, run = function(c) site.set() end } }`), nil, ""},
	} {
		for _, elsewhere := range []bool{false, true} {
			r := mustLoad(t, test.text, plansHost(texts, elsewhere))
			plan, err := r.Plan(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if plan.Outage != nil {
				plan.Outage.Past = test.past
			}
			_, got, _ := strings.Cut(plan.Text(), "\n\nExpected")
			if got, _, _ = strings.Cut(got, "\nSteps"); got != "" {
				got = "Expected" + got
			}
			if got != test.want {
				t.Errorf("%s, in another process %t: got\n%s\nwant\n%s", name, elsewhere, got, test.want)
			}
		}
	}
}

// TestExpectCannotTell: what expect does not know yet is said at its step.
func TestExpectCannotTell(t *testing.T) {
	r := mustLoad(t, halfStop, plansHost(nil, false))
	plan, err := r.Plan(t.Context(), nil)
	if err != nil || !strings.Contains(plan.Text(), "(how long it will take depends on the result of ") {
		t.Errorf("%v\n%s", err, plan.Text())
	}
}

// TestLineWithinElsewhere: a plan that another process made of a runbook within a
// step passes the line of no return for the one around it, too.
func TestLineWithinElsewhere(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		r := mustLoad(t, bookText(bothHalves), plansHost(map[string]string{"stopIt": halfStop, "openIt": halfOpen}, elsewhere))
		plan, err := r.Plan(t.Context(), nil)
		if err != nil || plan.Steps[0].Passes || !plan.Steps[1].Passes {
			t.Errorf("in another process %t: %v, %+v", elsewhere, err, plan.Steps)
		}
	}
}

// TestOutageForm: the key has two values, a line of its own, and its expect only
// reads.
func TestOutageForm(t *testing.T) {
	host := plansHost(nil, false)
	_, err := Load(t.Context(), Source{Path: "demo.lua", Text: bookText("steps = { step { \"a\",\noutage = \"begin\", run = function(c) end } }")}, host)
	if got, want := errorText(err), `demo.lua:3: outage in step a: "begin" is not one of begins, ends, did you mean begins?`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r := mustLoad(t, bookText(`steps = { step { "a", outage = "ends", run = function(c) end }, step { "b", outage = "begins", mark = "own", run = function(c) end } }`), host)
	if a, b := r.Steps[0], r.Steps[1]; a.Mark != "the outage ends: clients can write again" || b.Mark != "own" || b.Outage != "begins" {
		t.Errorf("%+v, %+v", a, b)
	}
	replaced := host
	replaced.Extensions = func(string) ([]Source, error) {
		return []Source{{Path: "demo.d/0.lua", Text: extension(`replace = { a = step { "a", run = function(c) end } }`)}}, nil
	}
	r = mustLoad(t, bookText(`steps = { step { "a", outage = "begins", run = function(c) end } }`), replaced)
	if a := r.Steps[0]; a.Outage != "begins" || a.Mark != outageMarks["begins"] {
		t.Errorf("what takes the place of a step has lost its outage: %+v", a)
	}
	found := Lint(t.Context(), Source{Path: "demo.lua", Text: bookText("steps = { step { \"a\", run = function(c) end,\nexpect = function(c) site.set() end } }")}, host)
	if len(found) != 1 || !strings.Contains(found[0].Text, "site.set changes something and may not be called in") {
		t.Errorf("found %v", found)
	}
}
