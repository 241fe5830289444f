package engine

import (
	"reflect"

	"github.com/yuin/gopher-lua/ast"
)

// onNodes reads a call on several nodes as the call on one that it makes of each.
func (f *lintFile) onNodes(x *ast.FuncCallExpr) luaType {
	if table, ok := x.Args[0].(*ast.TableExpr); ok {
		for _, entry := range table.Fields {
			f.exprs(entry.Value)
			if key, named := entry.Key.(*ast.StringExpr); named && !contains(fanoutKeys, key.Value) {
				f.report(key.Line(), "unknown key %s in on_nodes%s", key.Value, didYouMean(key.Value, fanoutKeys))
			}
		}
	} else {
		f.expr(x.Args[0])
	}
	given := luaType{kind: aResult, of: reflect.TypeFor[[]nodeResult]()}
	switch t := f.expr(x.Args[1]); {
	case t.kind != aBuiltin:
		f.exprs(x.Args[2:]...)
		if t.kind != anything {
			f.report(x.Line(), "on_nodes calls a function of a module on each node, such as cluster.node")
		}
	case noFanout(t.sig) != "":
		f.report(x.Line(), "%s", noFanout(t.sig))
	default:
		one := &ast.FuncCallExpr{Func: x.Args[1], Args: append([]ast.Expr{&ast.StringExpr{Value: "node"}}, x.Args[2:]...), AdjustRet: true}
		one.SetLine(x.Line())
		f.builtin(one, t.sig)
	}
	return given
}
