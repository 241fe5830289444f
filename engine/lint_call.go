package engine

import (
	"strconv"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// call reads a call and tells the type of its first result.
func (f *lintFile) call(x *ast.FuncCallExpr) luaType {
	if x.Receiver != nil {
		return f.method(x)
	}
	switch name := identName(x.Func); {
	case f.hides(name):
	case name == "step" || name == "check":
		return f.part(x, name)
	case name == "on_nodes" && len(x.Args) >= 2:
		return f.onNodes(x)
	case name == "extension" && len(x.Args) == 1:
		return f.extensionTable(x.Args[0])
	case name == "require" && len(x.Args) == 1:
		if s, ok := x.Args[0].(*ast.StringExpr); ok {
			return luaType{kind: aLibrary, lib: f.library(s.Value)}
		}
	case f.parses(name):
		f.exprs(x.Args...)
		return luaType{kind: anOpaque, name: name}
	case name == "tostring" || name == "type":
		f.exprs(x.Args...)
		return luaType{kind: aString}
	}
	t := f.expr(x.Func)
	if t.kind == aBuiltin {
		return f.builtin(x, t.sig)
	}
	f.exprs(x.Args...)
	if t.kind == aFunction && t.fn != nil {
		f.fn.calls = append(f.fn.calls, lintCall{name: spelt(x.Func), line: x.Line(), fn: t.fn})
		f.judgeCall(spelt(x.Func), x.Line(), t.fn)
	}
	return luaType{}
}

// extensionTable reads what an extension is made of. The steps of finally are
// never undone.
func (f *lintFile) extensionTable(e ast.Expr) luaType {
	table, ok := e.(*ast.TableExpr)
	if !ok {
		return f.expr(e)
	}
	for _, entry := range table.Fields {
		key, isName := entry.Key.(*ast.StringExpr)
		f.past = isName && key.Value == "finally"
		f.exprs(entry.Value)
	}
	f.past = false
	return luaType{}
}

// hides reports whether a local variable has the name of a word of the form.
func (f *lintFile) hides(name string) bool {
	_, local := f.lookup(name)
	return local
}

// parses reports whether a name is the function that makes an opaque value.
func (f *lintFile) parses(name string) bool {
	o := f.opaqueNamed(name)
	return o != nil && o.Parse != nil
}

// method is a call such as text:upper().
func (f *lintFile) method(x *ast.FuncCallExpr) luaType {
	t := f.expr(x.Receiver)
	f.exprs(x.Args...)
	if members := f.v.members[lua.StringLibName]; t.kind == aString && members.RawGetString(x.Method) == lua.LNil {
		f.report(x.Line(), "string has no function %s%s", x.Method, didYouMean(x.Method, keysOf(members)))
	}
	return luaType{}
}

// spelt is a function as the text calls it.
func spelt(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.IdentExpr:
		return x.Value
	case *ast.AttrGetExpr:
		if key, ok := x.Key.(*ast.StringExpr); ok {
			return spelt(x.Object) + "." + key.Value
		}
	}
	return "a function"
}

// judgeCall complains, once everything has been read, about a function that
// changes something and is called where only reads are allowed.
func (f *lintFile) judgeCall(name string, line int, fn *lintFunc) {
	where := f.fn.place
	if where != checking && where != asking {
		return
	}
	f.later = append(f.later, func() {
		if c := fn.change(func(lintCall) bool { return false }, map[*lintFunc]bool{}); c != nil {
			f.report(line, "%s calls %s, which changes something and may not be called %s", name, c.name, where)
		}
	})
}

// builtin checks a call of a host function against its declaration.
func (f *lintFile) builtin(x *ast.FuncCallExpr, sig *signature) luaType {
	if sig.Effect == Change {
		f.fn.changes = append(f.fn.changes, lintCall{name: sig.fullName(), line: x.Line(), undoes: sig.Plans, noReturn: sig.NoReturn})
		if f.fn.place == checking || f.fn.place == asking {
			f.report(x.Line(), "%s changes something and may not be called %s", sig.fullName(), f.fn.place)
		}
	}
	f.arguments(x, sig)
	if sig.results == 0 {
		return luaType{}
	}
	return f.typeOfGo(sig.fn.Type().Out(0))
}

func (f *lintFile) arguments(x *ast.FuncCallExpr, sig *signature) {
	fixed, most := sig.counts()
	count := len(x.Args)
	open := count > 0 && severalValues(x.Args[count-1])
	if !open && count < sig.required() || count > most && !sig.variadic {
		f.report(x.Line(), "%s takes %s, got %d", sig.fullName(), sig.takes(most), count)
	}
	for i, arg := range x.Args {
		table, isTable := arg.(*ast.TableExpr)
		if isTable && sig.options != nil && i == most-1 {
			f.optionTable(table, sig)
			continue
		}
		t := f.expr(arg)
		if i >= fixed {
			continue
		}
		if value := literal(arg); value != nil {
			if isSecret(sig.in[i]) {
				f.report(x.Line(), "%s: %s", sig.argName(i), secretWritten)
				continue
			}
			if _, err := f.v.toGo(value, sig.in[i]); err != nil {
				f.report(x.Line(), "%s: %s", sig.argName(i), err)
			}
			continue
		}
		if t.kind == aResult && f.typeOfGo(sig.in[i]).kind == aString {
			f.report(x.Line(), "%s: want a string, got a table", sig.argName(i))
		}
	}
}

// secretWritten is wrong with a secret that stands in the text.
const secretWritten = "a secret that is written out stands in the journal of every run: make it a parameter of kind secret"

// severalValues reports whether an expression at the end of a list may stand
// for any number of values.
func severalValues(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.FuncCallExpr:
		return !x.AdjustRet
	case *ast.Comma3Expr:
		return !x.AdjustRet
	}
	return false
}

