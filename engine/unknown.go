package engine

import (
	"fmt"

	lua "github.com/yuin/gopher-lua"
)

// unknown stands in a plan for what a change would have returned. It can be
// kept, passed on and returned, and a field of it is as unknown; whatever would
// look at it ends the planning of the step.
type unknown struct{ from string }

// Unknown is what Func.Describe gets in the place of an argument, or of an
// option, that a plan cannot know.
type Unknown struct{ From string }

// String is what a plan shows where nobody puts it better.
func (u Unknown) String() string { return "<" + u.From + ">" }

// String is what a plan shows where an unknown value is an argument.
func (u unknown) String() string { return "<" + u.from + ">" }

// lookedAt are the events of a metatable that would tell something about an
// unknown value.
var lookedAt = []string{"__newindex", "__call", "__add", "__sub", "__mul", "__div",
	"__mod", "__pow", "__unm", "__len", "__concat", "__eq", "__lt", "__le", "__tostring"}

func (v *vm) openUnknown() {
	v.unknowns = v.newTable()
	v.unknowns.RawSetString("__metatable", lua.LFalse)
	stop := v.L.NewFunction(func(L *lua.LState) int {
		for i := 1; i <= L.GetTop(); i++ {
			v.known(L.Get(i))
		}
		return 0
	})
	v.unknowns.RawSetString("__index", v.L.NewFunction(func(L *lua.LState) int {
		v.known(L.Get(2))
		u, _ := unknownOf(L.Get(1))
		L.Push(v.unknown(u.from))
		return 1
	}))
	for _, event := range lookedAt {
		v.unknowns.RawSetString(event, stop)
	}
}

func (v *vm) unknown(from string) lua.LValue {
	return &lua.LUserData{Value: unknown{from: from}, Metatable: v.unknowns}
}

func unknownOf(value lua.LValue) (unknown, bool) {
	ud, ok := value.(*lua.LUserData)
	if !ok {
		return unknown{}, false
	}
	u, ok := ud.Value.(unknown)
	return u, ok
}

// known ends the planning of the step when value is unknown. Scripts cannot
// catch that.
func (v *vm) known(value lua.LValue) {
	if u, ok := unknownOf(value); ok {
		panic(planStop(u))
	}
}

// openOperators adds the functions that the rewriter puts in the place of
// comparisons and conditions.
func (v *vm) openOperators() {
	v.globals.RawSetString(hiddenTest, v.L.NewFunction(func(L *lua.LState) int {
		v.known(L.Get(1))
		L.Push(L.Get(1))
		return 1
	}))
	v.globals.RawSetString(hiddenJoin, v.L.NewFunction(v.join))
	for name, holds := range map[string]func(*lua.LState, lua.LValue, lua.LValue) bool{
		hiddenEq: v.equal,
		hiddenNe: func(L *lua.LState, a, b lua.LValue) bool { return !v.equal(L, a, b) },
		hiddenLt: v.less,
		hiddenGt: func(L *lua.LState, a, b lua.LValue) bool { return v.less(L, b, a) },
		hiddenLe: v.lessOrEqual,
		hiddenGe: func(L *lua.LState, a, b lua.LValue) bool { return v.lessOrEqual(L, b, a) },
	} {
		v.globals.RawSetString(name, v.L.NewFunction(func(L *lua.LState) int {
			a, b := L.Get(1), L.Get(2)
			v.known(a)
			v.known(b)
			L.Push(lua.LBool(holds(L, a, b)))
			return 1
		}))
	}
}

// join is the operator .. with a bound, for all the texts of a chain.
func (v *vm) join(L *lua.LState) int {
	joined := L.Get(1)
	for i := 2; i <= L.GetTop(); i++ {
		joined = v.joinTwo(L, joined, L.Get(i))
	}
	L.Push(joined)
	return 1
}

func (v *vm) joinTwo(L *lua.LState, a, b lua.LValue) lua.LValue {
	v.known(a)
	v.known(b)
	if lua.LVCanConvToString(a) && lua.LVCanConvToString(b) {
		left, right := lua.LVAsString(a), lua.LVAsString(b)
		if len(left)+len(right) > maxText {
			v.mistake(L, "the text would be longer than %d bytes", maxText)
		}
		return lua.LString(left + right)
	}
	// Values that have a way of their own to be joined.
	op := L.GetMetaField(a, "__concat")
	if op == lua.LNil {
		op = L.GetMetaField(b, "__concat")
	}
	if op == lua.LNil {
		v.mistake(L, "cannot perform concat operation between %s and %s", a.Type(), b.Type())
	}
	L.Push(op)
	L.Push(a)
	L.Push(b)
	L.Call(2, 1)
	joined := L.Get(-1)
	L.Pop(1)
	return joined
}

func (v *vm) equal(L *lua.LState, a, b lua.LValue) bool {
	if c, ok := v.compareOpaque(L, a, b); ok {
		return c == 0
	}
	return L.Equal(a, b)
}

func (v *vm) less(L *lua.LState, a, b lua.LValue) bool {
	if c, ok := v.compareOpaque(L, a, b); ok {
		return c < 0
	}
	v.comparable(L, a, b)
	return L.LessThan(a, b)
}

func (v *vm) lessOrEqual(L *lua.LState, a, b lua.LValue) bool {
	if c, ok := v.compareOpaque(L, a, b); ok {
		return c <= 0
	}
	v.comparable(L, a, b)
	if x, ok := a.(lua.LNumber); ok {
		return x <= b.(lua.LNumber)
	}
	return !L.LessThan(b, a)
}

func (v *vm) comparable(L *lua.LState, a, b lua.LValue) {
	switch ta, tb := a.Type(), b.Type(); {
	case ta != tb:
		v.mistake(L, "cannot compare a %s with a %s", ta, tb)
	case ta == lua.LTNil || ta == lua.LTBool || ta == lua.LTFunction:
		v.mistake(L, "cannot order two values of type %s", ta)
	}
}

// compareOpaque compares where at least one side is opaque. Nil may be asked
// for; anything else but the same type is a mistake that Lua would answer
// with false.
func (v *vm) compareOpaque(L *lua.LState, a, b lua.LValue) (int, bool) {
	ta, tb := v.opaqueOf(a), v.opaqueOf(b)
	if ta == nil && tb == nil || a == lua.LNil || b == lua.LNil {
		return 0, false
	}
	if ta != tb {
		v.mistake(L, "cannot compare %s with %s%s", v.withArticle(a), v.withArticle(b), parseAdvice(ta, tb))
	}
	va, vb := a.(*lua.LUserData).Value, b.(*lua.LUserData).Value
	if ta.Compare != nil {
		return ta.Compare(va, vb), true
	}
	if va == vb {
		return 0, true
	}
	return 1, true
}

func (v *vm) withArticle(value lua.LValue) string { return withArticle(v.typeName(value)) }

// withArticle puts "a" or "an" before a type's name; an abbreviation such as
// lsn is spelt out when it is read.
func withArticle(name string) string {
	switch {
	case name == "nil":
		return name
	case name == "lsn", name != "" && (name[0] == 'a' || name[0] == 'e' || name[0] == 'i' || name[0] == 'o'):
		return "an " + name
	}
	return "a " + name
}

func parseAdvice(a, b *opaqueType) string {
	t := a
	if t == nil {
		t = b
	}
	if t.Parse == nil {
		return ""
	}
	return fmt.Sprintf(`: write %s("...") for a written one`, t.Name)
}
