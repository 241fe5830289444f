package engine

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// TestCalls calls functions with good and bad arguments. A want that begins
// with "demo.lua" is an error.
func TestCalls(t *testing.T) {
	for _, test := range []struct {
		body string
		want any
	}{
		{`return test.go("x")`, "string x"},
		{`return test.go(3)`, "int64 3"},
		{`return test.go(3.5)`, "float64 3.5"},
		{`return test.go(true)`, "bool true"},
		{`return test.go(nil)`, "<nil> <nil>"},
		{`return test.go({})`, "map[string]interface {} map[]"},
		{`return test.go({ 1, "b" })`, "[]interface {} [1 b]"},
		{`return test.go({ a = { b = 1 } })`, "map[string]interface {} map[a:map[b:1]]"},
		{`return test.go(lsn("1/2A"))`, "engine.lsn 1/2A"},
		{`return test.go(2^53)`, "int64 9007199254740992"},
		{`return test.go({ 1, 2, x = 3 })`, `demo.lua:3: argument 1 (value) of test.go: a table must be a list without holes or have names as keys, not a number`},
		{`return test.go(function() end)`, `demo.lua:3: argument 1 (value) of test.go: a function cannot be kept or passed on`},
		{`return test.go(0/0)`, `demo.lua:3: argument 1 (value) of test.go: NaN is not a number that can be kept or passed on`},
		{`local t = {} t.t = t return test.go(t)`, `demo.lua:3: argument 1 (value) of test.go: tables nested more than 50 deep, or one that holds itself`},

		{`return test.int(-5)`, int64(-5)},
		{`return test.int(1.5)`, `demo.lua:3: argument 1 (n) of test.int: want a whole number, got 1.5`},
		{`return test.int(2^31)`, `demo.lua:3: argument 1 (n) of test.int: 2147483648 is out of range`},
		{`return test.int("5")`, `demo.lua:3: argument 1 (n) of test.int: want a whole number, got the string "5"`},
		{`return test.int()`, `demo.lua:3: test.int takes 1 argument (n), got 0`},
		{`return test.int(nil)`, `demo.lua:3: argument 1 (n) of test.int: want a whole number, got nil`},
		{`return test.int(1, nil)`, int64(1)},
		{`return test.int(1, 2)`, `demo.lua:3: test.int takes 1 argument (n), got 2`},
		{`return test.uint(-1)`, `demo.lua:3: argument 1 (n) of test.uint: -1 is out of range`},
		{`return test.uint(256)`, `demo.lua:3: argument 1 (n) of test.uint: 256 is out of range`},
		{`return test.float(0.5)`, 0.5},
		{`return test.bool(1)`, `demo.lua:3: argument 1 (b) of test.bool: want true or false, got the number 1`},
		{`return test.strings({ "a", "b" })`, int64(2)},
		{`return test.strings({ "a", 3 })`, `demo.lua:3: argument 1 (list) of test.strings: item 2: want a string, got the number 3`},
		{`return test.strings({ a = "b" })`, `demo.lua:3: argument 1 (list) of test.strings: want a list such as { a, b }, got a table with named keys or holes`},
		{`return test.strings("a")`, `demo.lua:3: argument 1 (list) of test.strings: want a list such as { a, b }, got the string "a"`},
		{`return test.map({ a = 1, b = { "x" } })`, "map[a:1 b:[x]]"},
		{`return test.lsn(lsn("0/3000028"))`, "0/3000028"},
		{`return test.lsn("0/3000028")`, "0/3000028"},
		{`return test.lsn("x")`, `demo.lua:3: argument 1 (at) of test.lsn: "x" is not an LSN`},
		{`return test.lsn(3)`, `demo.lua:3: argument 1 (at) of test.lsn: want a value of type lsn, got the number 3`},
		{`return test.wait("1h30m")`, int64(5400)},
		{`return test.wait("250ms")`, 0.25},
		{`return test.wait(30)`, `demo.lua:3: argument 1 (how long) of test.wait: want a duration such as "30s", got the number 30`},
		{`return test.maybe()`, "none"},
		{`return test.maybe("x")`, "x"},
		{`return test.node(c.self)`, int64(5432)},
		{`return test.node("db1")`, `demo.lua:3: argument 1 (node) of test.node: want a node such as one of c's, got the string "db1"`},
		{`return test.node(c.dr)`, `demo.lua:3: argument 1 (node) of test.node: want a node such as one of c's, got nil`},
		{`pcall(test.int) local ok, why = pcall(test.options, "a", { x = 1 }) return why`, `demo.lua:3: unknown key x in test.options (known: also, mode, quick, retries, timeout, upto)`},
		{`local a, b = test.many() return a .. b`, "two2"},
		{`return test.big()`, "9223372036854775809"},
		{`return psql.exec("db1", "select", 1, nil, lsn("0/1"))`, nil},
		{`return psql.exec("db1")`, `demo.lua:3: psql.exec takes 2 or more arguments (node, sql), got 1`},

		{`return test.options("db1")`, `db1 mode= timeout=0s retries=0 upto=0/0 also=[] quick=unset`},
		{`return test.options("db1", { mode = "fast", timeout = "5min", retries = 2, upto = lsn("0/1"), also = { "a" }, quick = false })`,
			`db1 mode=fast timeout=5m0s retries=2 upto=0/1 also=["a"] quick=false`},
		{"return test.options('db1', {\n  mode = 'fast',\n  tiemout = '30s' })", `demo.lua:5: unknown key tiemout in test.options, did you mean timeout?`},
		{"return test.options('db1', {\n  timeout = 30 })", `demo.lua:4: timeout in test.options: want a duration such as "30s", got the number 30`},
		{"return test.options('db1', {\n  retries = 1.5 })", `demo.lua:4: retries in test.options: want a whole number, got 1.5`},
		{`return test.options("db1", { "fast" })`, `demo.lua:3: unknown key 1 in test.options (known: also, mode, quick, retries, timeout, upto)`},
		{`return test.options("db1", "fast")`, `demo.lua:3: the options of test.options: want a table such as { key = value }, got the string "fast"`},
		{`return test.embedded({ first = true, last = "z", names = { "a", "b" }, flag = true })`, `first=true last="z" names=["a" "b"] flag=true`},
		{`return test.embedded({ flag = true })`, `first=false last="" names=[] flag=true`},
		{`return test.options("db1", {}, 1)`, `demo.lua:3: test.options takes 1 to 2 arguments (node, {options}), got 3`},
	} {
		got, _, err := runStep(t, (&world{}).host(), test.body)
		if err != nil {
			var step *StepError
			if !errors.As(err, &step) {
				t.Errorf("%s: got %T, want a *StepError", test.body, err)
				continue
			}
			got = step.Err.Error()
		}
		want, isText := test.want.(string)
		if isText && err != nil && strings.HasSuffix(fmt.Sprint(got), want) {
			continue
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", test.body, got, test.want)
		}
	}
}

