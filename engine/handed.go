package engine

import (
	"errors"
	"reflect"

	lua "github.com/yuin/gopher-lua"
)

// handed is what a check or a step is given as c.
type handed struct {
	params  map[string]any
	results func(step string) (lua.LValue, bool) // false: no such step
	// outcome and failure tell the steps of finally how the run has ended.
	// Without them both are nil.
	outcome, failure lua.LValue
}

// fieldsOfC are those of c that do not come from the host.
var fieldsOfC = []string{"name", "params", "results", "outcome", "error"}

// c makes the argument of the functions of a runbook: c.name, c.params,
// c.results, c.outcome and c.error, and the host's variables, none of which can
// be changed, and in which a misspelt name is an error.
func (v *vm) c(h handed) lua.LValue {
	book := &v.def.book
	host := v.book.host
	known := append(sortedKeys(host.Vars), fieldsOfC...)
	params := v.proxy(func(L *lua.LState, key lua.LValue) lua.LValue {
		value, ok := h.params[key.String()]
		if !ok {
			v.mistake(L, "runbook %s has no parameter %s%s", book.Name, key, didYouMean(key.String(), sortedKeys(h.params)))
		}
		return v.shown(value)
	}, "c.params")
	results := v.proxy(func(L *lua.LState, key lua.LValue) lua.LValue {
		value, ok := h.results(key.String())
		if !ok {
			v.mistake(L, "runbook %s has no step %s%s", book.Name, key, didYouMean(key.String(), stepNames(book.Steps)))
		}
		return value
	}, "c.results")
	return v.proxy(func(L *lua.LState, key lua.LValue) lua.LValue {
		switch key.String() {
		case "name":
			return lua.LString(book.Name)
		case "params":
			return params
		case "results":
			return results
		case "outcome":
			return orNil(h.outcome)
		case "error":
			return orNil(h.failure)
		}
		value, ok := host.Vars[key.String()]
		if !ok {
			v.mistake(L, "c has no field %s%s", key, didYouMean(key.String(), known))
		}
		return v.shown(value)
	}, "c")
}

// orNil is a value that may be missing.
func orNil(value lua.LValue) lua.LValue {
	if value == nil {
		return lua.LNil
	}
	return value
}

// shown is a value of the host: structs are handles, and what can be changed
// is a copy each time.
func (v *vm) shown(value any) lua.LValue {
	if value == nil {
		return lua.LNil
	}
	return v.handle(reflect.ValueOf(value))
}

func stepNames(steps []StepInfo) []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.Name
	}
	return names
}

// kept turns what a step returned into the form that is kept: what JSON can
// write, with opaque values as they are.
func (v *vm) kept(value lua.LValue) (any, error) {
	out, err := v.plain(value, 0)
	var depends unknownArgument
	if errors.As(err, &depends) {
		return nil, depends
	}
	return out, err
}

// verdict reads what a function of the form fn(c) -> ok, message returned.
func (v *vm) verdict(values []lua.LValue) (ok bool, message string, wrong lua.LValue) {
	var first, second lua.LValue = lua.LNil, lua.LNil
	if len(values) > 0 {
		first = values[0]
	}
	if len(values) > 1 {
		second = values[1]
	}
	if second != lua.LNil {
		message = v.inWords(second, true, 0)
		if text, ok := second.(lua.LString); ok {
			message = string(text)
		}
	}
	switch first {
	case lua.LTrue:
		return true, "", nil
	case lua.LFalse, lua.LNil:
		return false, message, nil
	}
	return false, "", first
}
