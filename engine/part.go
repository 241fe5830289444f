package engine

import (
	"fmt"
	"sort"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

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
	if !contains(p.known, key) {
		p.known = append(p.known, key)
	}
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