func TestResults(t *testing.T) {
	for _, test := range []struct {
		expr string
		want any
	}{
		{`pg_ctl.control("db1").state`, "in production"},
		{`pg_ctl.control("db1").system_id`, "7263984723984723984"},
		{`pg_ctl.control("db1").modified_at`, "2024-05-01T12:00:00Z"},
		{`pg_ctl.control("db1").Age`, 1.5},
		{`pg_ctl.control("db1").note`, nil},
		{`pg_ctl.control("db1").checkpoint`, lsn(0x3000028)},
		{`#pg_ctl.control("db1").Names`, int64(2)},
		{`(function() local n = 0 for _ in ipairs(pg_ctl.control("db1").Names) do n = n + 1 end return n end)()`, int64(2)},
		{`(function() local n = 0 for _ in pairs(pg_ctl.control("db1")) do n = n + 1 end return n end)()`, int64(6)},
		{`pg_ctl.control("db1").stat`, `demo.lua:3: this result has no field stat, did you mean state?`},
		{`pg_ctl.control("db1")`, map[string]any{"state": "in production", "checkpoint": lsn(0x3000028), "system_id": "7263984723984723984",
			"modified_at": "2024-05-01T12:00:00Z", "Age": 1.5, "Names": []any{"a", "b"}}},

		{`c.node`, "db1"},
		{`c.dr`, nil},
		{`c.name`, "demo"},
		{`c.nod`, `demo.lua:3: c has no field nod, did you mean node?`},
		{`c.params.x`, `demo.lua:3: runbook demo has no parameter x`},
		{`c.results.one`, nil},
		{`c.results.on`, `demo.lua:3: runbook demo has no step on, did you mean one?`},
		{`c.self.port`, int64(5432)},
		{`c.self.ssh.user`, ""},
		{`c.self.Secret`, `demo.lua:3: a node has no field Secret (known: name, paths, port, ssh, tags)`},
		{`c.self.prt`, `demo.lua:3: a node has no field prt, did you mean port?`},
		{`tostring(c.self)`, "db1"},
		{`#c.self.paths`, int64(2)},
		{`table.concat(c.self.paths, "+")`, "x+y"},
		{`(function() for k, v in pairs(c.self.tags) do return k .. v end end)()`, "rackr1"},
		{`(function() c.self.port = 1 end)()`, `cannot be changed`},
		{`(function() c.node = 1 end)()`, `demo.lua:3: c cannot be changed`},
		{`(function() c.list[1] = "changed" return c.list[1] end)()`, "p"},
	} {
		got, _, err := runStep(t, (&world{state: "in production"}).host(), "return "+test.expr)
		if err != nil {
			got = err.(*StepError).Err.Error()
		}
		if want, ok := test.want.(string); ok && err != nil && strings.Contains(fmt.Sprint(got), want) {
			continue
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %#v\nwant %#v", test.expr, got, test.want)
		}
	}
}

