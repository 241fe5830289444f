package engine

import (
	"fmt"
	"reflect"

	"github.com/yuin/gopher-lua/ast"
)

// lintFile walks through one text.
type lintFile struct {
	*lint
	src      Source
	scopes   []map[string]luaType
	assigned map[string]bool // names that are assigned to after their declaration
	exports  map[string]*lintFunc
	fn       *lintFunc // the function that is being read
	later    []func()  // what can be judged when every function was read
	past     bool      // a step was irreversible: nothing is undone after it
}

// helper is the place of a function that may be called from anywhere.
const helper place = -1

// lintFunc is what a function of the text does, with the functions that are
// written within it.
type lintFunc struct {
	place   place
	changes []lintCall // calls of host functions that change something
	calls   []lintCall // calls of other functions of the text
}

type lintCall struct {
	name string
	line int
	fn   *lintFunc
	// undoes: a failed run takes it back without an undo of the step; noReturn:
	// nothing can.
	undoes, noReturn bool
}

// change is the first call of a function, in itself or in what it calls, that
// changes something and for which ok is not true; nil where there is none.
func (f *lintFunc) change(ok func(lintCall) bool, seen map[*lintFunc]bool) *lintCall {
	if f == nil || seen[f] {
		return nil
	}
	seen[f] = true
	for _, c := range f.changes {
		if !ok(c) {
			return &c
		}
	}
	for _, c := range f.calls {
		if found := c.fn.change(ok, seen); found != nil {
			return found
		}
	}
	return nil
}

func (f *lintFile) report(line int, format string, args ...any) {
	f.findings = append(f.findings, Finding{File: f.src.file(), Line: line, Text: fmt.Sprintf(format, args...)})
}

func (f *lintFile) open()  { f.scopes = append(f.scopes, map[string]luaType{}) }
func (f *lintFile) close() { f.scopes = f.scopes[:len(f.scopes)-1] }

// declare makes a local variable known. Of one that is assigned to anywhere,
// only the name is.
func (f *lintFile) declare(name string, t luaType) {
	if f.assigned[name] {
		t = luaType{}
	}
	f.scopes[len(f.scopes)-1][name] = t
}

func (f *lintFile) lookup(name string) (luaType, bool) {
	for i := len(f.scopes) - 1; i >= 0; i-- {
		if t, ok := f.scopes[i][name]; ok {
			return t, true
		}
	}
	return luaType{}, false
}

func (f *lintFile) block(stmts []ast.Stmt) {
	f.open()
	defer f.close()
	for _, s := range stmts {
		f.stmt(s)
	}
}

func (f *lintFile) stmt(stmt ast.Stmt) {
	switch s := stmt.(type) {
	case *ast.AssignStmt:
		f.assignment(s)
	case *ast.LocalAssignStmt:
		f.local(s)
	case *ast.FuncCallStmt:
		f.expr(s.Expr)
	case *ast.DoBlockStmt:
		f.block(s.Stmts)
	case *ast.WhileStmt:
		f.expr(s.Condition)
		f.block(s.Stmts)
	case *ast.RepeatStmt:
		f.open()
		for _, inner := range s.Stmts {
			f.stmt(inner)
		}
		f.expr(s.Condition) // sees the locals of its block
		f.close()
	case *ast.IfStmt:
		f.expr(s.Condition)
		f.block(s.Then)
		f.block(s.Else)
	case *ast.NumberForStmt:
		f.exprs(s.Init, s.Limit, s.Step)
		f.open()
		f.declare(s.Name, luaType{kind: aNumber})
		f.block(s.Stmts)
		f.close()
	case *ast.GenericForStmt:
		f.genericFor(s)
	case *ast.FuncDefStmt:
		f.named(s)
	case *ast.ReturnStmt:
		f.exprs(s.Exprs...)
	}
}

func (f *lintFile) local(s *ast.LocalAssignStmt) {
	if len(s.Names) == 1 && len(s.Exprs) == 1 {
		if fn, ok := s.Exprs[0].(*ast.FunctionExpr); ok {
			f.declareFunction(s.Names[0], fn)
			return
		}
	}
	types := make([]luaType, len(s.Names))
	for i, e := range s.Exprs {
		if t := f.expr(e); i < len(types) {
			types[i] = t
		}
	}
	for i, name := range s.Names {
		f.declare(name, types[i])
	}
}

