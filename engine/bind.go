package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// openModules makes the host's modules global tables.
func (v *vm) openModules() error {
	v.calls = map[*lua.LFunction]*signature{}
	for _, m := range v.book.host.Modules {
		table := v.newTable()
		for _, f := range m.Funcs {
			s, err := v.book.signature(m.Name, f)
			if err != nil {
				return err
			}
			fn := v.L.NewFunction(func(L *lua.LState) int { return v.invoke(L, s) })
			v.calls[fn] = s
			table.RawSetString(f.Name, fn)
		}
		module := v.freeze(m.Name, table)
		if before := v.globals.RawGetString(m.Name); before != lua.LNil {
			if m.Name != "runbook" || !v.callable(module, before) {
				return fmt.Errorf("module %s has the name of something else", m.Name)
			}
		}
		v.globals.RawSetString(m.Name, module)
	}
	return nil
}

// callable makes a module do what the function of its name does. The word
// runbook is both: runbook { ... } describes one, and a host may add
// runbook.run.
func (v *vm) callable(module *lua.LTable, fn lua.LValue) bool {
	function, ok := fn.(*lua.LFunction)
	if !ok {
		return false
	}
	module.Metatable.(*lua.LTable).RawSetString("__call", v.L.NewFunction(func(L *lua.LState) int {
		L.Remove(1)
		return function.GFunction(L)
	}))
	return true
}

// invoke is a call of a host function from Lua.
func (v *vm) invoke(L *lua.LState, s *signature) int {
	v.permit(L, s)
	recorded := v.plan != nil && v.place == running && (s.Effect != Read || s.Plans)
	args, err := v.arguments(L, s)
	var depends unknownArgument
	if errors.As(err, &depends) {
		if !recorded || s.Plans {
			panic(planStop{from: depends.from})
		}
		args = nil
	}
	if recorded && !s.Plans {
		v.plan.record(v.describe(L, s, args))
		v.plan.step.Irreversible = v.plan.step.Irreversible || s.NoReturn
		return v.pushUnknown(L, s)
	}
	results, err := v.invokeGo(L, s, args)
	if err != nil {
		v.fail(L, err)
	}
	if recorded {
		v.plan.recordNested(textOf(results[0].Interface()))
		return v.pushUnknown(L, s)
	}
	for _, result := range results {
		L.Push(v.reflectToLua(result))
	}
	return len(results)
}

// permit refuses a call that has no business where it is made.
func (v *vm) permit(L *lua.LState, s *signature) {
	switch {
	case v.place == loading:
		v.mistake(L, "%s may only be called inside a step or check", s.fullName())
	case s.Effect == Change && v.place != running && v.place != reversing:
		v.mistake(L, "%s changes something and may not be called %s", s.fullName(), v.place)
	}
}

// arguments converts the arguments of a call. An unknownArgument error means
// that there are unknown values among them.
func (v *vm) arguments(L *lua.LState, s *signature) ([]reflect.Value, error) {
	fixed, most := s.counts()
	v.checkCount(L, s, most)
	var args []reflect.Value
	var depends error
	keep := func(value reflect.Value, err error, name string) {
		var u unknownArgument
		switch {
		case errors.As(err, &u):
			depends = u
		case err != nil:
			v.mistake(L, "%s: %s", name, err)
		}
		args = append(args, value)
	}
	for i, want := range s.in[:fixed] {
		value, err := v.toGo(L.Get(i+1), want)
		keep(value, err, s.argName(i))
	}
	for i := fixed; s.variadic && i < L.GetTop(); i++ {
		value, err := v.toGo(L.Get(i+1), s.in[fixed].Elem())
		keep(value, err, s.argName(i))
	}
	if s.options != nil {
		value, err := v.options(L, s, L.Get(most))
		keep(value, err, "")
	}
	return args, depends
}

