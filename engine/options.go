package engine

import (
	"errors"
	"fmt"
	"reflect"

	lua "github.com/yuin/gopher-lua"
	luar "layeh.com/gopher-luar"
)

// optionDecoder fills one option struct from a Lua table by gopher-luar. Left
// to itself that library takes 30 for 30 nanoseconds, 1.5 for 1 and reports an
// unknown key by its Go type. So every key and value is checked and converted
// first, and luar gets a table of values that already have the field's type.
// Fields of an embedded struct are set beside it: luar knows their place within
// that struct, and takes it for one in the whole.
type optionDecoder struct {
	fn     *lua.LFunction
	out    reflect.Value
	fields map[string]field
	keys   []string
}

func (v *vm) decoder(t reflect.Type) *optionDecoder {
	if d := v.decoders[t]; d != nil {
		return d
	}
	d := &optionDecoder{fields: map[string]field{}, keys: fieldKeys(t)}
	for _, f := range optionFields(t) {
		d.fields[f.key] = f
	}
	take := reflect.MakeFunc(reflect.FuncOf([]reflect.Type{t}, nil, false), func(args []reflect.Value) []reflect.Value {
		d.out = args[0]
		return nil
	})
	d.fn = luar.New(v.L, take.Interface()).(*lua.LFunction)
	if v.decoders == nil {
		v.decoders = map[reflect.Type]*optionDecoder{}
	}
	v.decoders[t] = d
	return d
}

// options decodes the option table of a call. A missing table is the zero
// struct.
func (v *vm) options(L *lua.LState, s *signature, value lua.LValue) (reflect.Value, error) {
	if u, ok := unknownOf(value); ok {
		return reflect.Value{}, unknownArgument{u}
	}
	table, ok := value.(*lua.LTable)
	if value != lua.LNil && !ok {
		v.mistake(L, "the options of %s: %s", s.fullName(), wrongType(value, "a table such as { key = value }"))
	}
	if !ok {
		return v.asOptions(s, reflect.Zero(s.options)), nil
	}
	d := v.decoder(s.options)
	checked := v.newTable()
	embedded := map[string]reflect.Value{}
	for key, item := table.Next(lua.LNil); key != lua.LNil; key, item = table.Next(key) {
		f, known := d.fields[key.String()]
		if !known || key.Type() != lua.LTString {
			v.mistakeAt(L, key.String(), "unknown key %s in %s%s", key, s.fullName(), didYouMean(key.String(), d.keys))
		}
		typed, err := v.toGo(item, f.Type)
		var depends unknownArgument
		switch {
		case errors.As(err, &depends):
			return reflect.Value{}, depends
		case err != nil:
			v.mistakeAt(L, key.String(), "%s in %s: %s", key, s.fullName(), err)
		}
		if len(f.Index) > 1 {
			embedded[f.key] = typed
			continue
		}
		checked.RawSet(key, boxed(typed))
	}
	L.Push(d.fn)
	L.Push(checked)
	L.Call(1, 0)
	out := reflect.New(s.options).Elem()
	out.Set(d.out)
	for key, typed := range embedded {
		out.FieldByIndex(d.fields[key].Index).Set(typed)
	}
	return v.asOptions(s, out), nil
}

// boxed hands luar a Go value that it only has to assign.
func boxed(value reflect.Value) lua.LValue {
	if value.Kind() == reflect.Interface && value.IsNil() {
		return lua.LNil
	}
	return &lua.LUserData{Value: value.Interface(), Metatable: lua.LNil}
}

func (v *vm) asOptions(s *signature, value reflect.Value) reflect.Value {
	if !s.pointer {
		return value
	}
	p := reflect.New(s.options)
	p.Elem().Set(value)
	return p
}

// openHandles sets up luar for the read-only handles: fields by their json
// names and no methods, because luar would hand out a returned error as a true
// value.
func (v *vm) openHandles() error {
	config := luar.GetConfig(v.L)
	config.FieldNames = func(t reflect.Type, f reflect.StructField) []string {
		for _, known := range optionFields(t) {
			if known.Name == f.Name {
				return []string{known.key}
			}
		}
		return nil
	}
	config.MethodNames = func(reflect.Type, reflect.Method) []string { return nil }
	for name, value := range v.book.host.Vars {
		if contains(fieldsOfC, name) {
			return fmt.Errorf("c.%s is the engine's own and cannot come from the host", name)
		}
		switch t := reflect.TypeOf(value); {
		case t == nil:
		case t.Kind() == reflect.Func || t.Kind() == reflect.Chan:
			return fmt.Errorf("c.%s cannot be a %s", name, t)
		}
	}
	return nil
}

// handle shows a Go struct to scripts, for reading only.
func (v *vm) handle(value reflect.Value) lua.LValue {
	for value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return lua.LNil
		}
		// A copy: luar lets scripts write through a pointer.
		value = value.Elem()
	}
	t := value.Type()
	if value.Kind() != reflect.Struct || v.opaques[t] != nil || t == timeType || t.Implements(marshalerType) {
		return v.reflectToLua(value)
	}
	ud, ok := luar.New(v.L, value.Interface()).(*lua.LUserData)
	if !ok {
		return v.reflectToLua(value)
	}
	ud.Metatable = v.handleMeta(t, ud.Metatable.(*lua.LTable))
	return ud
}

// handleMeta puts luar's access to fields behind the conversions of this
// package, because luar's slices and maps do not work with pairs and ipairs,
// and makes a misspelt field an error.
func (v *vm) handleMeta(t reflect.Type, original *lua.LTable) *lua.LTable {
	if meta := v.handles[t]; meta != nil {
		return meta
	}
	keys := fieldKeys(t)
	fields := original.RawGetString("fields").(*lua.LTable)
	meta := v.newTable()
	meta.RawSetString("__metatable", lua.LFalse)
	meta.RawSetString("__index", v.L.NewFunction(func(L *lua.LState) int {
		v.checkField(L, L.Get(2), keys, withArticle(t.Name()))
		index, ok := fields.RawGet(L.Get(2)).(*lua.LUserData)
		if !ok {
			return 0
		}
		held := reflect.ValueOf(L.CheckUserData(1).Value)
		inner, err := held.FieldByIndexErr(index.Value.([]int))
		if err != nil {
			return 0
		}
		L.Push(v.handle(inner))
		return 1
	}))
	meta.RawSetString("__newindex", v.L.NewFunction(func(L *lua.LState) int {
		v.mistake(L, "%s cannot be changed", withArticle(t.Name()))
		return 0
	}))
	meta.RawSetString("__tostring", v.L.NewFunction(func(L *lua.LState) int {
		L.Push(lua.LString(handleText(L.CheckUserData(1).Value)))
		return 1
	}))
	if v.handles == nil {
		v.handles = map[reflect.Type]*lua.LTable{}
	}
	v.handles[t] = meta
	return meta
}

// handleText is what a plan or a message calls a handle: its String, or else
// its name.
func handleText(value any) string {
	if s, ok := value.(fmt.Stringer); ok {
		return s.String()
	}
	held := reflect.ValueOf(value)
	for held.Kind() == reflect.Pointer && !held.IsNil() {
		held = held.Elem()
	}
	if held.Kind() != reflect.Struct {
		return textOf(value)
	}
	for _, f := range optionFields(held.Type()) {
		if f.key == "name" {
			return fmt.Sprint(held.FieldByIndex(f.Index))
		}
	}
	return held.Type().Name()
}
