package engine

import (
	"context"
	"encoding"
	"fmt"
	"reflect"
	"time"
)

var (
	contextType   = reflect.TypeFor[context.Context]()
	errorType     = reflect.TypeFor[error]()
	durationType  = reflect.TypeFor[time.Duration]()
	timeType      = reflect.TypeFor[time.Time]()
	anyType       = reflect.TypeFor[any]()
	marshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshalType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// signature is what reflection says about a Func, worked out once.
type signature struct {
	module string
	Func
	fn       reflect.Value
	in       []reflect.Type // without the context and the option table
	variadic bool
	options  reflect.Type // a struct, or nil
	pointer  bool         // the option table is taken as *struct
	results  int          // without the error
}

// fullName is how a runbook calls the function.
func (s *signature) fullName() string { return s.module + "." + s.Name }

// argName is what messages call argument i, counted from 0.
func (s *signature) argName(i int) string {
	if i < len(s.Args) {
		return fmt.Sprintf("argument %d (%s) of %s", i+1, s.Args[i], s.fullName())
	}
	return fmt.Sprintf("argument %d of %s", i+1, s.fullName())
}

// newSignature checks that a Func has the form that Func.Fn describes.
func newSignature(module string, f Func, values map[reflect.Type]bool) (*signature, error) {
	s := &signature{module: module, Func: f, fn: reflect.ValueOf(f.Fn)}
	bad := func(format string, args ...any) (*signature, error) {
		return nil, fmt.Errorf("function %s: %s", s.fullName(), fmt.Sprintf(format, args...))
	}
	if s.fn.Kind() != reflect.Func || s.fn.IsNil() {
		return bad("Fn is a %T and not a function", f.Fn)
	}
	t := s.fn.Type()
	if t.NumIn() == 0 || t.In(0) != contextType {
		return bad("its first argument must be a context")
	}
	if t.NumOut() == 0 || t.Out(t.NumOut()-1) != errorType {
		return bad("its last result must be an error")
	}
	s.results = t.NumOut() - 1
	if f.Plans && (s.results == 0 || t.Out(0).Kind() != reflect.String && t.Out(0) != anyType) {
		return bad("it plans, so its first result must be the text")
	}
	s.variadic = t.IsVariadic()
	for i := 1; i < t.NumIn(); i++ {
		in := t.In(i)
		if i == t.NumIn()-1 && !s.variadic && isOptions(in, values) {
			s.options, s.pointer = in, in.Kind() == reflect.Pointer
			if s.pointer {
				s.options = in.Elem()
			}
			break
		}
		s.in = append(s.in, in)
	}
	return s, nil
}

// isOptions tells an option table from the structs that are values.
func isOptions(t reflect.Type, values map[reflect.Type]bool) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == timeType || values[t] || reflect.PointerTo(t).Implements(unmarshalType) {
		return false
	}
	return true
}

// required is the number of arguments that cannot be left out.
func (s *signature) required() int {
	n := len(s.in)
	if s.variadic {
		n--
	}
	for n > 0 && (s.in[n-1].Kind() == reflect.Pointer) {
		n--
	}
	return n
}

// Validate reports functions and types that runbooks could not use. It is for
// the tests of the program that provides them.
func (h Host) Validate() error {
	for _, o := range h.Opaques {
		if o.Type == nil || o.Name == "" {
			return fmt.Errorf("opaque type %q has no name or no Go type", o.Name)
		}
	}
	values := valueTypes(h)
	for _, m := range h.Modules {
		for _, f := range m.Funcs {
			s, err := newSignature(m.Name, f, values)
			if err != nil {
				return err
			}
			if s.options == nil {
				continue
			}
			if err := checkOptions(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// valueTypes are the structs that are never an option table: opaque types and
// those of the handles in Host.Vars.
func valueTypes(h Host) map[reflect.Type]bool {
	values := map[reflect.Type]bool{}
	for _, o := range h.Opaques {
		values[o.Type] = true
	}
	for _, value := range h.Vars {
		t := reflect.TypeOf(value)
		for t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t != nil && t.Kind() == reflect.Struct {
			values[t] = true
		}
	}
	return values
}

func checkOptions(s *signature) error {
	for _, f := range optionFields(s.options) {
		switch f.Type.Kind() {
		case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
			return fmt.Errorf("function %s: option %s cannot be a %s", s.fullName(), f.key, f.Type)
		}
	}
	return nil
}
