package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestNoWayOut tries everything that would leave the sandbox.
func TestNoWayOut(t *testing.T) {
	for _, name := range []string{"io", "os", "debug", "coroutine", "package", "dofile", "loadfile", "load", "loadstring",
		"print", "collectgarbage", "newproxy", "setfenv", "getfenv", "module", "_G", "_printregs", "channel"} {
		_, _, err := runStep(t, Host{}, "return "+name)
		if err == nil || !strings.Contains(err.Error(), "demo.lua:3: unknown name "+name) {
			t.Errorf("%s: got %v, want an unknown name", name, err)
		}
	}
	for body, want := range map[string]string{
		`return string.dump(function() end)`:         `string has no function dump`,
		`return getmetatable("").__index`:            `attempt to index a non-table object(boolean)`,
		`setmetatable("", {})`:                       `table expected, got string`,
		`setmetatable(1, {})`:                        `table expected, got number`,
		`setmetatable(c, {})`:                        `cannot change a protected metatable`,
		`setmetatable(pg_ctl, nil)`:                  `cannot change a protected metatable`,
		`rawset(pg_ctl, "stop", 1)`:                  `this table cannot be changed`,
		`rawset(c, "node", 1)`:                       `this table cannot be changed`,
		`table.insert(string, 1)`:                    `this table cannot be changed`,
		`table.sort(c)`:                              `this table cannot be changed`,
		`table.remove(c.results)`:                    `this table cannot be changed`,
		`string.format = nil`:                        `string cannot be changed`,
		`string.format("%s")`:                        `format: no value for %s, which is number 1`,
		`string.format("%d", "x")`:                   `format: %d wants a number, got a string`,
		`string.format("%y", 1)`:                     `format: %y is not known`,
		`string.format("%", 1)`:                      `format: the text ends within %`,
		`string.format("%999s", 1)`:                  `format: %999s is not a directive`,
		`string.rep("x", 1e9)`:                       `string.rep: the result would be longer than`,
		`local s = "x" while true do s = s .. s end`: `the text would be longer than 16777216 bytes`,
		`return "a" .. nil`:                          `demo.lua:3: cannot perform concat operation between string and nil`,
		`math.random(0)`:                             `math.random: nothing lies between 1 and 0`,
		`getmetatable(c).__index = nil`:              `attempt to index a non-table object(boolean)`,
		`getmetatable(lsn("0/1")).__eq = nil`:        `attempt to index a non-table object(boolean)`,
		`require "../../etc/passwd"`:                 `there is no library`,
		`runbook { api = 1 }`:                        `a file describes one runbook`,
		`local t = setmetatable({}, { __metatable = 1 }) setmetatable(t, {})`: `cannot change a protected metatable`,
	} {
		_, _, err := runStep(t, (&world{}).host(), body)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", body, err, want)
		}
	}
}

func TestLibraries(t *testing.T) {
	for expr, want := range map[string]any{
		`("abc"):upper() .. #"xy"`: "ABC2",
		`string.format("%5.2f|%-4s|%04d|%x|%%|%q", 3.14159, "a", 7, 255, 'x"y')`: ` 3.14|a   |0007|ff|%|"x\"y"`,
		`string.format("%g %s %s", 1/3, nil, true)`:                              "0.333333 nil true",
		`1 .. 2 .. "a" .. setmetatable({}, { __concat = function(a, b) return (type(a) == "table" and "T" or a) .. (type(b) == "table" and "T" or b) end }) .. "z"`: "12aTz",
		`string.rep("ab", 3)`:                                 "ababab",
		`table.concat({ 1, "b", 2.5 }, ",")`:                  "1,b,2.5",
		`table.concat({ "a", "b", "c" }, "-", 2, 3)`:          "b-c",
		`table.concat({})`:                                    "",
		`("k=v"):match("(%w+)=(%w+)")`:                        "k",
		`(("a b"):gsub("%w", function(x) return x .. x end))`: "aa bb",
		`select("#", unpack({ 1, 2, 3 }))`:                    int64(3),
		`math.max(1, 5, 3)`:                                   int64(5),
		`tostring(1 == 1) .. tostring(1 < 2) .. tostring("a" <= "b") .. tostring(2 >= 3)`:                             "truetruetruefalse",
		`(function() local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return t[1] .. t[3] end)()`: "31",
		`(function(...) return ... == 2, 1 end)(2)`:                                                                   true,
		`(function() return (select("#", (function() return 1, 2 end)())) end)()`:                                     int64(2),
		`not (1 == 2) and "yes" or "no"`:                                                                              "yes",
		`tonumber("0x1F") + tonumber("10", 2)`:                                                                        int64(33),
	} {
		got, _, err := runStep(t, Host{}, "return "+expr)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v, want %v", expr, got, err, want)
		}
	}
}

