package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lintText gives the findings for a runbook, one on a line.
func lintText(t *testing.T, text string, libs map[string]string) string {
	t.Helper()
	host := (&world{}).host()
	host.Library = func(name string) (Source, error) {
		text, ok := libs[name]
		if !ok {
			return Source{}, errors.New("no such file")
		}
		return Source{Name: name, Path: "lib/" + name + ".lua", Text: text}, nil
	}
	var lines []string
	for _, f := range Lint(t.Context(), Source{Path: "demo.lua", Text: text}, host) {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// TestLintFinds has one text for each mistake, and what is said about it.
func TestLintFinds(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"nothing", `local s = pg_ctl.control(c.node) say("%s at %s", s.state, s.checkpoint)`, ``},
		{"unknown name", `return psq.value(c.node, "SELECT 1")`, `unknown name psq, did you mean psql?`},
		{"unknown name in a condition", `if not redy then say("x") end`, `unknown name redy`},
		{"unknown global of Lua", `return os.time()`, `unknown name os`},
		{"a global is assigned", `count = 3`, `count is not a local variable: write local count, or local function count`},
		{"a local is known", `local count = 3 count = 4 for i = 1, count do count = i end return count`, ``},
		{"not known before its block", `do local x = 1 end return x`, `unknown name x`},
		{"misspelt function", `pg_ctl.stpo(c.node)`, `pg_ctl has no function stpo, did you mean stop?`},
		{"misspelt function of Lua", `return string.uper("x")`, `string has no function uper, did you mean upper?`},
		{"misspelt method", `return ("x"):uper()`, `string has no function uper, did you mean upper?`},
		{"misspelt option", `return test.options(c.node, { tiemout = "3s" })`, `unknown key tiemout in test.options, did you mean timeout?`},
		{"option of another type", `return test.options(c.node, { timeout = 30 })`, `timeout in test.options: want a duration such as "30s", got the number 30`},
		{"LSN option is text", `return test.options(c.node, { upto = "0/30" }), test.options(c.node, { upto = "x" })`, `upto in test.options: "x" is not an LSN`},
		{"LSN option is a number", `local s = pg_ctl.control(c.node) return test.options(c.node, { upto = #s.Names })`, `upto in test.options: want an lsn, got a number`},
		{"argument of another type", `return test.bool("yes")`, `argument 1 (b) of test.bool: want true or false, got the string "yes"`},
		{"a table for a text", `return psql.value(pg_ctl.control(c.node), "SELECT 1")`, `argument 1 (node) of psql.value: want a string, got a table`},
		{"too few arguments", `return psql.value(c.node)`, `psql.value takes 2 or more arguments (node, sql), got 1`},
		{"too many arguments", `return test.bool(true, 3)`, `test.bool takes 1 argument (b), got 2`},
		{"as many as it gives", `return test.bool(test.many())`, ``},
		{"LSN with a string", `return pg_ctl.control(c.node).checkpoint == "0/3000028"`, `cannot compare an lsn with a string: write lsn("...") for a written one`},
		{"LSN variable with a string", `local at = lsn("0/1")
return at < "0/3000028"`, `demo.lua:4: cannot compare an lsn with a string: write lsn("...") for a written one`},
		{"LSN with a number", `return lsn("0/1") >= 3`, `cannot compare an lsn with a number: write lsn("...") for a written one`},
		{"LSN with nil and LSN", `local at = pg_ctl.control(c.node).checkpoint return at ~= nil and at == lsn("0/1")`, ``},
		{"LSN parameter with a string", `return c.params.upto == "0/1"`, `cannot compare an lsn with a string: write lsn("...") for a written one`},
		{"LSN and a number", `return lsn("0/1") + 16`, `cannot calculate an lsn + a number: the only thing known of two values of type lsn is their difference`},
		{"difference of LSNs", `return lsn("0/2") - lsn("0/1") > 0`, ``},
		{"misspelt field of a result", `return pg_ctl.control(c.node).stat`, `this result has no field stat, did you mean state?`},
		{"misspelt field of c", `return c.nod`, `c has no field nod, did you mean node?`},
		{"misspelt parameter", `return c.params.uptoo`, `runbook demo has no parameter uptoo, did you mean upto?`},
		{"misspelt step", `return c.results.on`, `runbook demo has no step on, did you mean one?`},
		{"within a function within", `local ok = pcall(function() pg_ctl.stpo(c.node) end) return ok`, `pg_ctl has no function stpo, did you mean stop?`},
		{"element of a list", `for _, n in ipairs(pg_ctl.control(c.node).Names) do if n == lsn("0/1") then return n end end`, `cannot compare a string with an lsn: write lsn("...") for a written one`},
		{"a variable that changes", `local at = lsn("0/1") at = "x" return at == "x"`, ``},
		{"a helper by another name", `local step = 3 return step`, ``},
	} {
		text := bookText("params = { upto = param.lsn {} }, steps = { step { \"one\", run = function(c)\n" + test.body + "\nend } }")
		want := test.want
		if want != "" && !strings.HasPrefix(want, "demo.lua:") {
			want = "demo.lua:3: " + want
		}
		if got := lintText(t, text, nil); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, want)
		}
	}
}

