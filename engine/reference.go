package engine

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Reference is everything that runbooks can write and call, in one registry:
// the manual page, the annotations for editors and the definitions for linters
// are made from it.
type Reference struct {
	Words   []Word // the form and Lua's own
	Fields  []FieldRef
	Kinds   []string // of parameters
	Opaques []Opaque
	Modules []ModuleRef
	Classes []ClassRef // what functions take and return, by their names
	// Libraries are Lua's own, by their names.
	Libraries map[string][]string
}

// ModuleRef is a module in a Reference.
type ModuleRef struct {
	Name, Doc string
	Funcs     []FuncRef
}

// FuncRef is a function in a Reference.
type FuncRef struct {
	Name, Doc string
	Effect    Effect
	Args      []ArgRef
	Results   []string // types
}

// ArgRef is an argument of a function.
type ArgRef struct {
	Name, Type         string
	Optional, Variadic bool
}

// ClassRef is a table with fixed names.
type ClassRef struct {
	Name   string
	Fields []FieldRef
}

// FieldRef is a name in a table.
type FieldRef struct {
	Name, Type, Doc string
	Optional        bool
}

// Reference describes what a host offers, in a fixed order.
func (h Host) Reference() (Reference, error) {
	b := &book{limits: usualLimits, host: h, main: &chunk{}, libs: map[string]*chunk{}, sigs: map[string]*signature{}, values: valueTypes(h)}
	v, err := newVM(b, false)
	if err != nil {
		return Reference{}, err
	}
	w := &describer{v: v, names: map[reflect.Type]string{}, taken: map[string]bool{}}
	r := Reference{Words: formWords(), Fields: fieldsForC(h), Kinds: h.paramKinds(), Opaques: h.Opaques, Libraries: map[string][]string{}}
	for name := range libraries {
		r.Libraries[name] = slices.Sorted(slices.Values(keysOf(v.members[name])))
	}
	for _, m := range h.Modules {
		r.Modules = append(r.Modules, w.module(m))
	}
	w.class(reflect.TypeFor[nodeResult](), w.returned, false)
	slices.SortFunc(r.Modules, func(a, b ModuleRef) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(w.classes, func(a, b ClassRef) int { return strings.Compare(a.Name, b.Name) })
	r.Classes = w.classes
	return r, nil
}

// describer puts Go types into words of Lua.
type describer struct {
	v       *vm
	names   map[reflect.Type]string
	taken   map[string]bool
	classes []ClassRef
}

func (w *describer) module(m Module) ModuleRef {
	out := ModuleRef{Name: m.Name, Doc: m.Doc}
	for _, f := range m.Funcs {
		sig, _ := w.v.book.signature(m.Name, f) // newVM has made it already
		out.Funcs = append(out.Funcs, w.function(sig))
	}
	slices.SortStableFunc(out.Funcs, func(a, b FuncRef) int { return strings.Compare(a.Name, b.Name) })
	out.Funcs = slices.CompactFunc(out.Funcs, func(a, b FuncRef) bool { return a.Name == b.Name })
	return out
}

func (w *describer) function(s *signature) FuncRef {
	f := FuncRef{Name: s.Name, Doc: s.Doc, Effect: s.Effect}
	for i, in := range s.in {
		arg := ArgRef{Name: fmt.Sprintf("arg%d", i+1), Type: w.given(in), Optional: i >= s.required()}
		if i < len(s.Args) {
			arg.Name = strings.ReplaceAll(s.Args[i], " ", "_")
		}
		if s.variadic && i == len(s.in)-1 {
			arg.Type, arg.Variadic, arg.Optional = w.given(in.Elem()), true, false
		}
		f.Args = append(f.Args, arg)
	}
	if s.options != nil && len(optionFields(s.options)) > 0 {
		f.Args = append(f.Args, ArgRef{Name: "options", Type: w.class(s.options, w.given, true), Optional: true})
	}
	for i := range s.results {
		if out := s.fn.Type().Out(i); out.Kind() != reflect.Struct || len(optionFields(out)) > 0 || w.v.opaques[out] != nil {
			f.Results = append(f.Results, w.returned(out))
		}
	}
	return f
}

// given is the type of what a runbook passes for a Go type, returned of what it
// gets for one.
func (w *describer) given(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == secretType:
		return "secret|string"
	case t == timeType:
		return "string"
	}
	return w.typed(t, w.given)
}

func (w *describer) returned(t reflect.Type) string {
	if t == durationType {
		return "number"
	}
	return w.typed(t, w.returned)
}

func (w *describer) typed(t reflect.Type, inner func(reflect.Type) string) string {
	if o := w.v.opaques[t]; o != nil {
		return o.Name
	}
	if t.Kind() == reflect.Pointer {
		return inner(t.Elem()) + "|nil"
	}
	switch {
	case t == timeType, t.Implements(errorType), t.Implements(marshalerType), reflect.PointerTo(t).Implements(unmarshalType):
		return "string"
	case t == reflect.TypeFor[[]byte]():
		return "string"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Interface:
		return "any"
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "string"
		}
		return inner(t.Elem()) + "[]"
	case reflect.Slice:
		return inner(t.Elem()) + "[]"
	case reflect.Map:
		return "table<" + inner(t.Key()) + ", " + inner(t.Elem()) + ">"
	case reflect.Struct:
		if t.Name() == "" {
			return "table"
		}
		return w.class(t, inner, false)
	}
	return "integer"
}

// class describes a struct once and gives its name.
func (w *describer) class(t reflect.Type, inner func(reflect.Type) string, options bool) string {
	if name := w.names[t]; name != "" {
		return name
	}
	name := strings.ToLower(t.Name()[:1]) + t.Name()[1:]
	if strings.ToUpper(t.Name()) == t.Name() {
		name = strings.ToLower(name) // an abbreviation
	}
	if w.taken[name] {
		pkg := t.PkgPath()
		name = pkg[strings.LastIndex(pkg, "/")+1:] + "_" + name
	}
	w.names[t], w.taken[name] = name, true
	c := ClassRef{Name: name}
	for _, f := range optionFields(t) {
		field := FieldRef{Name: f.key, Type: inner(f.Type), Optional: options || f.omitEmpty}
		if f.asString {
			field.Type = "string"
		}
		if f.Type.Kind() == reflect.Pointer {
			field.Optional, field.Type = true, strings.TrimSuffix(field.Type, "|nil")
		}
		c.Fields = append(c.Fields, field)
	}
	w.classes = append(w.classes, c)
	return name
}

// fieldsForC are the fields of c.
func fieldsForC(h Host) []FieldRef {
	fields := []FieldRef{
		{Name: "name", Type: "string", Doc: "the runbook's name"},
		{Name: "params", Type: "table<string, any>", Doc: "the parameters by their names; one without a value is nil"},
		{Name: "results", Type: "table<string, any>", Doc: "what earlier steps have returned, by the names of the steps"},
		{Name: "outcome", Type: "string", Optional: true, Doc: `"done" or "failed", in the steps of finally only`},
		{Name: "error", Type: "string", Optional: true, Doc: "why the run has failed, in the steps of finally only"},
	}
	for _, name := range sortedKeys(h.Vars) {
		fields = append(fields, FieldRef{Name: name, Type: "string", Optional: name != "node", Doc: h.VarDocs[name]})
	}
	return fields
}