// TestLongJoin: a chain of .. may be as long as a person likes.
func TestLongJoin(t *testing.T) {
	got, _, err := runStep(t, Host{}, "local x = 'y' return #("+strings.Repeat("x .. ", 500)+"x)")
	if err != nil || got != int64(501) {
		t.Errorf("got %v, %v, want 501", got, err)
	}
}

// TestPcallKeepsVariables: in gopher-lua an error that pcall catches closes
// the variables of the functions around it, and a closure no longer sees what
// they are set to (its issue 448).
func TestPcallKeepsVariables(t *testing.T) {
	for _, caught := range []string{
		`pcall(error, "x")`,
		`pcall(function() error("x") end)`,
		`xpcall(function() error("x") end, function(e) return e end)`,
		`pcall(test.fail, "x")`,
		`pcall(function() local y = nil; return y.z end)`,
		`pcall(pcall, error, "x") pcall(function() pcall(error) error("y") end)`,
	} {
		got, _, err := runStep(t, (&world{}).host(), `local n = 0
local function get() return n end
local function add() n = n + 1 end
`+caught+`
n = n + 1
add()
return get() .. n`)
		if err != nil || got != "22" {
			t.Errorf("%s: got %v, %v, want 22", caught, got, err)
		}
	}
}

func TestPcall(t *testing.T) {
	for expr, want := range map[string]any{
		`select("#", pcall(function() return 1, 2, 3 end))`:                                                int64(4),
		`select(2, pcall(function(a, b) return a .. b end, "x", "y"))`:                                     "xy",
		`select(2, pcall(error, "x", 0))`:                                                                  "x",
		`select(2, pcall(error, { 7 }))[1]`:                                                                int64(7),
		`tostring(pcall(nil))`:                                                                             "false",
		`select(2, xpcall(function() error("x", 0) end, function(e) return e .. "!" end))`:                 "x!",
		`select(2, xpcall(function() return "fine" end, function(e) return e .. "!" end))`:                 "fine",
		`select(2, pcall(function() local t = {} return t.x.y end))`:                                       "demo.lua:3: attempt to index a non-table object(nil) with key 'y'",
		`select(2, pcall(function() local function f() return f() + 1 end return f() end))`:                "demo.lua:3: stack overflow",
		`tostring(pcall(function() local function f() return pcall(f) end return f() end))`:                "true",
		`select(2, pcall(function() local s = {} for i = 1, 300000 do s[i] = i end return unpack(s) end))`: "demo.lua:3: registry overflow",
	} {
		got, _, err := runStep(t, (&world{}).host(), "return "+expr)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v, want %v", expr, got, err, want)
		}
	}
}

// TestLargeConcat: the library's own needs two stack slots for each item.
func TestLargeConcat(t *testing.T) {
	got, _, err := runStep(t, Host{}, `local t = {} for i = 1, 200000 do t[i] = "x" end return #table.concat(t, ",")`)
	if err != nil || got != int64(399999) {
		t.Errorf("got %v, %v, want 399999", got, err)
	}
}

