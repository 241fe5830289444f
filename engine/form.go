package engine

import (
	"fmt"
	"sort"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// definition is what a runbook's file returns, with its functions.
type definition struct {
	book   Runbook
	checks []*checkDef
	steps  []*stepDef
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
	timeout, delay          time.Duration
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
	v.globals.RawSetString("step", v.function(v.makeStep))
	v.globals.RawSetString("check", v.function(v.makeCheck))
	kinds := v.L.NewTable()
	for _, kind := range paramKinds {
		kinds.RawSetString(kind, v.function(func(L *lua.LState) int { return v.draftParam(L, kind) }))
	}
	v.globals.RawSetString("param", v.freeze("param", kinds))
}

// part reads one table of the form: each key is asked for once, and what was
// not asked for is a mistake.
type part struct {
	v     *vm
	L     *lua.LState
	at    site
	table *lua.LTable
	what  string // "step stop"
	known []string
}

func (v *vm) part(L *lua.LState, what string) *part {
	p := &part{v: v, L: L, at: v.callSite(L), what: what}
	table, ok := L.Get(1).(*lua.LTable)
	if !ok || L.GetTop() != 1 {
		p.mistake("", "write %s { ... }, with one table", what)
	}
	p.table = table
	return p
}

func (p *part) mistake(key, format string, args ...any) {
	p.L.Error(lua.LString(p.at.of(key)+": "+fmt.Sprintf(format, args...)), 0)
}

func (p *part) get(key string) lua.LValue {
	p.known = append(p.known, key)
	return p.table.RawGetString(key)
}

func (p *part) wrong(key string, value lua.LValue, want string) {
	p.mistake(key, "%s in %s: %s", key, p.what, wrongType(value, want))
}

func (p *part) text(key string) string {
	switch value := p.get(key).(type) {
	case *lua.LNilType:
	case lua.LString:
		return string(value)
	default:
		p.wrong(key, value, "a string")
	}
	return ""
}

func (p *part) required(key string) string {
	text := p.text(key)
	if strings.TrimSpace(text) == "" {
		p.mistake(key, "%s has no %s", p.what, key)
	}
	return text
}

func (p *part) oneOf(key, fallback string, allowed []string) string {
	text := p.text(key)
	if text == "" {
		text = fallback
	}
	for _, a := range allowed {
		if a == text {
			return text
		}
	}
	if text == "" {
		p.mistake(key, "%s has no %s: want one of %s", p.what, key, strings.Join(allowed, ", "))
	}
	p.mistake(key, "%s in %s: %q is not one of %s%s", key, p.what, text, strings.Join(allowed, ", "), meant(text, allowed))
	return ""
}

func meant(text string, allowed []string) string {
	if m := didYouMean(text, allowed); strings.HasPrefix(m, ", ") {
		return m
	}
	return ""
}

func (p *part) flag(key string) bool {
	switch value := p.get(key).(type) {
	case *lua.LNilType:
	case lua.LBool:
		return bool(value)
	default:
		p.wrong(key, value, "true or false")
	}
	return false
}

func (p *part) function(key string) *lua.LFunction {
	switch value := p.get(key).(type) {
	case *lua.LNilType:
	case *lua.LFunction:
		return value
	default:
		p.wrong(key, value, "a function")
	}
	return nil
}

func (p *part) count(key string) int {
	value := p.get(key)
	if value == lua.LNil {
		return 0
	}
	n, ok := value.(lua.LNumber)
	if !ok || n < 0 || n > 1000 || n != lua.LNumber(int(n)) {
		p.wrong(key, value, "a whole number from 0 to 1000")
	}
	return int(n)
}

func (p *part) duration(key string) time.Duration {
	value := p.get(key)
	if value == lua.LNil {
		return 0
	}
	text, ok := value.(lua.LString)
	if !ok {
		p.wrong(key, value, `a duration such as "30s"`)
	}
	d, err := ParseDuration(string(text))
	if err != nil {
		p.mistake(key, "%s in %s: %s", key, p.what, err)
	}
	return d
}

// finish refuses keys that nothing asked for, and items beyond the given
// number.
func (p *part) finish(items int) {
	for key, _ := p.table.Next(lua.LNil); key != lua.LNil; key, _ = p.table.Next(key) {
		switch k := key.(type) {
		case lua.LString:
			if !contains(p.known, string(k)) {
				p.mistake(string(k), "unknown key %s in %s%s", string(k), p.what, didYouMean(string(k), p.known))
			}
		case lua.LNumber:
			if int(k) < 1 || int(k) > items {
				p.mistake(fmt.Sprintf("[%d]", int(k)), "%s has an item too many: %s", p.what,
					p.v.inWords(p.table.RawGet(key), false, 0))
			}
		default:
			p.mistake("", "%s has a key that is %s", p.what, withArticle(key.Type().String()))
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// name is the first item of a step or check.
func (p *part) name(kind string) string {
	value := p.table.RawGetInt(1)
	text, ok := value.(lua.LString)
	if !ok || strings.TrimSpace(string(text)) == "" {
		p.mistake("", `%s has no name: write %s { "name", ... }`, withArticle(kind), kind)
	}
	if strings.ContainsAny(string(text), "\n\r\x00") || len(text) > 80 {
		p.mistake("", "the name of a %s must be one short line", kind)
	}
	p.what = kind + " " + string(text)
	return string(text)
}

func (v *vm) push(L *lua.LState, value any) int {
	ud := L.NewUserData()
	ud.Value = value
	meta := L.NewTable()
	meta.RawSetString("__metatable", lua.LFalse)
	ud.Metatable = meta
	L.Push(ud)
	return 1
}

func (v *vm) makeStep(L *lua.LState) int {
	p := v.part(L, "step")
	s := &stepDef{file: p.at.file}
	s.Name, s.Line = p.name("step"), p.at.line
	s.run, s.undo, s.doneIf, s.when = p.function("run"), p.function("undo"), p.function("done_if"), p.function("when")
	s.Irreversible = p.flag("irreversible")
	s.timeout, s.delay, s.Retries = p.duration("timeout"), p.duration("delay"), p.count("retries")
	s.Hint = p.text("hint")
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
	b.Params = p.params()
	d.checks = parts[*checkDef](p, "checks", "check")
	d.steps = parts[*stepDef](p, "steps", "step")
	p.finish(0)
	if len(d.steps) == 0 {
		p.mistake("steps", "%s has no steps", p.what)
	}
	for _, s := range d.steps {
		b.Steps = append(b.Steps, s.StepInfo)
	}
	for _, c := range d.checks {
		b.Checks = append(b.Checks, c.CheckInfo)
	}
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

// named is what checks and steps have in common.
type named interface {
	at() (name, file string, line int)
}

func (c *checkDef) at() (string, string, int) { return c.Name, c.file, c.Line }
func (s *stepDef) at() (string, string, int)  { return s.Name, s.file, s.Line }

// parts reads the list of checks or of steps.
func parts[T named](p *part, key, kind string) []T {
	value := p.get(key)
	if value == lua.LNil {
		return nil
	}
	list, ok := value.(*lua.LTable)
	if !ok {
		p.wrong(key, value, fmt.Sprintf("a list such as { %s { ... } }", kind))
	}
	p.listOnly(key, list)
	var out []T
	seen := map[string]int{}
	for i := 1; i <= list.Len(); i++ {
		item, ok := list.RawGetInt(i).(*lua.LUserData)
		def, isPart := any(nil), false
		if ok {
			def, isPart = item.Value, true
		}
		typed, right := def.(T)
		if !isPart || !right {
			p.mistake(fmt.Sprintf("%s.[%d]", key, i), "item %d of %s is not a %s: write %s { ... }", i, key, kind, kind)
		}
		name, file, line := typed.at()
		if first, twice := seen[name]; twice {
			p.L.Error(lua.LString(fmt.Sprintf("%s:%d: a second %s %s, the first is on line %d", file, line, kind, name, first)), 0)
		}
		seen[name] = line
		out = append(out, typed)
	}
	return out
}

// listOnly refuses a list with named keys or holes. A hole is a variable that
// holds nothing, and would drop what follows it.
func (p *part) listOnly(key string, list *lua.LTable) {
	var extra []string
	highest := 0
	list.ForEach(func(k, _ lua.LValue) {
		if n, ok := k.(lua.LNumber); ok {
			highest = max(highest, int(n))
			return
		}
		extra = append(extra, k.String())
	})
	sort.Strings(extra)
	if len(extra) > 0 {
		p.mistake(key+"."+extra[0], "%s in %s is a list and has a key %s", key, p.what, extra[0])
	}
	for i := 1; i <= highest; i++ {
		if list.RawGetInt(i) == lua.LNil {
			p.mistake(key, "item %d of %s in %s is nil", i, key, p.what)
		}
	}
}
