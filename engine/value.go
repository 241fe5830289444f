package engine

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	lua "github.com/yuin/gopher-lua"
)

// maxDepth bounds tables within tables, so that one that holds itself is an
// error.
const maxDepth = 50

var errTooDeep = fmt.Errorf("tables nested more than %d deep, or one that holds itself", maxDepth)

// toAny converts a Lua value into the Go value that suits it: nil, bool, int64
// for whole numbers, float64, string, []any, map[string]any, an opaque value
// or what a handle holds.
func (v *vm) toAny(value lua.LValue) (reflect.Value, error) {
	out, err := v.plain(value, 0)
	if err != nil {
		return reflect.Value{}, err
	}
	if out == nil {
		return reflect.Zero(anyType), nil
	}
	box := reflect.New(anyType).Elem()
	box.Set(reflect.ValueOf(out))
	return box, nil
}

func (v *vm) plain(value lua.LValue, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch x := value.(type) {
	case *lua.LNilType:
		return nil, nil
	case lua.LBool:
		return bool(x), nil
	case lua.LString:
		return string(x), nil
	case lua.LNumber:
		return plainNumber(float64(x))
	case *lua.LTable:
		return v.plainTable(x, depth)
	case *lua.LUserData:
		if u, ok := unknownOf(x); ok {
			return nil, unknownArgument{u}
		}
		switch x.Value.(type) {
		case *stepDef, *checkDef, *paramDraft, *definition, *extensionDef:
			return nil, fmt.Errorf("a part of a runbook is not a value")
		case Secret:
			return nil, errSecretKept
		}
		return x.Value, nil
	}
	return nil, fmt.Errorf("%s cannot be kept or passed on", withArticle(value.Type().String()))
}

func plainNumber(n float64) (any, error) {
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0):
		return nil, fmt.Errorf("%v is not a number that can be kept or passed on", n)
	case n == math.Trunc(n) && math.Abs(n) <= 1<<53:
		return int64(n), nil
	}
	return n, nil
}

// plainTable makes a slice of a list and a map of every other table, the empty
// one included.
func (v *vm) plainTable(table *lua.LTable, depth int) (any, error) {
	count, length := countKeys(table), table.Len()
	if count > 0 && count == length {
		list := make([]any, length)
		for i := range list {
			item, err := v.plain(table.RawGetInt(i+1), depth+1)
			if err != nil {
				return nil, within(fmt.Sprintf("item %d", i+1), err)
			}
			list[i] = item
		}
		return list, nil
	}
	object := make(map[string]any, count)
	for key, item := table.Next(lua.LNil); key != lua.LNil; key, item = table.Next(key) {
		name, ok := key.(lua.LString)
		if !ok {
			return nil, fmt.Errorf("a table must be a list without holes or have names as keys, not %s", withArticle(key.Type().String()))
		}
		plain, err := v.plain(item, depth+1)
		if err != nil {
			return nil, within(string(name), err)
		}
		object[string(name)] = plain
	}
	return object, nil
}

// within says where in a table an error is; a path of fifty names helps nobody.
func within(key string, err error) error {
	if errors.Is(err, errTooDeep) {
		return err
	}
	return fmt.Errorf("%s: %w", key, err)
}
