package engine

import (
	"context"
	"fmt"

	lua "github.com/yuin/gopher-lua"
)

// The form of a file that tests a runbook. Every function that the runbook can
// call is a fake there: it writes the call down and answers as the test says.
//
//	return test {
//	  runbook = "flushPrimary",
//	  answers = { ["psql.in_recovery"] = false, ... },        -- for all cases
//	  case { "the stop fails: the primary comes back",
//	    params = { drain = "1s" }, vars = { dr = "dr" },      -- flags, and the fields of c
//	    answers = { ["pg_ctl.stop"] = fails "it hangs" },     -- before those for all
//	    agree = false,                                        -- the answer to questions; true without it
//	    fails = "it hangs",                                   -- what the error says; without it the run must succeed
//	    hint = "warmrun status",                              -- and its hint
//	    calls = { "archive.drain db1", "pg_ctl.stop db1" },   -- these, in this order, among others
//	    never = { "standby.flush" },
//	    undone = { "stop" },                                  -- exactly these, in this order
//	    left = { "stop" },                                    -- steps whose undo failed
//	    passed = true,                                        -- the line of no return
//	    says = { "Server shutdown normally" },                -- in the output
//	    plan = { "stop the server on db1" },                  -- in the text of the plan
//	    expect = function(run) ... end,                       -- run.calls, run.error, run.results
//	    sweep = true,                                         -- then again with each call failing in turn
//	  },
//	}
//
// An answer is a value, or a function of the call's arguments that returns it,
// or one of fails "text" (fails { "text", hint = "...", begun = false } for more,
// such as a refusal that has changed nothing), no_return(answer), which passes the line of no return first,
// and each { answer, ... }, one for each call, the last for all that follow.

// testDef is what a test's file returns.
type testDef struct {
	runbook string
	answers map[string]lua.LValue
	cases   []*caseDef
	line    int
}

// caseDef is one run and what is expected of it. Nil where the case is silent.
type caseDef struct {
	Name                string
	file                string
	line                int
	params              map[string]string
	vars                map[string]any
	answers             map[string]lua.LValue
	agree, sweep        bool
	fails, hint         string
	calls, never, says  []string
	undone, left, plans []string
	passed              lua.LValue
	expect              *lua.LFunction
}

func (c *caseDef) at() (string, string, int) { return c.Name, c.file, c.line }

// The answers that are no values.
type (
	failAnswer struct {
		text, hint string
		begun      bool
	}
	noReturnAnswer struct{ then lua.LValue }
	eachAnswer     struct{ list []lua.LValue }
)

// openTestForm adds the words that tests are made of.
func (v *vm) openTestForm() {
	for name, fn := range map[string]lua.LGFunction{
		"test": v.makeTest, "case": v.makeCase, "fails": v.makeFails, "no_return": v.makeNoReturn, "each": v.makeEach,
	} {
		v.globals.RawSetString(name, v.function(fn))
	}
}

func (v *vm) makeTest(L *lua.LState) int {
	p := v.part(L, "test")
	t := &testDef{runbook: p.required("runbook"), line: p.at.line}
	p.what = "test of " + t.runbook
	t.answers = p.answers()
	for i := 1; i <= p.table.Len(); i++ {
		ud, _ := p.table.RawGetInt(i).(*lua.LUserData)
		var c *caseDef
		if ud != nil {
			c, _ = ud.Value.(*caseDef)
		}
		if c == nil {
			p.mistake(fmt.Sprintf("[%d]", i), "item %d of %s is not a case: write case { ... }", i, p.what)
		}
		t.cases = append(t.cases, c)
	}
	p.finish(p.table.Len())
	if len(t.cases) == 0 {
		p.mistake("", "%s has no cases: write case { ... }", p.what)
	}
	return v.push(L, t)
}

func (v *vm) makeCase(L *lua.LState) int {
	p := v.part(L, "case")
	c := &caseDef{file: p.at.file, line: p.at.line, agree: true}
	c.Name = p.name("case")
	c.params = p.texts("params")
	c.vars = p.values("vars")
	c.answers = p.answers()
	if p.get("agree") != lua.LNil {
		c.agree = p.flag("agree")
	}
	c.fails, c.hint = p.text("fails"), p.text("hint")
	c.calls, c.never, c.says = p.list("calls"), p.list("never"), p.list("says")
	c.undone, c.left, c.plans = p.list("undone"), p.list("left"), p.list("plan")
	if c.passed = p.get("passed"); c.passed != lua.LNil {
		p.flag("passed")
	}
	c.expect, c.sweep = p.function("expect"), p.flag("sweep")
	p.finish(1)
	return v.push(L, c)
}