// counts gives the arguments before a variadic end or the options, and how
// many there can be at most where there is no variadic end.
func (s *signature) counts() (fixed, most int) {
	fixed = len(s.in)
	if s.variadic {
		fixed--
	}
	most = fixed
	if s.options != nil {
		most++
	}
	return fixed, most
}

func (v *vm) checkCount(L *lua.LState, s *signature, most int) {
	given := L.GetTop()
	for given > most && L.Get(given) == lua.LNil {
		given--
	}
	if given < s.required() || given > most && !s.variadic {
		v.mistake(L, "%s takes %s, got %d", s.fullName(), s.takes(most), given)
	}
}

// takes is "1 to 2 arguments (node, options)".
func (s *signature) takes(most int) string {
	names := append([]string(nil), s.Args...)
	if s.options != nil && len(names) < most {
		names = append(names, "{options}")
	}
	count := fmt.Sprintf("%d to %d arguments", s.required(), most)
	switch {
	case s.variadic:
		count = fmt.Sprintf("%d or more arguments", s.required())
	case s.required() == most && most == 1:
		count = "1 argument"
	case s.required() == most:
		count = fmt.Sprintf("%d arguments", most)
	}
	if len(names) == 0 {
		return count
	}
	return count + " (" + strings.Join(names, ", ") + ")"
}

// invokeGo calls the Go function with the context of the running code. A panic
// in it is kept from Lua, where pcall would make a string of it and go on.
func (v *vm) invokeGo(L *lua.LState, s *signature, args []reflect.Value) (results []reflect.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			panic(&goPanic{value: r, fn: s.fullName(), where: v.position(L), stack: debug.Stack()})
		}
	}()
	defer v.inHost()()
	ctx := L.Context()
	untouched := func() {}
	if v.place == running && v.plan == nil || v.place == reversing {
		if untouched, err = touched(ctx, s, v.place == running); err != nil {
			return nil, err
		}
	}
	out := s.fn.Call(append([]reflect.Value{reflect.ValueOf(ctx)}, args...))
	if failure, ok := out[s.results].Interface().(error); ok && failure != nil {
		if !HasBegun(failure) {
			untouched()
		}
		return nil, failure
	}
	if ctx.Err() != nil && s.Effect != Change {
		// A function that came back because it was told to stop.
		return nil, context.Cause(ctx)
	}
	return out[:s.results], nil
}

// describe puts a change into words for a plan.
func (v *vm) describe(L *lua.LState, s *signature, args []reflect.Value) string {
	if s.Describe != nil && args == nil {
		plain := make([]any, L.GetTop())
		for i := range plain {
			plain[i] = v.partlyKnown(L.Get(i+1), 0)
		}
		return s.Describe(plain)
	}
	if s.Describe != nil {
		plain := make([]any, len(args))
		for i, arg := range args {
			plain[i] = arg.Interface()
		}
		return s.Describe(plain)
	}
	var b strings.Builder
	b.WriteString(s.fullName())
	for i := 1; i <= L.GetTop(); i++ {
		if text := v.inWords(L.Get(i), i == 1, 0); text != "" {
			b.WriteString(" " + text)
		}
	}
	return b.String()
}

// partlyKnown is a value for Describe, with an Unknown for all that is not
// known.
func (v *vm) partlyKnown(value lua.LValue, depth int) any {
	if u, ok := unknownOf(value); ok {
		return Unknown{From: u.from}
	}
	table, ok := value.(*lua.LTable)
	if ok && table.Len() == 0 && depth < maxDepth {
		object := map[string]any{}
		for key, item := table.Next(lua.LNil); key != lua.LNil; key, item = table.Next(key) {
			object[key.String()] = v.partlyKnown(item, depth+1)
		}
		return object
	}
	plain, err := v.plain(value, depth)
	if err != nil {
		return v.inWords(value, false, depth)
	}
	return plain
}

// pushUnknown gives a script unknown values for the results of a change.
func (v *vm) pushUnknown(L *lua.LState, s *signature) int {
	for range s.results {
		L.Push(v.unknown("the result of " + s.fullName()))
	}
	return s.results
}