// TestLintJudgesSteps: where changes may be made, and what must be said of them.
func TestLintJudgesSteps(t *testing.T) {
	libs := map[string]string{"hands": "local lib = {}\nfunction lib.look(n) return pg_ctl.control(n) end\nfunction lib.stop(n) lib.deep(n) end\nfunction lib.halt(n) pg_ctl.stop(n) end\nfunction lib.deep(n) return lib.halt(n) end\nreturn lib"}
	const undo = `step one changes something (pg_ctl.stop) and has neither undo nor irreversible = true; where nothing needs to be taken back, write undo = false`
	for _, test := range []struct{ name, text, want string }{
		{"a change in a check", bookText(`checks = { check { "a", function(c) pg_ctl.stop(c.node) return true end } }, steps = { ` + goodStep + ` }`),
			`demo.lua:2: pg_ctl.stop changes something and may not be called in a check`},
		{"a change in a condition", bookText(`steps = { step { "one", when = function(c) return pg_ctl.stop(c.node) end, run = function(c) end } }`),
			`demo.lua:2: pg_ctl.stop changes something and may not be called in when, done_if or confirm`},
		{"a change in a helper of a check", "local function down(c)\npg_ctl.stop(c.node) end\n" + bookText(`checks = { check { "a", function(c) down(c) return true end } }, steps = { `+goodStep+` }`),
			`demo.lua:4: down calls pg_ctl.stop, which changes something and may not be called in a check`},
		{"a helper as a check", "local function down(c) pg_ctl.stop(c.node) end\n" + bookText(`checks = { check { "a", down } }, steps = { `+goodStep+` }`),
			`demo.lua:3: down calls pg_ctl.stop, which changes something and may not be called in a check`},
		{"a library in a check", "local hands = require 'hands'\n" + bookText(`checks = { check { "a", function(c) return hands.look(c.node).state == "x" and hands.halt(c.node) end } }, steps = { `+goodStep+` }`),
			`demo.lua:3: hands.halt calls pg_ctl.stop, which changes something and may not be called in a check`},
		{"no undo", bookText(`steps = { step { "one", run = function(c) pg_ctl.stop(c.node) end } }`), "demo.lua:2: " + undo},
		{"no undo, in a helper", "local function down(c) pg_ctl.stop(c.node) end\n" + bookText(`steps = { step { "one", run = down } }`), "demo.lua:3: " + undo},
		{"no undo, in pcall", bookText(`steps = { step { "one", run = function(c) pcall(function() pg_ctl.stop(c.node) end) end } }`), "demo.lua:2: " + undo},
		{"undo", bookText(`steps = { step { "one", run = function(c) pg_ctl.stop(c.node) end, undo = function(c) pg_ctl.start(c.node) end } }`), ``},
		{"no undo needed", bookText(`steps = { step { "one", undo = false, run = function(c) pg_ctl.stop(c.node) end } }`), ``},
		{"it says what it leaves", bookText(`steps = { step { "one", leaves = function(c) return "x" end, run = function(c) pg_ctl.stop(c.node) end } }`), ``},
		{"irreversible, and what follows", bookText(`steps = { step { "one", irreversible = true, run = function(c) pg_ctl.stop(c.node) end }, step { "two", run = function(c) pg_ctl.stop(c.node) end } }`), ``},
		{"a step that looks", bookText(`steps = { step { "one", run = function(c) return pg_ctl.control(c.node) end } }`), ``},
		{"the result of an earlier step", bookText(`steps = { step { "one", run = function(c) return pg_ctl.control(c.node) end },
step { "two", run = function(c)
return c.results.one.checkpint, c.results.one.checkpoint == "0/1" end } }`),
			"demo.lua:4: this result has no field checkpint, did you mean checkpoint?\ndemo.lua:4: cannot compare an lsn with a string: write lsn(\"...\") for a written one"},
		{"a mistake in a library", "local hands = require 'broken'\n" + bookText(`steps = { `+goodStep+` }`), `lib/broken.lua:2: unknown name pgctl, did you mean pg_ctl?`},
		{"an unknown key", bookText("steps = { step { \"one\",\n tiemout = \"3s\", run = function(c) return psq end } }"),
			"demo.lua:3: unknown key tiemout in step one, did you mean timeout?\ndemo.lua:3: unknown name psq, did you mean psql?"},
		{"a syntax error", "return runbook {\n  api = = 1\n}", `demo.lua:2: syntax error near "="`},
	} {
		libs["broken"] = "return { stop = function(n)\npgctl.stop(n) end }"
		if got := lintText(t, test.text, libs); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// TestLintReadsAnything: whatever the engine's own tests run, lint gets through.
func TestLintReadsAnything(t *testing.T) {
	files, err := filepath.Glob("testdata/fuzz/*/*")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"", "return", "#!/usr/bin/env x\nreturn 1", "return runbook", "step {}", "check { 'a' }", "local a <const> = 1",
		"step { 'a', run = 3, undo = step }", "return step(step(step))", "x.y.z = 1", "for a in pairs({}) do break end", "require(require)"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	for _, text := range texts {
		lintText(t, text, nil)
	}
}