// TestGoPanicsAreNotCaught: gopher-lua makes a string of a panic, which pcall
// would swallow.
func TestGoPanicsAreNotCaught(t *testing.T) {
	for _, body := range []string{
		`test.panic()`,
		`pcall(test.panic)`,
		`pcall(function() pcall(test.panic) end) return "swallowed"`,
		`xpcall(test.panic, function() return "swallowed" end)`,
		`test.index()`,
	} {
		got, _, err := runStep(t, (&world{}).host(), body)
		var internal *InternalError
		if !errors.As(err, &internal) {
			t.Errorf("%s: got %v, %v, want an internal error", body, got, err)
			continue
		}
		if !strings.HasPrefix(internal.Func, "test.") || internal.Where != "demo.lua:3" || len(internal.Stack) == 0 {
			t.Errorf("%s: got %q at %q with %d bytes of stack", body, internal.Func, internal.Where, len(internal.Stack))
		}
		if !strings.Contains(string(internal.Stack), "fakes_test.go") {
			t.Errorf("%s: the stack does not show the function that panicked:\n%s", body, internal.Stack)
		}
	}
}

// TestContextEndsEverything: the context stops Lua only between instructions,
// and pcall must not make a script deaf to it.
func TestContextEndsEverything(t *testing.T) {
	for _, body := range []string{
		`while true do end`,
		`while true do pcall(function() while true do end end) end`,
		`pcall(function() while true do pcall(error) end end)`,
		`local function f() return f() end f()`,
		`test.hang()`,
		`pcall(test.hang) return "went on"`,
		`while true do pcall(test.hang) end`,
		`table.sort({ 3, 2, 1 }, function() while true do end end)`,
		`("x"):gsub(".", function() while true do end end)`,
		`setmetatable({}, { __index = function() while true do end end }).x()`,
	} {
		r := mustLoad(t, bookText("steps = { step { \"one\", run = function(c)\n"+body+"\nend } }"), (&world{}).host())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		began := time.Now()
		_, err := r.Run(ctx, nil, RunOptions{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want the deadline", body, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: took %s", body, took)
		}
	}
}

// TestNoMemoryLimitOfTheLibrary: LState.SetMx ends the whole process.
func TestNoMemoryLimitOfTheLibrary(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), "SetMx(") {
			t.Errorf("%s calls SetMx", file)
		}
	}
}

// TestLimits: a loop that calls nothing and a table without end are ended, also
// within pcall, and the program goes on.
func TestLimits(t *testing.T) {
	for body, want := range map[string]string{
		`while true do end`: "has computed for 50ms without calling anything",
		`while true do pcall(function() while true do end end) end`:                                 "has computed for 50ms without calling anything",
		`local t = {} while true do t[#t + 1] = ("x"):rep(1000000) .. #t end`:                       "has taken more than 64 MB of memory",
		`local t = {} while true do pcall(function() t[#t + 1] = ("x"):rep(1000000) .. #t end) end`: "has taken more than 64 MB of memory",
	} {
		r := mustLoad(t, bookText("steps = { step { \"one\", retries = 5, run = function(c)\n"+body+"\nend } }"), (&world{}).host())
		r.book.limits = limits{compute: 10 * time.Minute, memory: 64 << 20}
		if strings.Contains(want, "computed") {
			r.book.limits = limits{compute: 50 * time.Millisecond, memory: 1 << 40}
		}
		result, err := r.Run(t.Context(), nil, RunOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", body, err, want)
			continue
		}
		if got := result.Steps[0].Attempts; got != 1 {
			t.Errorf("%s: tried %d times, and nothing can have changed", body, got)
		}
	}
}

// TestLimitsLeaveTheHostAlone: what takes its time is a function of the host.
func TestLimitsLeaveTheHostAlone(t *testing.T) {
	w := &world{hook: func(context.Context, string) error { time.Sleep(3 * watchPause); return nil }}
	r := mustLoad(t, bookText("steps = { step { \"one\", run = function(c) pg_ctl.start(c.node) pg_ctl.start(c.node) return 1 end } }"), w.host())
	r.book.limits.compute = watchPause
	if _, err := r.Run(t.Context(), nil, RunOptions{}); err != nil {
		t.Error(err)
	}
}
