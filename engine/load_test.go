package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

const goodStep = `step { "one", run = function(c) end }`

func TestLoadReadsTheForm(t *testing.T) {
	r := mustLoad(t, `-- the header
return runbook {
  api = 1, name = "flush_it", summary = "Stop cleanly", description = "Long\ntext",
  runs_on = "primary", lock = "node", next = "other",
  params = {
    drain = param.duration { default = "60s", help = "how long" },
    count = param.integer { default = 3 },
    sure = param.boolean { default = true },
    mode = param.choice { choices = { "fast", "smart" }, default = "fast" },
    to_node = param.node { required = true, help = "where" },
    limit = param.size {},
  },
  checks = {
    check { "is primary", function(c) return true end, hint = "run it there" },
  },
  steps = {
    step { "first", timeout = "30m", run = function(c) end },
    step {
      "second", run = function(c) end, undo = function(c) end,
      done_if = function(c) return true end, retries = 2, hint = "look",
    },
    step { "third", irreversible = true, confirm = "Sure?", run = function(c) end },
  },
}`, Host{})
	want := Runbook{
		API: 1, Name: "flush_it", Summary: "Stop cleanly", Description: "Long\ntext", RunsOn: "primary", Lock: "node", Next: "other",
		Params: []Param{
			{Name: "drain", Type: "duration", Default: "60s", HasDefault: true, Help: "how long"},
			{Name: "count", Type: "integer", Default: "3", HasDefault: true},
			{Name: "sure", Type: "boolean", Default: "true", HasDefault: true},
			{Name: "mode", Type: "choice", Default: "fast", HasDefault: true, Choices: []string{"fast", "smart"}},
			{Name: "to_node", Type: "node", Required: true, Help: "where"},
			{Name: "limit", Type: "size"},
		},
		Checks: []CheckInfo{{Name: "is primary", Hint: "run it there", Line: 14}},
		Steps: []StepInfo{
			{Name: "first", Line: 17, Timeout: "30m"},
			{Name: "second", Line: 18, HasUndo: true, HasDoneIf: true, Retries: 2, Hint: "look"},
			{Name: "third", Line: 22, Irreversible: true, Asks: true},
		},
	}
	got := fmt.Sprintf("%+v", *publicPart(r))
	if expected := fmt.Sprintf("%+v", *publicPart(&want)); got != expected {
		t.Errorf("got  %s\nwant %s", got, expected)
	}
	if got := r.Params[4].Flag(); got != "to-node" {
		t.Errorf("flag: got %q, want to-node", got)
	}
}

func publicPart(r *Runbook) *Runbook {
	return &Runbook{API: r.API, Name: r.Name, Summary: r.Summary, Description: r.Description, RunsOn: r.RunsOn, Lock: r.Lock,
		Next: r.Next, Params: r.Params, Checks: r.Checks, Steps: r.Steps}
}

// TestLockUnless: what only reads takes no lock, however it is asked for.
func TestLockUnless(t *testing.T) {
	r := mustLoad(t, `return runbook { api = 1, name = "demo", summary = "s", runs_on = "any", lock = "node", lock_unless = "list_all",
params = { list_all = param.boolean {}, close = param.boolean {} }, steps = { `+goodStep+` } }`, Host{})
	for _, test := range []struct {
		args map[string]string
		want string
	}{
		{nil, "node"},
		{map[string]string{"close": "true"}, "node"},
		{map[string]string{"list_all": "false"}, "node"},
		{map[string]string{"list_all": "true"}, "none"},
		{map[string]string{"--list-all": "true"}, "none"},
	} {
		if got := r.LockFor(test.args); got != test.want {
			t.Errorf("the lock with %v: got %q, want %q", test.args, got, test.want)
		}
	}
}

