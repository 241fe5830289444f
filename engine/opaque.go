package engine

import (
	"encoding"
	"fmt"
	"reflect"

	lua "github.com/yuin/gopher-lua"
)

// opaqueType is an Opaque in one Lua state.
type opaqueType struct {
	Opaque
	meta *lua.LTable
}

func (v *vm) openOpaques() error {
	v.opaques = map[reflect.Type]*opaqueType{}
	for _, o := range append([]Opaque{secretOpaque()}, v.book.host.Opaques...) {
		if o.Type == nil || o.Name == "" {
			return fmt.Errorf("opaque type %q has no name or no Go type", o.Name)
		}
		t := &opaqueType{Opaque: o, meta: v.newTable()}
		v.opaqueMeta(t)
		v.opaques[o.Type] = t
		if o.Parse != nil {
			v.globals.RawSetString(o.Name, v.function(func(L *lua.LState) int { return v.parseOpaque(L, t) }))
		}
	}
	return nil
}

func (v *vm) opaqueMeta(t *opaqueType) {
	set := func(event string, fn lua.LGFunction) { t.meta.RawSetString(event, v.L.NewFunction(fn)) }
	t.meta.RawSetString("__metatable", lua.LFalse)
	set("__tostring", func(L *lua.LState) int {
		L.Push(lua.LString(v.opaqueText(L.Get(1))))
		return 1
	})
	set("__concat", func(L *lua.LState) int {
		L.Push(lua.LString(v.joinable(L, L.Get(1)) + v.joinable(L, L.Get(2))))
		return 1
	})
	set("__sub", func(L *lua.LState) int { return v.subOpaque(L, t) })
	set("__index", func(L *lua.LState) int {
		v.mistake(L, "%s has no fields", withArticle(t.Name))
		return 0
	})
	// table.sort and Lua's own comparisons; the rewritten operators do not
	// come here.
	set("__eq", func(L *lua.LState) int {
		L.Push(lua.LBool(v.equal(L, L.Get(1), L.Get(2))))
		return 1
	})
	set("__lt", func(L *lua.LState) int {
		L.Push(lua.LBool(v.less(L, L.Get(1), L.Get(2))))
		return 1
	})
}

func (v *vm) parseOpaque(L *lua.LState, t *opaqueType) int {
	if v.opaqueOf(L.Get(1)) == t {
		L.SetTop(1)
		return 1
	}
	text, ok := L.Get(1).(lua.LString)
	if !ok {
		v.mistake(L, "%s: want a string, got %s", t.Name, v.withArticle(L.Get(1)))
	}
	value, err := t.Parse(string(text))
	if err != nil {
		v.mistake(L, "%s", err)
	}
	L.Push(v.opaqueValue(t, value))
	return 1
}

func (v *vm) opaqueValue(t *opaqueType, value any) lua.LValue {
	return &lua.LUserData{Value: value, Metatable: t.meta}
}

// opaqueOf is the opaque type of a value, or nil.
func (v *vm) opaqueOf(value lua.LValue) *opaqueType {
	ud, ok := value.(*lua.LUserData)
	if !ok || ud.Value == nil {
		return nil
	}
	return v.opaques[reflect.TypeOf(ud.Value)]
}

func (v *vm) opaqueText(value lua.LValue) string {
	return textOf(value.(*lua.LUserData).Value)
}

// textOf is a Go value's text: its String, its text form, or what fmt prints.
func textOf(value any) string {
	switch x := value.(type) {
	case fmt.Stringer:
		return x.String()
	case encoding.TextMarshaler:
		if text, err := x.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(value)
}

func (v *vm) joinable(L *lua.LState, value lua.LValue) string {
	switch {
	case v.opaqueOf(value) != nil:
		return v.opaqueText(value)
	case lua.LVCanConvToString(value):
		return value.String()
	}
	v.known(value)
	v.mistake(L, "cannot join %s to a text", v.withArticle(value))
	return ""
}

func (v *vm) subOpaque(L *lua.LState, t *opaqueType) int {
	a, b := L.Get(1), L.Get(2)
	v.known(a)
	v.known(b)
	if v.opaqueOf(a) != v.opaqueOf(b) || t.Sub == nil {
		v.mistake(L, "cannot subtract %s from %s", v.withArticle(b), v.withArticle(a))
	}
	difference, err := t.Sub(a.(*lua.LUserData).Value, b.(*lua.LUserData).Value)
	if err != nil {
		v.mistake(L, "%s", err)
	}
	L.Push(lua.LNumber(difference))
	return 1
}
