package engine

import (
	"fmt"
	"strings"
	"testing"
)

// tried is a runbook with a failure of every kind.
const tried = `return runbook { api = 1, name = "demo", summary = "s", runs_on = "any", lock = "none",
  params = { mode = param.string { default = "fast" } },
  checks = { check { "it runs", retries = 2, delay = "1h", function(c) return pg_ctl.control(c.node).state == "in production" end, hint = "start it" } },
  steps = {
    step { "stop", confirm = "Stop?", retries = 1, delay = "1h",
      run = function(c) return pg_ctl.stop(c.node, { mode = c.params.mode, timeout = "60s" }) end,
      undo = function(c) pg_ctl.start(c.node) end },
    step { "look", run = function(c)
      if c.results.stop.checkpoint < lsn("0/10") then fail { "too early", hint = "wait" } end
    end },
    step { "promote", undo = false, run = function(c)
      local at = pg_ctl.promote(c.partner)
      say("promoted at %s", at)
      return at
    end },
  },
}`

func testTried(t *testing.T, cases string) (TestReport, error) {
	t.Helper()
	text := `return test { runbook = "demo", answers = { ["pg_ctl.control"] = { state = "in production" },
["pg_ctl.stop"] = { state = "shut down", checkpoint = lsn("0/28") }, ["pg_ctl.promote"] = lsn("0/40") },
` + cases + "\n}"
	w := &world{}
	report, err := TestRunbook(t.Context(), Source{Path: "demo_test.lua", Text: text}, w.host(), func(name string) (Source, error) {
		if name != "demo" {
			return Source{}, fmt.Errorf("there is no runbook %q", name)
		}
		return Source{Name: "demo", Path: "demo.lua", Text: tried}, nil
	})
	if len(w.calls) != 0 {
		t.Errorf("a test has called the real functions: %q", w.calls)
	}
	return report, err
}

// TestRunbookTests: cases that pass.
func TestRunbookTests(t *testing.T) {
	report, err := testTried(t, `
case { "well", params = { mode = "smart" }, calls = { "pg_ctl.control db1", "pg_ctl.stop db1", "pg_ctl.promote db2" }, never = { "pg_ctl.start" },
  says = { "promoted at 0/40" }, sweep = true, passed = false, plan = { "pg_ctl.stop db1 {mode=\"smart\"", "asks: Stop?" },
  expect = function(run)
    assert(run.calls[2].args[2].mode == "smart" and run.calls[2].text == 'pg_ctl.stop db1 {mode=smart, timeout=1m0s}', run.calls[2].text)
    assert(run.results.promote == lsn("0/40") and run.steps.stop == "done" and run.error == nil and run.asked[1] == "Stop?")
  end },
case { "it does not run", answers = { ["pg_ctl.control"] = { state = "shut down" } }, fails = "check failed: it runs", hint = "start it", never = { "pg_ctl.stop" } },
case { "said no", agree = false, fails = "the operator said no", never = { "pg_ctl.stop" } },
case { "the stop fails twice", answers = { ["pg_ctl.stop"] = fails "it hangs" }, fails = "it hangs", undone = { "stop" }, calls = { "pg_ctl.stop db1", "pg_ctl.stop db1", "pg_ctl.start db1" } },
case { "the stop fails once", answers = { ["pg_ctl.stop"] = each { fails "it hangs", { checkpoint = lsn("0/28") } } } },
case { "refused", answers = { ["pg_ctl.stop"] = fails { "no permission", hint = "sudo", begun = false } }, fails = "no permission", hint = "sudo", undone = {}, never = { "pg_ctl.start" } },
case { "too early", answers = { ["pg_ctl.stop"] = function(node, options)
    assert(node == "db1" and options.mode == "fast")
    return { checkpoint = lsn("0/1") }
  end }, fails = "too early", hint = "wait", undone = { "stop" } },
case { "undo fails", answers = { ["pg_ctl.promote"] = fails "no", ["pg_ctl.start"] = fails "neither" }, fails = "no", left = { "stop" }, undone = {} },
case { "past the line", answers = { ["pg_ctl.promote"] = no_return(fails "the answer was lost") }, fails = "the answer was lost", passed = true, never = { "pg_ctl.start" } },
case { "no partner", vars = { partner = false }, fails = "want a string, got nil", undone = { "stop" } },`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		if len(c.Problems) > 0 {
			t.Errorf("%s:%d: %s: %q\n%s", c.File, c.Line, c.Name, c.Problems, strings.Join(c.Calls, "\n"))
		}
	}
	if len(report.Cases) != 10 || len(report.Untried) != 0 {
		t.Errorf("got %d cases, untried %q", len(report.Cases), report.Untried)
	}
}

