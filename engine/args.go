package engine

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// unknownArgument is the error of a conversion that met an unknown value.
type unknownArgument struct{ unknown }

func (u unknownArgument) Error() string { return "depends on " + u.from }

// toGo converts a Lua value into a Go value of the wanted type. It never
// rounds, wraps around or guesses: what does not fit is an error that names
// both sides ("want a duration such as \"30s\", got the number 30").
func (v *vm) toGo(value lua.LValue, want reflect.Type) (reflect.Value, error) {
	if u, ok := unknownOf(value); ok {
		return reflect.Value{}, unknownArgument{u}
	}
	if want == anyType {
		return v.toAny(value)
	}
	if ud, ok := value.(*lua.LUserData); ok {
		return v.userdataToGo(ud, want)
	}
	if want.Kind() == reflect.Pointer && v.opaques[want] == nil {
		if value == lua.LNil {
			return reflect.Zero(want), nil
		}
		inner, err := v.toGo(value, want.Elem())
		if err != nil {
			return reflect.Value{}, err
		}
		p := reflect.New(want.Elem())
		p.Elem().Set(inner)
		return p, nil
	}
	if out, done, err := v.textToGo(value, want); done {
		return out, err
	}
	return v.plainToGo(value, want)
}

// textToGo makes the types that are written as text.
func (v *vm) textToGo(value lua.LValue, want reflect.Type) (reflect.Value, bool, error) {
	var parse func(string) (any, error)
	example := ""
	switch t := v.opaques[want]; {
	case t != nil && t.Parse != nil:
		parse, example = t.Parse, "a value of type "+t.Name
	case want == durationType:
		parse, example = func(s string) (any, error) { return ParseDuration(s) }, `a duration such as "30s"`
	case want == timeType:
		parse = func(s string) (any, error) { return time.Parse(time.RFC3339, s) }
		example = `a time such as "2024-05-01T12:00:00Z"`
	case reflect.PointerTo(want).Implements(unmarshalType):
		parse, example = unmarshalText(want), "a string"
	default:
		return reflect.Value{}, false, nil
	}
	text, ok := value.(lua.LString)
	if !ok {
		return reflect.Value{}, true, wrongType(value, example)
	}
	out, err := parse(string(text))
	if err != nil {
		return reflect.Value{}, true, err
	}
	return reflect.ValueOf(out), true, nil
}

func unmarshalText(want reflect.Type) func(string) (any, error) {
	return func(s string) (any, error) {
		p := reflect.New(want)
		if err := p.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
			return nil, err
		}
		return p.Elem().Interface(), nil
	}
}

func (v *vm) plainToGo(value lua.LValue, want reflect.Type) (reflect.Value, error) {
	switch want.Kind() {
	case reflect.String:
		if s, ok := value.(lua.LString); ok {
			return reflect.ValueOf(string(s)).Convert(want), nil
		}
		return reflect.Value{}, wrongType(value, "a string")
	case reflect.Bool:
		if b, ok := value.(lua.LBool); ok {
			return reflect.ValueOf(bool(b)).Convert(want), nil
		}
		return reflect.Value{}, wrongType(value, "true or false")
	case reflect.Slice:
		return v.sliceToGo(value, want)
	case reflect.Map:
		return v.mapToGo(value, want)
	case reflect.Struct:
		if v.book.values[want] {
			return reflect.Value{}, wrongType(value, withArticle(want.Name())+" such as one of c's")
		}
		return v.structToGo(value, want)
	}
	return numberToGo(value, want)
}

func numberToGo(value lua.LValue, want reflect.Type) (reflect.Value, error) {
	out := reflect.New(want).Elem()
	n, ok := value.(lua.LNumber)
	switch {
	case out.CanFloat():
		if !ok {
			return out, wrongType(value, "a number")
		}
		out.SetFloat(float64(n))
	case !out.CanInt() && !out.CanUint():
		return out, fmt.Errorf("cannot be given from a runbook: it is a %s", want)
	case !ok:
		return out, wrongType(value, "a whole number")
	case float64(n) != math.Trunc(float64(n)) || math.Abs(float64(n)) > 1<<53:
		return out, fmt.Errorf("want a whole number, got %v", float64(n))
	case out.CanInt():
		if out.OverflowInt(int64(n)) {
			return out, fmt.Errorf("%d is out of range", int64(n))
		}
		out.SetInt(int64(n))
	default:
		if n < 0 || out.OverflowUint(uint64(n)) {
			return out, fmt.Errorf("%d is out of range", int64(n))
		}
		out.SetUint(uint64(n))
	}
	return out, nil
}

