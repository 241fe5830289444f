package engine

import (
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// The form of a runbook. Everything else is refused, with the line of the key.
//
//	return runbook {
//	  api = 1, name = "flushPrimary", summary = "one line",    -- required
//	  runs_on = "primary",                 -- required: primary, standby, dr, pair or any
//	  lock = "cluster",                    -- cluster (the default), node or none
//	  lock_unless = "list",                -- a boolean parameter with which it only reads, and takes no lock
//	  next = "triggerStandby", description = "as long as it takes",
//	  params = {
//	    drain = param.duration { default = "60s", help = "how long to wait" },
//	    -- kinds: string, integer, boolean, duration, size, choice, node, lsn, time, secret
//	    -- keys: default, help, required, and choices for a choice
//	  },
//	  checks = {
//	    check { "name", function(c) return ok, "why not" end, "why not",
//	      retries = 2, delay = "1s", hint = "what to do",
//	      again = true },                                  -- also when a run is resumed that can still come back
//	  },
//	  steps = {
//	    step { "name",
//	      run = function(c) return result end,             -- required
//	      undo = function(c) end,                          -- must bear running when there is nothing to undo;
//	                                                       -- false: what it does needs no undo
//	      done_if = function(c) return done, result end,   -- true: run is not called
//	      when = function(c) return wanted end,            -- false: the step is skipped
//	      confirm = "question?",                           -- or a function that returns one, or nil
//	      irreversible = true,                             -- excludes undo
//	      repeatable = true,                               -- may be run again after it was interrupted halfway
//	      mark = "clients are paused from here",           -- a line drawn before the step, in plans and runs
//	      outage = "begins",                               -- or "ends": from this step on clients cannot write, or can again
//	      expect = function(c) return "2 clients" end,     -- in plans: what is known now of how long it will take
//	      timeout = "30m", retries = 2, delay = "1s",      -- for each try of run
//	      hint = "what to do when it fails" },
//	  },
//	}

// definition is what a runbook's file returns, with its functions.
type definition struct {
	book   Runbook
	checks []*checkDef
	steps  []*stepDef
	// finally are the steps at the end of every run that has begun one.
	finally []*stepDef
	// callLine is where runbook { was written.
	callLine int
}

// checkDef is a check in one Lua state.
type checkDef struct {
	CheckInfo
	file    string
	fn      *lua.LFunction
	whyNot  string
	retries int
	delay   time.Duration
}

// stepDef is a step in one Lua state.
type stepDef struct {
	StepInfo
	file                    string
	run, undo, doneIf, when *lua.LFunction
	confirm                 string
	confirmFn               *lua.LFunction
	leaves, expect          *lua.LFunction
	timeout, delay          time.Duration
	// extension: it comes from an extension; replaced: in the place of one of the
	// runbook's own; follows: after that step.
	extension, replaced bool
	follows             string
}

// defaultDelay lies between two tries where retries is given without delay.
const defaultDelay = time.Second

const apiVersion = 1

var (
	runsOn    = []string{"primary", "standby", "dr", "pair", "any"}
	lockKinds = []string{"cluster", "node", "none"}
)

// openForm adds the words that a runbook is made of.
func (v *vm) openForm() {
	v.globals.RawSetString("runbook", v.function(v.makeRunbook))
	v.globals.RawSetString("extension", v.function(v.makeExtension))
	v.globals.RawSetString("step", v.function(v.makeStep))
	v.globals.RawSetString("check", v.function(v.makeCheck))
	kinds := v.newTable()
	for _, kind := range v.book.host.paramKinds() {
		kinds.RawSetString(kind, v.function(func(L *lua.LState) int { return v.draftParam(L, kind) }))
	}
	v.globals.RawSetString("param", v.freeze("param", kinds))
}

func (v *vm) push(L *lua.LState, value any) int {
	ud := L.NewUserData()
	ud.Value = value
	meta := v.newTable()
	meta.RawSetString("__metatable", lua.LFalse)
	ud.Metatable = meta
	L.Push(ud)
	return 1
}

func (v *vm) makeStep(L *lua.LState) int {
	p := v.part(L, "step")
	s := &stepDef{file: p.at.file}
	s.Name, s.Line = p.name("step"), p.at.line
	s.run, s.doneIf, s.when = p.function("run"), p.function("done_if"), p.function("when")
	if p.get("undo") != lua.LFalse {
		s.undo = p.function("undo")
	}
	s.Irreversible, s.Mark = p.flag("irreversible"), p.text("mark")
	s.Repeatable = p.flag("repeatable")
	s.timeout, s.delay, s.Retries = p.duration("timeout"), p.duration("delay"), p.count("retries")
	s.Hint, s.leaves, s.expect = p.text("hint"), p.function("leaves"), p.function("expect")
	if p.get("outage") != lua.LNil {
		s.Outage = p.oneOf("outage", "", []string{outageBegins, outageEnds})
	}
	if s.Mark == "" {
		s.Mark = outageMarks[s.Outage]
	}
	if p.get("on_error") != lua.LNil {
		s.OnError = p.oneOf("on_error", "", []string{onErrorFail, onErrorWarn})
	}
	switch confirm := p.get("confirm").(type) {
	case *lua.LNilType:
	case lua.LString:
		s.confirm = string(confirm)
	case *lua.LFunction:
		s.confirmFn = confirm
	default:
		p.wrong("confirm", confirm, "a question or a function that returns one")
	}
	p.finish(1)
	if s.run == nil {
		p.mistake("", "%s has no run", p.what)
	}
	if s.Irreversible && s.undo != nil {
		p.mistake("undo", "%s is irreversible and cannot have an undo", p.what)
	}
	if s.Retries > 0 && s.delay == 0 {
		s.delay = defaultDelay
	}
	s.HasUndo, s.HasDoneIf = s.undo != nil, s.doneIf != nil
	s.Asks = s.confirm != "" || s.confirmFn != nil
	if s.timeout > 0 {
		s.Timeout = p.text("timeout")
	}
	return v.push(L, s)
}

func (v *vm) makeCheck(L *lua.LState) int {
	p := v.part(L, "check")
	c := &checkDef{file: p.at.file}
	c.Name, c.Line = p.name("check"), p.at.line
	fn, ok := p.table.RawGetInt(2).(*lua.LFunction)
	if !ok {
		p.mistake("[2]", `%s has no function: write check { "name", function(c) ... end }`, p.what)
	}
	c.fn = fn
	switch why := p.table.RawGetInt(3).(type) {
	case *lua.LNilType:
	case lua.LString:
		c.whyNot = string(why)
	default:
		p.mistake("[3]", "the message of %s: %s", p.what, wrongType(why, "a string"))
	}
	c.Again = p.flag("again")
	c.retries, c.delay, c.Hint = p.count("retries"), p.duration("delay"), p.text("hint")
	if c.retries > 0 && c.delay == 0 {
		c.delay = defaultDelay
	}
	p.finish(3)
	return v.push(L, c)
}

func (v *vm) makeRunbook(L *lua.LState) int {
	p := v.part(L, "runbook")
	if v.def != nil {
		p.mistake("", "a file describes one runbook, and this is the second")
	}
	d := &definition{callLine: p.at.line}
	if api, ok := p.get("api").(lua.LNumber); !ok || api != apiVersion {
		p.mistake("api", "runbook has no api = %d, the form it is written in", apiVersion)
	}
	b := &d.book
	b.API, b.Name = apiVersion, p.required("name")
	if !validName(b.Name) {
		p.mistake("name", "%q cannot be a runbook's name: letters, digits, - and _", b.Name)
	}
	p.what = "runbook " + b.Name
	b.Summary, b.Description, b.Next = p.required("summary"), p.text("description"), p.text("next")
	b.RunsOn = p.oneOf("runs_on", "", runsOn)
	b.Lock = p.oneOf("lock", "cluster", lockKinds)
	b.LockUnless = p.text("lock_unless")
	b.Params = p.params()
	if b.LockUnless != "" && !slices.ContainsFunc(b.Params, func(param Param) bool { return param.Name == b.LockUnless && param.Type == "boolean" }) {
		p.mistake("lock_unless", "lock_unless in %s: %q is not a boolean parameter of it", p.what, b.LockUnless)
	}
	d.checks = parts[*checkDef](p, "checks", "check")
	d.steps = parts[*stepDef](p, "steps", "step")
	p.finish(0)
	if len(d.steps) == 0 {
		p.mistake("steps", "%s has no steps", p.what)
	}
	for _, s := range d.steps {
		if s.OnError != "" {
			p.mistakeOf(s, "step %s: on_error is for the steps of extensions", s.Name)
		}
	}
	d.list()
	v.def = d
	return v.push(L, d)
}

func validName(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '_')) {
			return false
		}
	}
	return name != "" && len(name) <= 60
}