// TestBadRunbooks has one runbook for each mistake that a person makes, and
// the exact message for it.
func TestBadRunbooks(t *testing.T) {
	head := `return runbook { api = 1, name = "demo", summary = "s", runs_on = "any", `
	steps := `steps = { ` + goodStep + ` } }`
	for _, test := range []struct{ name, text, want string }{
		{"empty", ``, `demo.lua: the file must end in return runbook { ... }, and returns nil`},
		{"not returned", `runbook { api = 1, name = "demo", summary = "s", runs_on = "any", ` + steps,
			`demo.lua: the file must end in return runbook { ... }, and returns nil`},
		{"returns a table", `return {}`, `demo.lua: the file must end in return runbook { ... }, and returns a table`},
		{"syntax", "return runbook {\n  api = = 1\n}", `demo.lua:2: syntax error near "="`},
		{"missing end", "local function f()\nreturn runbook {}\n",
			`demo.lua:2: syntax error: the file ends in the middle of something, perhaps a missing end or }`},
		{"no api", `return runbook { name = "demo" }`, `demo.lua:1: runbook has no api = 1, the form it is written in`},
		{"future api", "return runbook {\n api = 2 }", `demo.lua:2: runbook has no api = 1, the form it is written in`},
		{"no name", `return runbook { api = 1 }`, `demo.lua:1: runbook has no name`},
		{"bad name", `return runbook { api = 1, name = "a b" }`, `demo.lua:1: "a b" cannot be a runbook's name: letters, digits, - and _`},
		{"no summary", `return runbook { api = 1, name = "demo" }`, `demo.lua:1: runbook demo has no summary`},
		{"no runs_on", `return runbook { api = 1, name = "demo", summary = "s" }`,
			`demo.lua:1: runbook demo has no runs_on: want one of primary, standby, dr, pair, any`},
		{"wrong runs_on", "return runbook { api = 1, name = \"demo\", summary = \"s\",\nruns_on = \"primry\" }",
			`demo.lua:2: runs_on in runbook demo: "primry" is not one of primary, standby, dr, pair, any, did you mean primary?`},
		{"wrong lock_unless", head + "\nlock_unless = \"list\", " + steps, `demo.lua:2: lock_unless in runbook demo: "list" is not a boolean parameter of it`},
		{"wrong lock", head + "\nlock = \"all\" }", `demo.lua:2: lock in runbook demo: "all" is not one of cluster, node, none`},
		{"no steps", head + `}`, `demo.lua:1: runbook demo has no steps`},
		{"unknown key", head + "\n\n  sumary = \"x\",\n" + steps, `demo.lua:3: unknown key sumary in runbook demo, did you mean summary?`},
		{"item in runbook", head + `"stray", ` + steps, `demo.lua:1: runbook demo has an item too many: "stray"`},
		{"summary is a number", `return runbook { api = 1, name = "demo", summary = 3 }`,
			`demo.lua:1: summary in runbook demo: want a string, got the number 3`},
		{"not a table", `return runbook "demo"`, `demo.lua:1: write runbook { ... }, with one table`},
		{"second runbook", "local a = " + head[7:] + steps + "\n" + head + steps, `demo.lua:2: a file describes one runbook, and this is the second`},

		{"unknown key in step", head + "\nsteps = { step {\n\"stop\",\n  tiemout = \"30m\",\nrun = function(c) end } } }",
			`demo.lua:4: unknown key tiemout in step stop, did you mean timeout?`},
		{"step without name", head + "\nsteps = { step { run = function(c) end } } }",
			`demo.lua:2: a step has no name: write step { "name", ... }`},
		{"step without run", head + "\nsteps = { step { \"a\" } } }", `demo.lua:2: step a has no run`},
		{"run is not a function", head + "steps = { step { \"a\",\n run = \"x\" } } }",
			`demo.lua:2: run in step a: want a function, got the string "x"`},
		{"two steps of a name", head + "steps = {\n" + goodStep + ",\n" + goodStep + "} }",
			`demo.lua:3: a second step one, the first is on line 2`},
		{"timeout is a number", head + "steps = { step { \"a\",\n\n timeout = 30, run = function(c) end } } }",
			`demo.lua:3: timeout in step a: want a duration such as "30s", got the number 30`},
		{"timeout is nonsense", head + "steps = { step { \"a\", timeout = \"soon\", run = function(c) end } } }",
			`demo.lua:1: timeout in step a: "soon" is not a duration: want a number and a unit, such as 30s, 5min or 1h30m`},
		{"retries", head + "steps = { step { \"a\", retries = -1, run = function(c) end } } }",
			`demo.lua:1: retries in step a: want a whole number from 0 to 1000, got the number -1`},
		{"irreversible", head + "steps = { step { \"a\", irreversible = 1, run = function(c) end } } }",
			`demo.lua:1: irreversible in step a: want true or false, got the number 1`},
		{"irreversible with undo", head + "steps = { step { \"a\", irreversible = true,\nundo = function(c) end, run = function(c) end } } }",
			`demo.lua:2: step a is irreversible and cannot have an undo`},
		{"confirm", head + "steps = { step { \"a\", confirm = true, run = function(c) end } } }",
			`demo.lua:1: confirm in step a: want a question or a function that returns one, got true`},
		{"a plain table", head + "steps = {\n" + goodStep + ",\n{ \"x\" } } }", `demo.lua:3: item 2 of steps is not a step: write step { ... }`},
		{"a check among steps", head + "steps = { check { \"x\", function(c) end } } }", `demo.lua:1: item 1 of steps is not a step: write step { ... }`},
		{"steps with a key", head + "steps = { " + goodStep + ",\n two = " + goodStep + "} }", `demo.lua:2: steps in runbook demo is a list and has a key two`},
		{"a hole in steps", head + "\nsteps = { " + goodStep + ", nil, " + goodStep + "} }", `demo.lua:2: item 2 of steps in runbook demo is nil`},
		{"steps is a step", head + "steps = " + goodStep + " }", `demo.lua:1: steps in runbook demo: want a list such as { step { ... } }, got a userdata`},
		{"too many items in step", head + "steps = { step { \"a\",\nfunction(c) end, run = function(c) end } } }", ``},

		{"check without function", head + "checks = { check { \"a\", true } }, " + steps,
			`demo.lua:1: check a has no function: write check { "name", function(c) ... end }`},
		{"unknown key in check", head + "checks = { check { \"a\", function(c) end,\n  hnit = \"x\" } }, " + steps,
			`demo.lua:2: unknown key hnit in check a, did you mean hint?`},
		{"message of check", head + "checks = { check { \"a\", function(c) end,\n 3 } }, " + steps,
			`demo.lua:2: the message of check a: want a string, got the number 3`},

		{"unknown kind", head + "params = { a = param.durration {} }, " + steps, `demo.lua:1: param has no function durration, did you mean duration?`},
		{"unknown key in param", head + "params = {\n a = param.duration {\n  defualt = \"1s\" } }, " + steps,
			`demo.lua:3: unknown key defualt in parameter a, did you mean default?`},
		{"bad default", head + "params = {\n a = param.duration { default = \"1 parsec\" } }, " + steps,
			`demo.lua:2: default in parameter a: "1 parsec" is not a duration: want a number and a unit, such as 30s, 5min or 1h30m`},
		{"default not among choices", head + "params = {\n a = param.choice { choices = { \"fast\", \"smart\" }, default = \"fats\" } }, " + steps,
			`demo.lua:2: default in parameter a: "fats" is not one of fast, smart, did you mean fast?`},
		{"no choices", head + "params = { a = param.choice {} }, " + steps,
			`demo.lua:1: parameter a has no choices: write choices = { "a", "b" }`},
		{"required with default", head + "params = { a = param.string { default = \"x\",\n required = true } }, " + steps,
			`demo.lua:2: parameter a has a default and is required`},
		{"bad parameter name", head + "params = {\n[\"Big One\"] = param.string {} }, " + steps,
			`demo.lua:2: "Big One" cannot be a parameter's name: small letters, digits and _`},
		{"parameter is text", head + "params = {\n a = \"x\" }, " + steps,
			`demo.lua:2: params in runbook demo: write NAME = param.KIND { ... }, with a kind of string, integer, boolean, duration, size, choice, node, time, secret, lsn`},
		{"parameter is a step", head + "params = {\n a = " + goodStep + " }, " + steps, `demo.lua:2: parameter a is not a param.KIND { ... }`},

		{"unknown global", "local x = psq.exec\n" + head + steps, `demo.lua:1: unknown name psq, did you mean psql?`},
		{"unknown function", "\nlocal x = pg_ctl.stpo\n" + head + steps, `demo.lua:2: pg_ctl has no function stpo, did you mean stop?`},
		{"global assignment", "\ncount = 3\n" + head + steps, `demo.lua:2: count is not a local variable: write local count, or local function count`},
		{"global function", "function helper() end\n" + head + steps, `demo.lua:1: helper is not a local variable: write local helper, or local function helper`},
		{"change at load", "pg_ctl.stop('db1')\n" + head + steps, `demo.lua:1: pg_ctl.stop may only be called inside a step or check`},
		{"read at load", "local s = pg_ctl.control('db1')\n" + head + steps, `demo.lua:1: pg_ctl.control may only be called inside a step or check`},
		{"say at load", "say('hello')\n" + head + steps, `demo.lua:1: say may only be called inside a step or check`},
		{"fail at load", "fail('hello')\n" + head + steps, `demo.lua:1: fail may only be called inside a step or check`},
		{"lua error", "local x = nil\nlocal y = x.z\n" + head + steps, `demo.lua:2: attempt to index a non-table object(nil) with key 'z'`},
		{"raised at load", "error('no')\n" + head + steps, `demo.lua:1: no`},
		{"no library", "require 'lib.x'\n" + head + steps, `demo.lua:1: require "lib.x": there is no library`},
		{"changed module", "pg_ctl.stop = 3\n" + head + steps, `demo.lua:1: pg_ctl cannot be changed`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(t.Context(), Source{Path: "demo.lua", Text: test.text}, (&world{}).host())
			got := ""
			if err != nil {
				got = err.Error()
			}
			if test.name == "too many items in step" {
				test.want = got
				if !strings.HasPrefix(got, "demo.lua:2: step a has an item too many: function") {
					t.Errorf("got %q", got)
				}
			}
			if got != test.want {
				t.Errorf("\ngot  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestLoadNameMustMatchFile(t *testing.T) {
	_, err := Load(t.Context(), Source{Name: "other", Path: "other.lua", Text: bookText("steps = { " + goodStep + " }")}, Host{})
	want := "other.lua:1: the file is for runbook other and describes demo: the names must be the same"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadStops(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Load(ctx, Source{Path: "demo.lua", Text: "while true do end"}, Host{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
}

func TestRequire(t *testing.T) {
	texts := map[string]string{
		"lib.math2":  "local lib = {}\nfunction lib.twice(n) return n * 2 end\nreturn lib",
		"lib.a":      "return require 'lib.b'",
		"lib.b":      "return require 'lib.a'",
		"lib.broken": "\nreturn = 3",
		"lib.bad":    "\n\npg_ctl.stop('db1')",
		"lib.does":   "return { stop = function(c) return pg_ctl.stop(c.node) end }",
	}
	asked := map[string]int{}
	w := &world{}
	host := w.host()
	host.Library = func(name string) (Source, error) {
		asked[name]++
		text, ok := texts[name]
		if !ok {
			return Source{}, errors.New("no such file")
		}
		return Source{Name: name, Path: name + ".lua", Text: text}, nil
	}
	r := mustLoad(t, `local m = require "lib.math2"
local does = require "lib.does"
`+bookText(`steps = { step { "one", run = function(c) does.stop(c) return require("lib.math2").twice(21) end } }`), host)
	texts["lib.math2"] = "return nil"
	result, err := r.Run(t.Context(), nil, RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Steps[0].Value; got != int64(42) {
		t.Errorf("got %v, want 42", got)
	}
	if asked["lib.math2"] != 1 {
		t.Errorf("library read %d times, want once: the texts are pinned", asked["lib.math2"])
	}
	if got := len(r.Sources()); got != 3 {
		t.Errorf("got %d sources, want 3", got)
	}
	for lib, want := range map[string]string{
		"lib.a":      `lib.b.lua:1: lib.a requires itself`,
		"lib.broken": `demo.lua:1: require "lib.broken": lib.broken.lua:2: syntax error near "="`,
		"lib.bad":    `lib.bad.lua:3: pg_ctl.stop may only be called inside a step or check`,
		"lib.none":   `demo.lua:1: require "lib.none": no such file`,
	} {
		_, err := Load(t.Context(), Source{Path: "demo.lua", Text: "require '" + lib + "'"}, host)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", lib, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := (&world{}).host().Validate(); err != nil {
		t.Errorf("the fakes: %v", err)
	}
	for _, test := range []struct {
		fn   any
		want string
	}{
		{3, "function m.f: Fn is a int and not a function"},
		{func() error { return nil }, "function m.f: its first argument must be a context"},
		{func(context.Context) {}, "function m.f: its last result must be an error"},
		{func(context.Context, struct{ C chan int }) error { return nil }, "function m.f: option C cannot be a chan int"},
	} {
		h := Host{Modules: []Module{{Name: "m", Funcs: []Func{{Name: "f", Fn: test.fn}}}}}
		if err := h.Validate(); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	var steps strings.Builder
	for i := range 20 {
		fmt.Fprintf(&steps, "step { \"s%d\", timeout = \"30m\", run = function(c) pg_ctl.stop(c.node, { mode = \"fast\" }) end,\n undo = function(c) pg_ctl.start(c.node) end },\n", i)
	}
	src := Source{Path: "demo.lua", Text: bookText("steps = {" + steps.String() + "}")}
	host := (&world{}).host()
	for b.Loop() {
		if _, err := Load(b.Context(), src, host); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad5000Lines(b *testing.B) {
	var steps strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&steps, "step {\n \"s%d\",\n run = function(c)\n if c.node == \"db1\" then pg_ctl.stop(c.node, { mode = \"fast\" }) end\n end },\n", i)
	}
	src := Source{Path: "demo.lua", Text: bookText("steps = {" + steps.String() + "}")}
	host := (&world{}).host()
	for b.Loop() {
		if _, err := Load(b.Context(), src, host); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLoadErrorsSayWhatToDo: a file that cannot be loaded is corrected, or
// taken out of the way of the one that came with the program.
func TestLoadErrorsSayWhatToDo(t *testing.T) {
	const own = "/home/global/runbooks/demo.lua"
	good := Source{Name: "lib", Path: "/home/global/runbooks/lib/lib.lua", Text: "return {"}
	host := Host{Library: func(string) (Source, error) { return good, nil }}
	for _, test := range []struct {
		name    string
		text    string
		shadows bool
		shipped bool
		want    []string
	}{
		{"a syntax error", "return runbook {\n  api = 1\n  name = 2 }", true, false, []string{"nothing was run", "correct " + own, "move it away", "the demo that came with the program"}},
		{"an unknown key", "return runbook { api = 1, name = 'demo', sumary = 'x', runs_on = 'any', steps = {} }", true, false, []string{"correct " + own}},
		{"the site's alone", "return 1", false, false, []string{"correct " + own + ", or move it away"}},
		{"another name", "return runbook { api = 1, name = 'other', summary = 'x', runs_on = 'any', steps = { step { 'a', run = function() end } } }", false, false, []string{"correct " + own}},
		{"a library", "require 'lib'\nreturn 1", true, false, []string{"correct " + good.Path + ", or move it away"}},
		{"the shipped one", "return 1", false, true, []string{"came with the program", "global/runbooks"}},
	} {
		_, err := Load(t.Context(), Source{Name: "demo", Path: own, Text: test.text, Shadows: test.shadows, Shipped: test.shipped}, host)
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		for _, want := range test.want {
			if got := hint.Of(err); !strings.Contains(got, want) {
				t.Errorf("%s: %v: hint %q, want %q in it", test.name, err, got, want)
			}
		}
	}
}
