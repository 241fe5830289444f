package engine

import (
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// toLua converts a Go value into a Lua value. Structs become tables by their
// json names, in which asking for a name that does not exist is an error;
// slices become lists from 1; times become RFC 3339 texts, a zero time nil;
// durations become seconds; whole numbers beyond 2^53, which a Lua number
// cannot hold, become decimal texts.
func (v *vm) toLua(value any) lua.LValue {
	if value == nil {
		return lua.LNil
	}
	return v.reflectToLua(reflect.ValueOf(value))
}

func (v *vm) reflectToLua(value reflect.Value) lua.LValue {
	for value.IsValid() && (value.Kind() == reflect.Interface || value.Kind() == reflect.Pointer) {
		if value.IsNil() {
			return lua.LNil
		}
		if known := v.namedToLua(value); known != nil {
			return known
		}
		value = value.Elem()
	}
	if !value.IsValid() {
		return lua.LNil
	}
	if known := v.namedToLua(value); known != nil {
		return known
	}
	switch value.Kind() {
	case reflect.Bool:
		return lua.LBool(value.Bool())
	case reflect.String:
		return lua.LString(value.String())
	case reflect.Float32, reflect.Float64:
		return lua.LNumber(value.Float())
	case reflect.Slice, reflect.Array:
		return v.listToLua(value)
	case reflect.Map:
		return v.mapToLua(value)
	case reflect.Struct:
		return v.structToLua(value)
	}
	return wholeToLua(value)
}

func wholeToLua(value reflect.Value) lua.LValue {
	switch {
	case value.CanInt():
		if n := value.Int(); n > 1<<53 || n < -(1<<53) {
			return lua.LString(strconv.FormatInt(n, 10))
		}
		return lua.LNumber(value.Int())
	case value.CanUint():
		if n := value.Uint(); n > 1<<53 {
			return lua.LString(strconv.FormatUint(n, 10))
		}
		return lua.LNumber(value.Uint())
	}
	return lua.LString(fmt.Sprint(value))
}

// namedToLua converts the types that are more than their kind, or gives nil.
func (v *vm) namedToLua(value reflect.Value) lua.LValue {
	if t := v.opaques[value.Type()]; t != nil {
		return v.opaqueValue(t, value.Interface())
	}
	if value.Type().PkgPath() == "" && value.Kind() != reflect.Pointer {
		return nil
	}
	if !value.CanInterface() {
		return nil
	}
	switch x := value.Interface().(type) {
	case time.Time:
		if x.IsZero() {
			return lua.LNil
		}
		return lua.LString(x.Format(time.RFC3339Nano))
	case time.Duration:
		return lua.LNumber(x.Seconds())
	case error:
		return lua.LString(x.Error())
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			return lua.LNil
		}
		return lua.LString(text)
	case json.Marshaler:
		return v.jsonToLua(x)
	}
	return nil
}

func (v *vm) jsonToLua(m json.Marshaler) lua.LValue {
	data, err := m.MarshalJSON()
	if err != nil {
		return lua.LNil
	}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	var out any
	if err := decoder.Decode(&out); err != nil {
		return lua.LNil
	}
	return v.toLua(out)
}

func (v *vm) listToLua(value reflect.Value) lua.LValue {
	if value.Type().Elem().Kind() == reflect.Uint8 {
		if value.Kind() == reflect.Slice {
			return lua.LString(value.Bytes())
		}
		digest := make([]byte, value.Len())
		reflect.Copy(reflect.ValueOf(digest), value)
		return lua.LString(hex.EncodeToString(digest))
	}
	table := v.L.CreateTable(value.Len(), 0)
	for i := range value.Len() {
		table.RawSetInt(i+1, v.reflectToLua(value.Index(i)))
	}
	return table
}

func (v *vm) mapToLua(value reflect.Value) lua.LValue {
	table := v.L.CreateTable(0, value.Len())
	for iter := value.MapRange(); iter.Next(); {
		key := v.reflectToLua(iter.Key())
		if number, ok := key.(lua.LNumber); ok && math.IsNaN(float64(number)) || key == lua.LNil {
			continue
		}
		table.RawSet(key, v.reflectToLua(iter.Value()))
	}
	return table
}

func (v *vm) structToLua(value reflect.Value) lua.LValue {
	table := v.newTable()
	for _, f := range optionFields(value.Type()) {
		item, err := value.FieldByIndexErr(f.Index)
		if err != nil || f.omitEmpty && item.IsZero() {
			continue
		}
		converted := v.reflectToLua(item)
		if f.asString && converted.Type() == lua.LTNumber {
			converted = lua.LString(fmt.Sprint(item))
		}
		table.RawSetString(f.key, converted)
	}
	table.Metatable = v.structMeta(value.Type())
	return table
}

// structMeta makes a misspelt field of a result an error. Fields that are nil
// are in the type and stay nil.
func (v *vm) structMeta(t reflect.Type) *lua.LTable {
	if meta := v.structs[t]; meta != nil {
		return meta
	}
	keys := fieldKeys(t)
	meta := v.newTable()
	meta.RawSetString("__metatable", lua.LFalse)
	meta.RawSetString("__index", v.L.NewFunction(func(L *lua.LState) int {
		v.checkField(L, L.Get(2), keys, "this result")
		return 0
	}))
	if v.structs == nil {
		v.structs = map[reflect.Type]*lua.LTable{}
	}
	v.structs[t] = meta
	return meta
}

// checkField is called for a field that holds nothing: it may be nil only if
// it exists. Numbers are let through, for ipairs and #.
func (v *vm) checkField(L *lua.LState, key lua.LValue, known []string, what string) {
	name, ok := key.(lua.LString)
	if !ok {
		return
	}
	for _, k := range known {
		if k == string(name) {
			return
		}
	}
	v.mistake(L, "%s has no field %s%s", what, string(name), didYouMean(string(name), known))
}
