package engine

import (
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

func (f *lintFile) exprs(exprs ...ast.Expr) {
	for _, e := range exprs {
		if e != nil {
			f.expr(e)
		}
	}
}

// expr reads an expression and tells its type.
func (f *lintFile) expr(e ast.Expr) luaType {
	switch x := e.(type) {
	case *ast.StringExpr:
		return luaType{kind: aString}
	case *ast.NumberExpr:
		return luaType{kind: aNumber}
	case *ast.TrueExpr, *ast.FalseExpr:
		return luaType{kind: aBoolean}
	case *ast.IdentExpr:
		return f.ident(x)
	case *ast.AttrGetExpr:
		return f.attr(x)
	case *ast.TableExpr:
		for _, field := range x.Fields {
			f.exprs(field.Key, field.Value)
		}
	case *ast.FuncCallExpr:
		return f.call(x)
	case *ast.LogicalOpExpr:
		return common(f.expr(x.Lhs), f.expr(x.Rhs), x.Operator == "or")
	case *ast.RelationalOpExpr:
		f.compared(x)
		return luaType{kind: aBoolean}
	case *ast.StringConcatOpExpr:
		f.exprs(x.Lhs, x.Rhs)
		return luaType{kind: aString}
	case *ast.ArithmeticOpExpr:
		return f.arithmetic(x)
	case *ast.UnaryMinusOpExpr:
		f.expr(x.Expr)
		return luaType{kind: aNumber}
	case *ast.UnaryNotOpExpr:
		f.expr(x.Expr)
		return luaType{kind: aBoolean}
	case *ast.UnaryLenOpExpr:
		f.expr(x.Expr)
		return luaType{kind: aNumber}
	case *ast.FunctionExpr:
		// Without a name it is called, if at all, by the function around it.
		f.inner(x)
	}
	return luaType{}
}

// inner reads a function within another: what it does, that one does.
func (f *lintFile) inner(fn *ast.FunctionExpr) {
	own := &lintFunc{place: f.fn.place}
	if own.place == loading {
		own.place = helper
	}
	f.function(fn, own, false)
	if f.fn.place != loading {
		f.fn.changes = append(f.fn.changes, own.changes...)
		f.fn.calls = append(f.fn.calls, own.calls...)
	}
}

// common is the type of a value that is one of two.
func common(a, b luaType, either bool) luaType {
	if either && a == b {
		return a
	}
	return luaType{}
}

func identName(e ast.Expr) string {
	if x, ok := e.(*ast.IdentExpr); ok {
		return x.Value
	}
	return ""
}

func (f *lintFile) ident(x *ast.IdentExpr) luaType {
	if t, ok := f.lookup(x.Value); ok {
		return t
	}
	if f.v.members[x.Value] != nil {
		return luaType{kind: aModule, name: x.Value}
	}
	if f.v.globals.RawGetString(x.Value) == lua.LNil {
		f.report(x.Line(), "unknown name %s%s", x.Value, didYouMean(x.Value, keysOf(f.v.globals)))
	}
	return luaType{}
}

func (f *lintFile) attr(x *ast.AttrGetExpr) luaType {
	t := f.expr(x.Object)
	key, ok := x.Key.(*ast.StringExpr)
	if !ok {
		f.expr(x.Key)
		return f.element(t)
	}
	found, complaint, known := f.field(t, key.Value)
	if complaint != "" {
		f.report(key.Line(), "%s %s%s", complaint, key.Value, didYouMean(key.Value, known))
	}
	return found
}

// compared is a comparison, in which an opaque value stands beside its own
// kind only.
func (f *lintFile) compared(x *ast.RelationalOpExpr) {
	a, b := f.expr(x.Lhs), f.expr(x.Rhs)
	if a.words() == "" || b.words() == "" || a.kind != anOpaque && b.kind != anOpaque || a.kind == b.kind && a.name == b.name {
		return
	}
	f.report(x.Line(), "cannot compare %s with %s%s", a.words(), b.words(), parseAdvice(f.opaqueNamed(a.name), f.opaqueNamed(b.name)))
}

func (f *lintFile) opaqueNamed(name string) *opaqueType {
	for _, o := range f.v.opaques {
		if o.Name == name {
			return o
		}
	}
	return nil
}

func (f *lintFile) arithmetic(x *ast.ArithmeticOpExpr) luaType {
	a, b := f.expr(x.Lhs), f.expr(x.Rhs)
	if a.kind != anOpaque && b.kind != anOpaque || a.words() == "" || b.words() == "" {
		return luaType{kind: aNumber}
	}
	if x.Operator != "-" || a.kind != b.kind || a.name != b.name {
		f.report(x.Line(), "cannot calculate %s %s %s: the only thing known of two values of type %s is their difference",
			a.words(), x.Operator, b.words(), firstOf(a.name, b.name))
	}
	return luaType{kind: aNumber}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
