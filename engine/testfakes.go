package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// fakeCall is one call of a fake: its text, and its arguments for the test.
type fakeCall struct {
	name, text string
	args       []reflect.Value
}

// stage holds the fakes for one case.
type stage struct {
	v       *vm // of the test's file
	c       *caseDef
	common  map[string]lua.LValue
	used    map[string]int // how often each answer was given
	calls   []fakeCall
	asked   []string
	missing []string // reads for which the test has no answer
	// failAt is the number of the call that fails whatever its answer; 0: none.
	failAt int
}

// host is the real one with a fake for each of its functions, and without a
// clock to wait for.
func (s *stage) host(real Host) Host {
	fake := real
	fake.inTurn = true
	fake.Modules = make([]Module, len(real.Modules))
	for i, m := range real.Modules {
		fake.Modules[i] = Module{Name: m.Name, Doc: m.Doc}
		for _, f := range m.Funcs {
			f.Fn = s.fake(m.Name+"."+f.Name, f)
			fake.Modules[i].Funcs = append(fake.Modules[i].Funcs, f)
		}
	}
	fake.Vars = map[string]any{}
	for name := range real.Vars {
		fake.Vars[name] = s.variable(name)
	}
	fake.Confirm = func(_ context.Context, question string) (bool, error) {
		s.asked = append(s.asked, question)
		return s.c.agree, nil
	}
	fake.Node = func(name string) (any, error) { return name, nil }
	fake.Secret = func(name string) (Secret, error) { return NewSecret("what " + name + " holds"), nil }
	fake.Pause = func(context.Context, time.Duration) bool { return true }
	return fake
}

func (s *stage) variable(name string) any {
	if value, ok := s.c.vars[name]; ok {
		return value
	}
	return map[string]any{"node": "db1", "partner": "db2", "dr": "dr"}[name]
}

// errSwept is how a call fails in a sweep.
var errSwept = errors.New("this call fails")

// fake has the type of the real function, so that arguments and options are
// checked as ever.
func (s *stage) fake(full string, f Func) any {
	t := reflect.TypeOf(f.Fn)
	return reflect.MakeFunc(t, func(args []reflect.Value) []reflect.Value {
		ctx := args[0].Interface().(context.Context)
		s.calls = append(s.calls, fakeCall{name: full, text: s.callText(full, args[1:]), args: args[1:]})
		out := make([]reflect.Value, t.NumOut())
		for i := range out {
			out[i] = reflect.Zero(t.Out(i))
		}
		answer, told := s.answer(full)
		var err error
		switch {
		case told:
			err = s.give(ctx, full, answer, args[1:], out)
		case f.Effect != Change && needsAnswer(t):
			s.missing = append(s.missing, full)
			err = fmt.Errorf("the test has no answer for %s", full)
		}
		if s.failAt == len(s.calls) {
			err = errSwept
		}
		if err != nil {
			out[len(out)-1] = reflect.ValueOf(&err).Elem()
		}
		return out
	}).Interface()
}

// needsAnswer reports whether a function gives anything beside an error.
func needsAnswer(t reflect.Type) bool {
	for i := range t.NumOut() - 1 {
		if out := t.Out(i); out.Kind() != reflect.Struct || out.NumField() > 0 {
			return true
		}
	}
	return false
}

// answer is what the test tells about a function: the case first.
func (s *stage) answer(full string) (lua.LValue, bool) {
	if value, ok := s.c.answers[full]; ok {
		return value, true
	}
	value, ok := s.common[full]
	return value, ok
}

// give puts an answer into the results, or gives the error that it is.
func (s *stage) give(ctx context.Context, full string, answer lua.LValue, args, out []reflect.Value) error {
	if ud, ok := answer.(*lua.LUserData); ok {
		switch a := ud.Value.(type) {
		case *failAnswer:
			return a.error()
		case *eachAnswer:
			n := min(s.used[full], len(a.list)-1)
			s.used[full]++
			return s.give(ctx, full, a.list[n], args, out)
		case *noReturnAnswer:
			if err := NoReturn(ctx); err != nil || a.then == lua.LNil {
				return err
			}
			return s.give(ctx, full, a.then, args, out)
		}
	}
	values := []lua.LValue{answer}
	if fn, ok := answer.(*lua.LFunction); ok {
		var err error
		if values, err = s.v.call(ctx, checking, fn, s.luaArgs(args)...); err != nil {
			return fmt.Errorf("the answer of the test for %s: %w", full, err)
		}
		if ud := special(values); ud != nil {
			return s.give(ctx, full, ud, args, out)
		}
	}
	for i, value := range values[:min(len(values), len(out)-1)] {
		typed, err := s.v.toGo(value, out[i].Type())
		if err != nil {
			return fmt.Errorf("the answer of the test for %s: %w", full, err)
		}
		out[i] = typed
	}
	return nil
}

// special is the one value that a function has answered with, where that is one
// of the answers that are no values.
func special(values []lua.LValue) *lua.LUserData {
	if len(values) != 1 {
		return nil
	}
	ud, ok := values[0].(*lua.LUserData)
	if !ok {
		return nil
	}
	switch ud.Value.(type) {
	case *failAnswer, *eachAnswer, *noReturnAnswer:
		return ud
	}
	return nil
}

func (f *failAnswer) error() error {
	err := errors.New(f.text)
	if f.hint != "" {
		err = hint.Wrap(err, "%s", f.hint)
	}
	if !f.begun {
		return NotBegun(err)
	}
	return err
}

func (s *stage) luaArgs(args []reflect.Value) []lua.LValue {
	var out []lua.LValue
	for _, arg := range args {
		out = append(out, s.v.reflectToLua(arg))
	}
	return out
}

// callText is "pg_ctl.stop db1 {drain="1m0s"}": the arguments, and the options
// that are set.
func (s *stage) callText(full string, args []reflect.Value) string {
	words := []string{full}
	for _, arg := range args {
		for (arg.Kind() == reflect.Pointer || arg.Kind() == reflect.Interface) && !arg.IsNil() {
			arg = arg.Elem()
		}
		if text := s.argText(arg); text != "" {
			words = append(words, text)
		}
	}
	return strings.Join(words, " ")
}

func (s *stage) argText(arg reflect.Value) string {
	isValue := s.v.opaques[arg.Type()] != nil || arg.Type() == timeType
	var items []string
	switch {
	case arg.Type() == durationType:
		return time.Duration(arg.Int()).String()
	case arg.Kind() == reflect.Struct && !isValue:
		for _, f := range optionFields(arg.Type()) {
			if value, err := arg.FieldByIndexErr(f.Index); err == nil && !value.IsZero() {
				items = append(items, f.key+"="+s.argText(value))
			}
		}
	case arg.Kind() == reflect.Map:
		for iter := arg.MapRange(); iter.Next(); {
			items = append(items, fmt.Sprint(iter.Key())+"="+s.argText(iter.Value()))
		}
	case arg.Kind() == reflect.Interface && !arg.IsNil():
		return s.argText(arg.Elem())
	default:
		return s.v.inWords(s.v.reflectToLua(arg), true, 0)
	}
	if len(items) == 0 {
		return ""
	}
	slices.Sort(items)
	return "{" + strings.Join(items, ", ") + "}"
}