func TestOpaqueValues(t *testing.T) {
	for _, test := range []struct {
		expr string
		want any
	}{
		{`lsn("0/10") == lsn("0/10")`, true},
		{`lsn("0/10") ~= lsn("0/11")`, true},
		{`lsn("0/10") < lsn("1/0")`, true},
		{`lsn("0/10") <= lsn("0/10")`, true},
		{`lsn("0/10") > lsn("0/11")`, false},
		{`lsn("0/10") >= lsn("0/11")`, false},
		{`lsn("1/0") - lsn("0/FFFFFFFF")`, int64(1)},
		{`lsn("0/0") - lsn("0/10")`, int64(-16)},
		{`tostring(lsn("0/ab"))`, "0/AB"},
		{`"at " .. lsn("0/1") .. "!"`, "at 0/1!"},
		{`string.format("%s %10s", lsn("0/1"), lsn("0/2"))`, "0/1        0/2"},
		{`type(lsn("0/1"))`, "lsn"},
		{`lsn(lsn("0/1")) == lsn("0/1")`, true},
		{`lsn("0/1") == nil`, false},
		{`lsn("0/1") == "0/1"`, `demo.lua:3: cannot compare an lsn with a string: write lsn("...") for a written one`},
		{`"0/1" ~= lsn("0/1")`, `demo.lua:3: cannot compare a string with an lsn: write lsn("...") for a written one`},
		{`lsn("0/1") < 5`, `demo.lua:3: cannot compare an lsn with a number: write lsn("...") for a written one`},
		{`lsn("0/1") - 5`, `demo.lua:3: cannot subtract a number from an lsn`},
		{`lsn("0/1").high`, `demo.lua:3: an lsn has no fields`},
		{`lsn("zz")`, `demo.lua:3: "zz" is not an LSN`},
		{`lsn(5)`, `demo.lua:3: lsn: want a string, got a number`},
		{`(function() local t = { lsn("0/3"), lsn("0/1") } table.sort(t) return tostring(t[1]) end)()`, "0/1"},
	} {
		got, _, err := runStep(t, (&world{}).host(), "return "+test.expr)
		if err != nil {
			got = err.(*StepError).Err.Error()
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %#v\nwant %#v", test.expr, got, test.want)
		}
	}
}

// TestGoErrorsKeepTheirType: an error of a function is the same error outside,
// also when a script caught it and raised it again.
func TestGoErrorsKeepTheirType(t *testing.T) {
	for name, body := range map[string]string{
		"raised":        `test.coded()`,
		"caught, again": `local ok, err = pcall(test.coded) error(err)`,
		"level 0":       `local ok, err = pcall(test.coded) error(err, 0)`,
		"by fail":       `local ok, err = pcall(test.coded) fail(err)`,
		"in a function": `local function f() test.coded() end f()`,
		"tail call":     `return test.coded()`,
	} {
		_, _, err := runStep(t, (&world{}).host(), body)
		var code *coded
		if name == "by fail" {
			if err == nil || err.Error() != "step one: code 7" {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if !errors.As(err, &code) || code.code != 7 {
			t.Errorf("%s: got %v, want the coded error", name, err)
		}
		var step *StepError
		if !errors.As(err, &step) || !strings.HasPrefix(step.Where, "demo.lua:3") {
			t.Errorf("%s: where is %q", name, step.Where)
		}
	}
}

func TestErrorIsATruthyTrapOfLuar(t *testing.T) {
	// A function that returns an error raises it; it never comes back as a
	// value that an `if` takes for success.
	got, _, err := runStep(t, (&world{}).host(), `local ok, message = pcall(test.fail, "no")
	if ok then return "taken for success" end
	return type(message) .. " " .. message`)
	if err != nil || got != "string no" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFailAndHints(t *testing.T) {
	for _, test := range []struct{ body, want, hint string }{
		{`fail("cannot stop %s: %d tries", c.node, 3)`, "step one: cannot stop db1: 3 tries", ""},
		{`fail("100% sure")`, "step one: 100% sure", ""},
		{`fail { "no", hint = "do this" }`, "step one: no", "do this"},
		{`test.fail("broken")`, "step one: broken", "try harder"},
		{`fail { "no", hnit = "do this" }`, "step one: demo.lua:3: unknown key hnit in fail, did you mean hint?", ""},
		{`error("a bug")`, "step one: demo.lua:3: a bug", ""},
		{`error({ code = 1 })`, "step one: error raised with a table: raise a text instead", ""},
		{`assert(1 == 2)`, "step one: demo.lua:3: assertion failed", ""},
		{`assert(false, "because 50%")`, "step one: because 50%", ""},
		{`local x = nil; return x.y`, "step one: demo.lua:3: attempt to index a non-table object(nil) with key 'y'", ""},
		{`return nothere.x`, "step one: demo.lua:3: unknown name nothere", ""},
	} {
		_, _, err := runStep(t, (&world{}).host(), test.body)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", test.body, err, test.want)
		}
		if got := hint.Of(err); got != test.hint {
			t.Errorf("%s: hint is %q, want %q", test.body, got, test.hint)
		}
	}
}