// declareFunction reads a function that has a name: what it does counts where
// it is called.
func (f *lintFile) declareFunction(name string, fn *ast.FunctionExpr) {
	own := &lintFunc{place: helper}
	f.declare(name, luaType{kind: aFunction, fn: own})
	f.function(fn, own, false)
}

func (f *lintFile) assignment(s *ast.AssignStmt) {
	for _, e := range s.Rhs {
		f.expr(e)
	}
	for _, e := range s.Lhs {
		ident, ok := e.(*ast.IdentExpr)
		if !ok {
			if attr, isAttr := e.(*ast.AttrGetExpr); isAttr {
				f.exprs(attr.Object, attr.Key)
			}
			continue
		}
		if _, known := f.lookup(ident.Value); !known {
			f.report(s.Line(), "%s is not a local variable: write local %[1]s, or local function %[1]s", ident.Value)
		}
	}
}

func (f *lintFile) genericFor(s *ast.GenericForStmt) {
	var element luaType
	if call, ok := s.Exprs[0].(*ast.FuncCallExpr); ok && identName(call.Func) == "ipairs" && len(call.Args) == 1 {
		element = f.element(f.expr(call.Args[0]))
	} else {
		f.exprs(s.Exprs...)
	}
	f.open()
	defer f.close()
	for i, name := range s.Names {
		t := luaType{}
		if i == 1 {
			t = element
		}
		f.declare(name, t)
	}
	f.block(s.Stmts)
}

// named is function x() or function lib.x().
func (f *lintFile) named(s *ast.FuncDefStmt) {
	own := &lintFunc{place: helper}
	switch name := s.Name.Func.(type) {
	case *ast.IdentExpr:
		if _, known := f.lookup(name.Value); !known {
			f.report(s.Line(), "%s is not a local variable: write local %[1]s, or local function %[1]s", name.Value)
		}
	case *ast.AttrGetExpr:
		f.expr(name.Object)
		if key, ok := name.Key.(*ast.StringExpr); ok {
			f.exports[key.Value] = own
		}
	}
	f.function(s.Func, own, false)
}

// function reads a function's body and tells what it returns at its end. The
// first parameter of the functions of steps and checks is c, and so is every
// one that is called c.
func (f *lintFile) function(fn *ast.FunctionExpr, own *lintFunc, ofPart bool) (returns luaType) {
	around := f.fn
	f.fn = own
	f.open()
	for i, name := range fn.ParList.Names {
		t := luaType{}
		if name == "c" || i == 0 && ofPart {
			t = luaType{kind: theC}
		}
		f.declare(name, t)
	}
	for _, s := range fn.Stmts {
		if ret, ok := s.(*ast.ReturnStmt); ok && len(ret.Exprs) > 0 {
			returns = f.expr(ret.Exprs[0])
			f.exprs(ret.Exprs[1:]...)
			continue
		}
		f.stmt(s)
	}
	f.close()
	f.fn = around
	return returns
}

// noteAssigned finds the variables that do not keep what they are declared with.
func (f *lintFile) noteAssigned(stmts []ast.Stmt) {
	walk(reflect.ValueOf(stmts), func(node any) {
		if a, ok := node.(*ast.AssignStmt); ok {
			for _, e := range a.Lhs {
				if name := identName(e); name != "" {
					f.assigned[name] = true
				}
			}
		}
	})
}

// walk visits every node of a syntax tree.
func walk(value reflect.Value, visit func(node any)) {
	switch value.Kind() {
	case reflect.Interface:
		walk(value.Elem(), visit)
	case reflect.Pointer:
		if !value.IsNil() {
			visit(value.Interface())
			walk(value.Elem(), visit)
		}
	case reflect.Slice:
		for i := range value.Len() {
			walk(value.Index(i), visit)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				walk(value.Field(i), visit)
			}
		}
	}
}
