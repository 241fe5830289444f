package engine

import (
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// The rewriter turns comparisons, joins and the tests of conditions into calls of
// hidden functions, before the text is compiled. Lua itself answers
// `lsn == "0/3000000"` with false and takes every value but nil and false for
// true; a metamethod cannot change either. Runbooks must not be fooled that
// way: comparing an opaque value with a string is an error, and branching on a
// result that a plan does not have ends the planning of that step. Joining texts
// is bounded on the way: a text that doubles takes all memory within a second.

// Names of the hidden functions. No identifier in a source text can be spelt
// like them.
const (
	hiddenTest = "\x00test"
	hiddenEq   = "\x00eq"
	hiddenNe   = "\x00ne"
	hiddenLt   = "\x00lt"
	hiddenLe   = "\x00le"
	hiddenGt   = "\x00gt"
	hiddenGe   = "\x00ge"
	hiddenJoin = "\x00join"
)

// maxNesting bounds how deeply statements and expressions nest, because the
// compiler recurses and a stack overflow of Go cannot be caught. A long chain
// of .. or elseif nests too.
const maxNesting = 1000

type rewriter struct {
	tables map[int][]keyLines
	depth  int
}

// nestingError is completed to "file:line: text" by the caller.
type nestingError int

func (e nestingError) Error() string { return fmt.Sprintf("%d: nested too deeply", int(e)) }

func (w *rewriter) enter(line int) error {
	w.depth++
	if w.depth > maxNesting {
		return nestingError(line)
	}
	return nil
}

func (w *rewriter) block(stmts []ast.Stmt) error {
	for _, s := range stmts {
		if err := w.enter(s.Line()); err != nil {
			return err
		}
		if err := w.stmt(s); err != nil {
			return err
		}
		w.depth--
	}
	return nil
}

func (w *rewriter) stmt(stmt ast.Stmt) error {
	switch s := stmt.(type) {
	case *ast.AssignStmt:
		return w.both(s.Lhs, s.Rhs)
	case *ast.LocalAssignStmt:
		return w.list(s.Exprs)
	case *ast.FuncCallStmt:
		return w.keepCall(s.Expr)
	case *ast.DoBlockStmt:
		return w.block(s.Stmts)
	case *ast.WhileStmt:
		return w.branch(&s.Condition, s.Stmts, nil)
	case *ast.RepeatStmt:
		return w.branch(&s.Condition, s.Stmts, nil)
	case *ast.IfStmt:
		return w.branch(&s.Condition, s.Then, s.Else)
	case *ast.NumberForStmt:
		return w.numberFor(s)
	case *ast.GenericForStmt:
		if err := w.list(s.Exprs); err != nil {
			return err
		}
		return w.block(s.Stmts)
	case *ast.FuncDefStmt:
		return w.block(s.Func.Stmts)
	case *ast.ReturnStmt:
		return w.list(s.Exprs)
	}
	return nil
}

func (w *rewriter) branch(condition *ast.Expr, then, otherwise []ast.Stmt) error {
	if err := w.tested(condition); err != nil {
		return err
	}
	if err := w.block(then); err != nil {
		return err
	}
	return w.block(otherwise)
}

func (w *rewriter) numberFor(s *ast.NumberForStmt) error {
	for _, bound := range []*ast.Expr{&s.Init, &s.Limit, &s.Step} {
		if *bound == nil {
			continue
		}
		if err := w.tested(bound); err != nil {
			return err
		}
	}
	return w.block(s.Stmts)
}

// keepCall rewrites within a call that must stay a call: a statement.
func (w *rewriter) keepCall(e ast.Expr) error {
	_, err := w.expr(e)
	return err
}

func (w *rewriter) both(a, b []ast.Expr) error {
	if err := w.list(a); err != nil {
		return err
	}
	return w.list(b)
}

func (w *rewriter) list(exprs []ast.Expr) error {
	for i := range exprs {
		if err := w.replace(&exprs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *rewriter) replace(e *ast.Expr) error {
	if *e == nil {
		return nil
	}
	out, err := w.expr(*e)
	*e = out
	return err
}

// tested rewrites an expression whose truth or number is looked at.
func (w *rewriter) tested(e *ast.Expr) error {
	if err := w.replace(e); err != nil {
		return err
	}
	switch (*e).(type) {
	case *ast.IdentExpr, *ast.AttrGetExpr, *ast.FuncCallExpr, *ast.Comma3Expr, *ast.LogicalOpExpr:
		*e = hiddenCall(hiddenTest, *e)
	}
	return nil
}

func (w *rewriter) expr(e ast.Expr) (ast.Expr, error) {
	if err := w.enter(e.Line()); err != nil {
		return e, err
	}
	defer func() { w.depth-- }()
	switch x := e.(type) {
	case *ast.AttrGetExpr:
		return e, w.pair(&x.Object, &x.Key)
	case *ast.TableExpr:
		return e, w.table(x)
	case *ast.FuncCallExpr:
		return e, w.call(x)
	case *ast.LogicalOpExpr:
		if err := w.tested(&x.Lhs); err != nil {
			return e, err
		}
		return e, w.replace(&x.Rhs)
	case *ast.RelationalOpExpr:
		if err := w.pair(&x.Lhs, &x.Rhs); err != nil {
			return e, err
		}
		return hiddenCall(relational(x.Operator), x.Lhs, x.Rhs), nil
	case *ast.StringConcatOpExpr:
		return w.join(x)
	case *ast.ArithmeticOpExpr:
		return e, w.pair(&x.Lhs, &x.Rhs)
	case *ast.UnaryMinusOpExpr:
		return e, w.replace(&x.Expr)
	case *ast.UnaryNotOpExpr:
		return e, w.tested(&x.Expr)
	case *ast.UnaryLenOpExpr:
		return e, w.replace(&x.Expr)
	case *ast.FunctionExpr:
		return e, w.block(x.Stmts)
	}
	return e, nil
}

// joinedAtOnce is how many texts one call joins, because a call needs a register
// of the Lua machine for each.
const joinedAtOnce = 50

// join makes a call of a chain a .. b .. c, or several within each other.
func (w *rewriter) join(x *ast.StringConcatOpExpr) (ast.Expr, error) {
	var parts []ast.Expr
	for rest := ast.Expr(x); rest != nil; {
		next := rest
		chain, more := rest.(*ast.StringConcatOpExpr)
		rest = nil
		if more {
			next, rest = chain.Lhs, chain.Rhs
		}
		if err := w.replace(&next); err != nil {
			return x, err
		}
		parts = append(parts, single(next))
		if len(parts) == joinedAtOnce {
			parts = []ast.Expr{hiddenCall(hiddenJoin, parts...)}
		}
	}
	return hiddenCall(hiddenJoin, parts...), nil
}

// single makes one value of what may stand for several.
func single(e ast.Expr) ast.Expr {
	switch x := e.(type) {
	case *ast.FuncCallExpr:
		x.AdjustRet = true
	case *ast.Comma3Expr:
		x.AdjustRet = true
	}
	return e
}

func (w *rewriter) pair(a, b *ast.Expr) error {
	if err := w.replace(a); err != nil {
		return err
	}
	return w.replace(b)
}

func (w *rewriter) table(t *ast.TableExpr) error {
	for _, f := range t.Fields {
		if err := w.replace(&f.Key); err != nil {
			return err
		}
		if err := w.replace(&f.Value); err != nil {
			return err
		}
	}
	return nil
}

func (w *rewriter) call(c *ast.FuncCallExpr) error {
	for _, arg := range c.Args {
		if table, ok := arg.(*ast.TableExpr); ok {
			w.tables[c.Line()] = append(w.tables[c.Line()], linesOf(table))
		}
	}
	if err := w.replace(&c.Func); err != nil {
		return err
	}
	if err := w.replace(&c.Receiver); err != nil {
		return err
	}
	return w.list(c.Args)
}

// hiddenCall calls a hidden function. AdjustRet makes it one value wherever it
// stands, as an operator is.
func hiddenCall(name string, args ...ast.Expr) ast.Expr {
	fn := &ast.IdentExpr{Value: name}
	call := &ast.FuncCallExpr{Func: fn, Args: args, AdjustRet: true}
	line := args[0].Line()
	fn.SetLine(line)
	call.SetLine(line)
	return call
}

func relational(operator string) string {
	switch operator {
	case "==":
		return hiddenEq
	case "~=":
		return hiddenNe
	case "<":
		return hiddenLt
	case "<=":
		return hiddenLe
	case ">":
		return hiddenGt
	}
	return hiddenGe
}