func (v *vm) userdataToGo(ud *lua.LUserData, want reflect.Type) (reflect.Value, error) {
	held := reflect.ValueOf(ud.Value)
	if s, ok := ud.Value.(Secret); ok && s.lost != nil {
		return reflect.Value{}, s.lost
	}
	switch {
	case !held.IsValid():
	case held.Type().AssignableTo(want):
		return held, nil
	case want.Kind() == reflect.Pointer && held.Type().AssignableTo(want.Elem()):
		p := reflect.New(want.Elem())
		p.Elem().Set(held)
		return p, nil
	case want.Kind() == reflect.String && v.opaqueOf(ud) == nil:
		if s, ok := ud.Value.(fmt.Stringer); ok {
			return reflect.ValueOf(s.String()).Convert(want), nil
		}
	}
	return reflect.Value{}, fmt.Errorf("want %s, got %s", goTypeName(want), v.withArticle(ud))
}

func (v *vm) sliceToGo(value lua.LValue, want reflect.Type) (reflect.Value, error) {
	table, ok := value.(*lua.LTable)
	if !ok {
		return reflect.Value{}, wrongType(value, "a list such as { a, b }")
	}
	n := table.Len()
	out := reflect.MakeSlice(want, 0, n)
	for i := 1; i <= n; i++ {
		item, err := v.toGo(table.RawGetInt(i), want.Elem())
		if err != nil {
			return reflect.Value{}, fmt.Errorf("item %d: %w", i, err)
		}
		out = reflect.Append(out, item)
	}
	if count := countKeys(table); count != n {
		return reflect.Value{}, fmt.Errorf("want a list such as { a, b }, got a table with named keys or holes")
	}
	return out, nil
}

func (v *vm) mapToGo(value lua.LValue, want reflect.Type) (reflect.Value, error) {
	table, ok := value.(*lua.LTable)
	if !ok {
		return reflect.Value{}, wrongType(value, "a table such as { key = value }")
	}
	out := reflect.MakeMap(want)
	for key, item := table.Next(lua.LNil); key != lua.LNil; key, item = table.Next(key) {
		k, err := v.toGo(key, want.Key())
		if err != nil {
			return reflect.Value{}, fmt.Errorf("key %s: %w", key, err)
		}
		e, err := v.toGo(item, want.Elem())
		if err != nil {
			return reflect.Value{}, fmt.Errorf("%s: %w", key, err)
		}
		out.SetMapIndex(k, e)
	}
	return out, nil
}

// structToGo makes a struct that is not the option table.
func (v *vm) structToGo(value lua.LValue, want reflect.Type) (reflect.Value, error) {
	table, ok := value.(*lua.LTable)
	if !ok {
		return reflect.Value{}, wrongType(value, "a table such as { key = value }")
	}
	fields := map[string]field{}
	for _, f := range optionFields(want) {
		fields[f.key] = f
	}
	out := reflect.New(want).Elem()
	for key, item := table.Next(lua.LNil); key != lua.LNil; key, item = table.Next(key) {
		f, known := fields[key.String()]
		if !known {
			return out, fmt.Errorf("unknown key %s%s", key, didYouMean(key.String(), fieldKeys(want)))
		}
		e, err := v.toGo(item, f.Type)
		if err != nil {
			return out, fmt.Errorf("%s: %w", key, err)
		}
		out.FieldByIndex(f.Index).Set(e)
	}
	return out, nil
}

func countKeys(table *lua.LTable) int {
	count := 0
	table.ForEach(func(_, _ lua.LValue) { count++ })
	return count
}

func wrongType(value lua.LValue, want string) error {
	switch x := value.(type) {
	case lua.LNumber:
		return fmt.Errorf("want %s, got the number %s", want, x)
	case lua.LString:
		return fmt.Errorf("want %s, got the string %q", want, string(x))
	case lua.LBool:
		return fmt.Errorf("want %s, got %s", want, x)
	}
	return fmt.Errorf("want %s, got %s", want, withArticle(value.Type().String()))
}

func goTypeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "a table"
	}
	if reflect.New(t).Elem().CanInt() || reflect.New(t).Elem().CanFloat() {
		return "a number"
	}
	return withArticle(t.Name())
}
