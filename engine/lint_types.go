package engine

import (
	"reflect"

	lua "github.com/yuin/gopher-lua"
)

// luaType is what lint knows of a value. The zero value is "nothing".
type luaType struct {
	kind typeKind
	name string       // of an opaque type, a module, a library or a builtin
	of   reflect.Type // what a Go function returned
	sig  *signature   // of a builtin
	fn   *lintFunc    // of a function of the text
	lib  *lintLib
}

type typeKind int

const (
	anything typeKind = iota
	aString
	aNumber
	aBoolean
	anOpaque
	aResult   // of a Go function: of
	aModule   // a global table: name
	aBuiltin  // a host function: sig
	aFunction // a function of the text: fn
	aLibrary  // what require gave: lib
	theC      // the argument of steps and checks
	theParams
	theResults
)

// words is the type in messages, as the Lua machine calls it there.
func (t luaType) words() string {
	switch t.kind {
	case aString:
		return "a string"
	case aNumber:
		return "a number"
	case aBoolean:
		return "a boolean"
	case anOpaque:
		return withArticle(t.name)
	case aResult:
		return "a table"
	}
	return ""
}

// typeOfGo is what reflectToLua makes of a Go type.
func (l *lint) typeOfGo(t reflect.Type) luaType {
	for t.Kind() == reflect.Pointer && l.v.opaques[t] == nil {
		t = t.Elem()
	}
	if o := l.v.opaques[t]; o != nil {
		return luaType{kind: anOpaque, name: o.Name}
	}
	switch {
	case t == timeType, t == reflect.TypeFor[[]byte]():
		return luaType{kind: aString}
	case t == durationType:
		return luaType{kind: aNumber}
	case t.Implements(errorType), t.Implements(marshalerType):
		return luaType{} // a text, or nil where it has none
	}
	switch t.Kind() {
	case reflect.String:
		return luaType{kind: aString}
	case reflect.Bool:
		return luaType{kind: aBoolean}
	case reflect.Struct, reflect.Slice, reflect.Map:
		return luaType{kind: aResult, of: t}
	case reflect.Float32, reflect.Float64:
		return luaType{kind: aNumber}
	}
	return luaType{} // a whole number, or a text where that is too large for one
}

// field is a field of a value. known lists the names that there are, where name
// is not one of them.
func (l *lint) field(t luaType, name string) (found luaType, what string, known []string) {
	switch {
	case t.kind == aModule:
		return l.member(t.name, name)
	case t.kind == theC:
		return l.fieldOfC(name)
	case t.kind == theParams && l.book != nil:
		return l.parameter(name)
	case t.kind == theResults && l.book != nil:
		if names := stepNames(l.book.Steps); !contains(names, name) {
			return luaType{}, "runbook " + l.book.Name + " has no step", names
		}
		return l.results[name], "", nil
	case t.kind == anOpaque:
		return luaType{}, withArticle(t.name) + " has no field", []string{}
	case t.kind == aLibrary && t.lib != nil:
		return luaType{kind: aFunction, fn: t.lib.funcs[name]}, "", nil
	case t.kind == aResult && t.of.Kind() == reflect.Struct && !t.of.Implements(reflect.TypeFor[interface{ MarshalJSON() ([]byte, error) }]()):
		for _, f := range optionFields(t.of) {
			if f.key == name && !f.asString {
				return l.typeOfGo(f.Type), "", nil
			}
		}
		if keys := fieldKeys(t.of); !contains(keys, name) {
			return luaType{}, "this result has no field", keys
		}
	case t.kind == aResult && t.of.Kind() == reflect.Map:
		return l.typeOfGo(t.of.Elem()), "", nil
	}
	return luaType{}, "", nil
}

// member is a function of a module or of one of Lua's libraries.
func (l *lint) member(module, name string) (luaType, string, []string) {
	members := l.v.members[module]
	if members == nil {
		return luaType{}, "", nil
	}
	if members.RawGetString(name) == lua.LNil {
		return luaType{}, module + " has no function", keysOf(members)
	}
	for _, m := range l.host.Modules {
		for _, f := range m.Funcs {
			if m.Name == module && f.Name == name {
				sig, _ := l.v.book.signature(m.Name, f) // newVM has made it already
				l.mayPass = l.mayPass || sig.NoReturn || sig.Resumes
				return luaType{kind: aBuiltin, name: module + "." + name, sig: sig}, "", nil
			}
		}
	}
	return luaType{}, "", nil
}

func (l *lint) fieldOfC(name string) (luaType, string, []string) {
	switch name {
	case "params":
		return luaType{kind: theParams}, "", nil
	case "results":
		return luaType{kind: theResults}, "", nil
	}
	known := append(sortedKeys(l.host.Vars), fieldsOfC...)
	if !contains(known, name) {
		return luaType{}, "c has no field", known
	}
	return luaType{}, "", nil
}

func (l *lint) parameter(name string) (luaType, string, []string) {
	var names []string
	for _, p := range l.book.Params {
		names = append(names, p.Name)
		if p.Name != name {
			continue
		}
		switch p.Type {
		case "string", "duration", "choice", "time":
			return luaType{kind: aString}, "", nil
		case "integer", "size":
			return luaType{kind: aNumber}, "", nil
		case "boolean":
			return luaType{kind: aBoolean}, "", nil
		case "node":
			return luaType{}, "", nil
		}
		return luaType{kind: anOpaque, name: p.Type}, "", nil
	}
	return luaType{}, "runbook " + l.book.Name + " has no parameter", names
}

// element is what a list holds.
func (l *lint) element(t luaType) luaType {
	if t.kind == aResult && t.of.Kind() == reflect.Slice {
		return l.typeOfGo(t.of.Elem())
	}
	return luaType{}
}