func (v *vm) makeFails(L *lua.LState) int {
	if text, ok := L.Get(1).(lua.LString); ok {
		return v.push(L, &failAnswer{text: string(text), begun: true})
	}
	p := v.part(L, "fails")
	f := &failAnswer{begun: true}
	text, ok := p.table.RawGetInt(1).(lua.LString)
	if !ok {
		p.mistake("", `write fails "text", or fails { "text", begun = false }`)
	}
	f.text, f.hint = string(text), p.text("hint")
	if p.get("begun") != lua.LNil {
		f.begun = p.flag("begun")
	}
	p.finish(1)
	return v.push(L, f)
}

func (v *vm) makeNoReturn(L *lua.LState) int {
	return v.push(L, &noReturnAnswer{then: L.Get(1)})
}

func (v *vm) makeEach(L *lua.LState) int {
	p := v.part(L, "each")
	e := &eachAnswer{}
	p.listOnly("", p.table)
	for i := 1; i <= p.table.Len(); i++ {
		e.list = append(e.list, p.table.RawGetInt(i))
	}
	if len(e.list) == 0 {
		p.mistake("", "each has no answers: write each { a, b }")
	}
	return v.push(L, e)
}

// byName reads a table with names as keys.
func (p *part) byName(key string, take func(name string, value lua.LValue)) {
	value := p.get(key)
	if value == lua.LNil {
		return
	}
	table, ok := value.(*lua.LTable)
	if !ok {
		p.wrong(key, value, "a table such as { NAME = value }")
	}
	for name, item := table.Next(lua.LNil); name != lua.LNil; name, item = table.Next(name) {
		take(name.String(), item)
	}
}

func (p *part) answers() map[string]lua.LValue {
	out := map[string]lua.LValue{}
	p.byName("answers", func(name string, value lua.LValue) { out[name] = value })
	return out
}

func (p *part) texts(key string) map[string]string {
	out := map[string]string{}
	p.byName(key, func(name string, value lua.LValue) { out[name] = value.String() })
	return out
}

func (p *part) values(key string) map[string]any {
	out := map[string]any{}
	p.byName(key, func(name string, value lua.LValue) {
		plain, err := p.v.plain(value, 0)
		if err != nil {
			p.mistake(key+"."+name, "%s.%s in %s: %s", key, name, p.what, err)
		}
		if plain == false {
			plain = nil // a table cannot hold nil
		}
		out[name] = plain
	})
	return out
}

// list reads a list of texts; it is nil where the key is absent.
func (p *part) list(key string) []string {
	value := p.get(key)
	if value == lua.LNil {
		return nil
	}
	table, ok := value.(*lua.LTable)
	if !ok {
		p.wrong(key, value, `a list such as { "a", "b" }`)
	}
	p.listOnly(key, table)
	out := []string{}
	for i := 1; i <= table.Len(); i++ {
		text, ok := table.RawGetInt(i).(lua.LString)
		if !ok {
			p.wrong(key, table.RawGetInt(i), "strings")
		}
		out = append(out, string(text))
	}
	return out
}

// loadTest reads a test's file. Nothing that a runbook can call is there.
func loadTest(ctx context.Context, src Source, host Host) (*vm, *testDef, error) {
	main, err := compile(src)
	if err != nil {
		return nil, nil, err
	}
	b := &book{limits: usualLimits, host: Host{Opaques: host.Opaques}, main: main, libs: map[string]*chunk{}, sigs: map[string]*signature{}}
	v, err := newVM(b, false)
	if err != nil {
		return nil, nil, err
	}
	v.openTestForm()
	ctx, cancel := context.WithTimeoutCause(ctx, loadTimeout, fmt.Errorf("%s: still loading after %s", src.file(), loadTimeout))
	defer cancel()
	value, err := v.exec(ctx, main)
	if err != nil {
		return nil, nil, b.loadError(err)
	}
	ud, _ := value.(*lua.LUserData)
	if ud != nil {
		if t, ok := ud.Value.(*testDef); ok {
			return v, t, nil
		}
	}
	return nil, nil, fmt.Errorf("%s: the file must end in return test { ... }, and returns %s", src.file(), v.withArticle(value))
}