// TestRunbookTestsFail: each thing that a case can be wrong about.
func TestRunbookTestsFail(t *testing.T) {
	for cases, want := range map[string]string{
		`case { "a", fails = "x" }`:                                                                                     `it does not fail, and should with "x"`,
		`case { "a", answers = { ["pg_ctl.stop"] = fails "it hangs" } }`:                                                `it fails: step stop: it hangs`,
		`case { "a", answers = { ["pg_ctl.stop"] = fails "it hangs" }, fails = "y" }`:                                   `it fails with "step stop: it hangs", and should with "y"`,
		`case { "a", answers = { ["pg_ctl.stop"] = fails "no" }, fails = "no", hint = "h" }`:                            `its hint is "", and should have "h"`,
		`case { "a", calls = { "pg_ctl.promote", "pg_ctl.stop" } }`:                                                     `not called, in this order: pg_ctl.stop`,
		`case { "a", calls = { "pg_ctl.promote db" } }`:                                                                 `not called, in this order: pg_ctl.promote db`,
		`case { "a", never = { "pg_ctl.promote" } }`:                                                                    `called: pg_ctl.promote db2`,
		`case { "a", says = { "hello" } }`:                                                                              `the output does not have "hello"`,
		`case { "a", plan = { "hello" } }`:                                                                              `the plan does not have "hello"`,
		`case { "a", params = { moad = "x" } }`:                                                                         `it fails: demo has no flag --moad, did you mean --mode?`,
		`case { "a", passed = true }`:                                                                                   `past the line of no return: false; expected: true`,
		`case { "a", answers = { ["pg_ctl.promote"] = fails "no" }, fails = "no", undone = {} }`:                        `undone: stop; expected: nothing`,
		`case { "a", answers = { ["pg_ctl.promote"] = fails "no", ["pg_ctl.start"] = fails "neither" }, fails = "no" }`: `left, because its undo failed: stop; expected: nothing (undo stop: neither)`,
		`case { "a", expect = function(run) error("I say no", 0) end }`:                                                 `I say no`,
		`case { "a", answers = { ["pg_ctl.control"] = { stat = "x" } } }`:                                               `it fails: check failed: it runs: the answer of the test for pg_ctl.control: unknown key stat, did you mean state?`,
	} {
		report, err := testTried(t, cases)
		if err != nil {
			t.Errorf("%s: %v", cases, err)
			continue
		}
		if got := strings.Join(report.Cases[0].Problems, "|"); got != want || report.Failed() != 1 {
			t.Errorf("%s:\ngot  %s\nwant %s", cases, got, want)
		}
	}
}