func (f *lintFile) optionTable(table *ast.TableExpr, sig *signature) {
	fields := map[string]field{}
	for _, option := range optionFields(sig.options) {
		fields[option.key] = option
	}
	for _, entry := range table.Fields {
		t := f.expr(entry.Value)
		key, ok := entry.Key.(*ast.StringExpr)
		if !ok {
			f.exprs(entry.Key)
			continue
		}
		option, known := fields[key.Value]
		if !known {
			f.report(key.Line(), "unknown key %s in %s%s", key.Value, sig.fullName(), didYouMean(key.Value, fieldKeys(sig.options)))
			continue
		}
		if value := literal(entry.Value); value != nil {
			if isSecret(option.Type) {
				f.report(key.Line(), "%s in %s: %s", key.Value, sig.fullName(), secretWritten)
				continue
			}
			if _, err := f.v.toGo(value, option.Type); err != nil {
				f.report(key.Line(), "%s in %s: %s", key.Value, sig.fullName(), err)
			}
			continue
		}
		if want := f.typeOfGo(option.Type); want.kind == anOpaque && t.words() != "" && t.kind != anOpaque {
			f.report(key.Line(), "%s in %s: want %s, got %s", key.Value, sig.fullName(), withArticle(want.name), t.words())
		}
	}
}

// literal is the value of an expression that is written out, or nil.
func literal(e ast.Expr) lua.LValue {
	switch x := e.(type) {
	case *ast.StringExpr:
		return lua.LString(x.Value)
	case *ast.TrueExpr:
		return lua.LTrue
	case *ast.FalseExpr:
		return lua.LFalse
	case *ast.NumberExpr:
		if n, err := strconv.ParseFloat(x.Value, 64); err == nil {
			return lua.LNumber(n)
		}
	}
	return nil
}

// partPlaces are where the functions of steps and checks are called.
var partPlaces = map[string]place{
	"run": running, "undo": reversing, "done_if": asking, "when": asking, "confirm": asking, "leaves": asking, "expect": asking,
}

// part reads a step or a check. The function run comes first: what it returns
// is the step's result, which its undo may look at.
func (f *lintFile) part(x *ast.FuncCallExpr, kind string) luaType {
	if len(x.Args) != 1 {
		f.exprs(x.Args...)
		return luaType{}
	}
	table, ok := x.Args[0].(*ast.TableExpr)
	if !ok {
		f.exprs(x.Args...)
		return luaType{}
	}
	name, item := "", 0
	has := map[string]*ast.Field{}
	for _, entry := range table.Fields {
		key, isName := entry.Key.(*ast.StringExpr)
		switch {
		case isName:
			has[key.Value] = entry
		case entry.Key == nil:
			item++
			if s, isText := entry.Value.(*ast.StringExpr); isText && item == 1 {
				name = s.Value
			}
		}
	}
	at := checking
	if kind == "step" {
		at = running
	}
	var does *lintFunc
	if run := has["run"]; run != nil {
		var returns luaType
		does, returns = f.partFunction(run.Value, running)
		f.keepResult(name, returns)
	}
	for _, entry := range table.Fields {
		key, isName := entry.Key.(*ast.StringExpr)
		switch {
		case isName && key.Value == "run":
		case isName && partPlaces[key.Value] != loading:
			f.partFunction(entry.Value, partPlaces[key.Value])
		default:
			f.exprs(entry.Key)
			f.partFunction(entry.Value, at)
		}
	}
	if kind == "step" {
		f.judgeUndo(name, x.Line(), does, has)
	}
	return luaType{}
}

// partFunction reads a function of a step or check, written out or by its name.
func (f *lintFile) partFunction(e ast.Expr, at place) (*lintFunc, luaType) {
	if fn, ok := e.(*ast.FunctionExpr); ok {
		own := &lintFunc{place: at}
		return own, f.function(fn, own, true)
	}
	t := f.expr(e)
	if t.kind != aFunction || t.fn == nil {
		return nil, luaType{}
	}
	around := f.fn
	f.fn = &lintFunc{place: at}
	f.judgeCall(spelt(e), e.Line(), t.fn)
	f.fn = around
	return t.fn, luaType{}
}

// keepResult remembers what a step returns. A type that stands for different
// things in different files is dropped.
func (f *lintFile) keepResult(step string, t luaType) {
	if f.results == nil {
		f.results = map[string]luaType{}
	}
	if t.kind != anOpaque && t.kind != aResult {
		t = luaType{}
	}
	f.results[step] = t
}

// judgeUndo complains about a step that changes something and says neither how
// that is taken back nor what it leaves, and about one that cannot be taken back
// and does not say so. A runbook within the step takes itself back, and after a
// step that is irreversible nothing is undone any more.
func (f *lintFile) judgeUndo(name string, line int, does *lintFunc, has map[string]*ast.Field) {
	if irreversible := has["irreversible"]; irreversible != nil || f.past {
		f.past = f.past || irreversible != nil && literal(irreversible.Value) == lua.LTrue
		return
	}
	if does == nil {
		return
	}
	f.later = append(f.later, func() {
		if c := does.change(func(c lintCall) bool { return !c.noReturn }, map[*lintFunc]bool{}); c != nil {
			f.report(line, "step %s calls %s, after which nothing can be undone: write irreversible = true", name, c.name)
			return
		}
		if has["undo"] != nil || has["leaves"] != nil {
			return
		}
		c := does.change(func(c lintCall) bool { return c.undoes }, map[*lintFunc]bool{})
		if c == nil {
			return
		}
		f.report(line, "step %s changes something (%s) and has neither undo nor irreversible = true; where nothing needs to be taken back, write undo = false", name, c.name)
	})
}