// TestSweep: every call fails once, and a runbook that stumbles over that in
// Lua, or cannot undo, is found out.
func TestSweep(t *testing.T) {
	const careless = `return runbook { api = 1, name = "demo", summary = "s", runs_on = "any", lock = "none",
  steps = {
    step { "stop", run = function(c) return pg_ctl.stop(c.node) end, undo = function(c) psql.exec(c.node, c.results.stop.state) end },
    step { "promote", undo = false, run = function(c)
      local ok, at = pcall(pg_ctl.promote, c.partner)
      say("%d", at)
    end },
  },
}`
	text := `return test { runbook = "demo", case { "well", sweep = true, answers = { ["pg_ctl.stop"] = { state = "x" }, ["pg_ctl.promote"] = lsn("0/1") }, } }`
	report, err := TestRunbook(t.Context(), Source{Path: "demo_test.lua", Text: strings.Replace(text, `lsn("0/1")`, `function() return lsn("0/1") end`, 1)}, (&world{}).host(),
		func(string) (Source, error) {
			return Source{Path: "demo.lua", Text: strings.Replace(careless, `say("%d", at)`, `if not ok then say("%d", at) end`, 1)}, nil
		})
	want := []string{
		`when call 1 fails (pg_ctl.stop db1): left, because its undo failed: stop (undo stop: demo.lua:3: attempt to index a non-table object(nil) with key 'state')`,
		`when call 2 fails (pg_ctl.promote db2): a mistake of the runbook: step promote: demo.lua:6: format: %d wants a number, got a string`,
	}
	if err != nil || strings.Join(report.Cases[0].Problems, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %v\n%s\nwant\n%s", err, strings.Join(report.Cases[0].Problems, "\n"), strings.Join(want, "\n"))
	}
}

// TestRunbookTestsNeedAnswers: a read that the test forgot is not answered with
// nothing.
func TestRunbookTestsNeedAnswers(t *testing.T) {
	report, err := TestRunbook(t.Context(), Source{Path: "demo_test.lua", Text: `return test { runbook = "demo", case { "a" } }`}, (&world{}).host(),
		func(string) (Source, error) { return Source{Path: "demo.lua", Text: tried}, nil })
	if err != nil || len(report.Cases) != 1 || report.Cases[0].Problems[0] != "no answer for pg_ctl.control" {
		t.Errorf("got %+v, %v", report, err)
	}
	want := []string{"step stop is never undone", "fail is never called: demo.lua:9"}
	if got := fmt.Sprint(report.Untried); got != fmt.Sprint(want) {
		t.Errorf("untried: got %s, want %s", got, want)
	}
}

func TestBadTests(t *testing.T) {
	for text, want := range map[string]string{
		`return 1`:                      `demo_test.lua: the file must end in return test { ... }, and returns a number`,
		`return test {}`:                `demo_test.lua:1: test has no runbook`,
		`return test { runbook = "x" }`: `demo_test.lua:1: test of x has no cases: write case { ... }`,
		`return test { runbook = "x", case { "a" } }`:                                              `demo_test.lua:1: there is no runbook "x"`,
		`return test { runbook = "demo", 3 }`:                                                      `demo_test.lua:1: item 1 of test of demo is not a case: write case { ... }`,
		`return test { runbook = "demo", case { "a", fail = "x" } }`:                               `demo_test.lua:1: unknown key fail in case a, did you mean fails?`,
		`return test { runbook = "demo", case { "a", calls = "x" } }`:                              `demo_test.lua:1: calls in case a: want a list such as { "a", "b" }, got the string "x"`,
		"return test { runbook = \"demo\",\ncase { \"a\", answers = { [\"pg_ctl.stpo\"] = 1 } } }": `demo_test.lua:2: an answer for pg_ctl.stpo, which is no function, did you mean pg_ctl.stop?`,
		`return test { runbook = "demo", case { "a", answers = { x = each {} } } }`:                `demo_test.lua:1: each has no answers: write each { a, b }`,
		`return test { runbook = "demo", case { "a", answers = { x = fails {} } } }`:               `demo_test.lua:1: write fails "text", or fails { "text", begun = false }`,
		`pg_ctl.stop("db1")`: `demo_test.lua:1: unknown name pg_ctl`,
	} {
		_, err := TestRunbook(t.Context(), Source{Path: "demo_test.lua", Text: text}, (&world{}).host(), func(name string) (Source, error) {
			if name == "demo" {
				return Source{Path: "demo.lua", Text: tried}, nil
			}
			return Source{}, fmt.Errorf("there is no runbook %q", name)
		})
		if err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}
