package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// on_nodes(nodes, function, ...) calls one function of the host on several nodes
// at once: the work is in Go, and Lua waits for all of it. What it gives is a list
// in the order of the nodes. A node that fails keeps none of the others from
// ending; then the call fails with what all of them said, or, with keep_going in
// the list of nodes, the errors are in the list.

// atOnce is how many nodes are worked on at the same time where the list of nodes
// does not say.
const atOnce = 8

// nodeResult is what on_nodes gives for a node.
type nodeResult struct {
	Node string `json:"node"`
	OK   bool   `json:"ok"`
	// Value is the first result of the function.
	Value any    `json:"value"`
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

// fanout is one call of on_nodes.
type fanout struct {
	v         *vm
	sig       *signature
	nodes     []string
	atOnce    int
	keepGoing bool
	args      [][]reflect.Value // for each node
}

// nodeOutcome is how the function has ended on a node.
type nodeOutcome struct {
	results []reflect.Value
	err     error
	fault   *goPanic
}

func (v *vm) onNodes(L *lua.LState) int {
	if v.place == loading {
		v.mistake(L, "on_nodes may only be called inside a step or check")
	}
	f := v.fanout(L)
	v.permit(L, f.sig)
	if v.plan != nil && v.place == running && f.sig.Effect != Read {
		f.plan(L)
		L.Push(v.unknown("the result of " + f.sig.fullName()))
		return 1
	}
	outcomes, err := f.run(L)
	if err != nil {
		v.fail(L, err)
	}
	list := L.CreateTable(len(outcomes), 0)
	for i, outcome := range outcomes {
		list.RawSetInt(i+1, f.result(f.nodes[i], outcome))
	}
	L.Push(list)
	return 1
}

// fanout reads the arguments of the call.
func (v *vm) fanout(L *lua.LState) *fanout {
	f := &fanout{v: v, atOnce: atOnce}
	f.readNodes(L)
	fn, _ := L.Get(2).(*lua.LFunction)
	if f.sig = v.calls[fn]; f.sig == nil {
		v.mistake(L, "argument 2 (function) of on_nodes: want a function of a module, such as cluster.node, got %s", v.withArticle(L.Get(2)))
	}
	if complaint := noFanout(f.sig); complaint != "" {
		v.mistake(L, "%s", complaint)
	}
	var rest []lua.LValue
	for i := 3; i <= L.GetTop(); i++ {
		rest = append(rest, L.Get(i))
	}
	recorded := v.plan != nil && v.place == running && f.sig.Effect != Read
	for _, node := range f.nodes {
		args, err := f.argumentsFor(L, node, rest)
		var depends unknownArgument
		if errors.As(err, &depends) && !recorded {
			panic(planStop{from: depends.from})
		}
		if err != nil {
			args = nil
		}
		f.args = append(f.args, args)
	}
	f.call(L, "", rest)
	return f
}

// call puts the arguments for one node where a call of the function has them.
func (f *fanout) call(L *lua.LState, node string, rest []lua.LValue) {
	L.SetTop(0)
	L.Push(lua.LString(node))
	for _, value := range rest {
		L.Push(value)
	}
}

func (f *fanout) argumentsFor(L *lua.LState, node string, rest []lua.LValue) ([]reflect.Value, error) {
	f.call(L, node, rest)
	return f.v.arguments(L, f.sig)
}

// readNodes reads the list of nodes and the keys in it.
func (f *fanout) readNodes(L *lua.LState) {
	if u, depends := unknownOf(L.Get(1)); depends {
		panic(planStop(u))
	}
	table, ok := L.Get(1).(*lua.LTable)
	if !ok {
		f.v.mistake(L, "argument 1 (nodes) of on_nodes: want a list of nodes, got %s", f.v.withArticle(L.Get(1)))
	}
	for key, value := table.Next(lua.LNil); key != lua.LNil; key, value = table.Next(key) {
		switch number, isNumber := value.(lua.LNumber); {
		case key.Type() == lua.LTNumber:
		case key == lua.LString("at_once") && isNumber && number >= 1 && number == lua.LNumber(int(number)):
			f.atOnce = int(number)
		case key == lua.LString("at_once"):
			f.v.mistakeAt(L, "at_once", "at_once in on_nodes: want a whole number from 1, got %s", f.v.inWords(value, false, 0))
		case key == lua.LString("keep_going") && value.Type() == lua.LTBool:
			f.keepGoing = value == lua.LTrue
		case key == lua.LString("keep_going"):
			f.v.mistakeAt(L, "keep_going", "keep_going in on_nodes: want true or false, got %s", f.v.inWords(value, false, 0))
		default:
			f.v.mistakeAt(L, key.String(), "unknown key %s in on_nodes%s", key, didYouMean(key.String(), fanoutKeys))
		}
	}
	for i := 1; i <= table.Len(); i++ {
		node, isText := table.RawGetInt(i).(lua.LString)
		switch {
		case !isText:
			f.v.mistake(L, "node %d of on_nodes: want a name, got %s", i, f.v.withArticle(table.RawGetInt(i)))
		case slices.Contains(f.nodes, string(node)):
			f.v.mistake(L, "on_nodes is given %s twice", node)
		}
		f.nodes = append(f.nodes, string(node))
	}
}

var fanoutKeys = []string{"at_once", "keep_going"}

// noFanout says why a function cannot be called on several nodes at once; empty
// where it can.
func noFanout(s *signature) string {
	switch {
	case len(s.in) == 0 || len(s.Args) == 0 || s.Args[0] != "node":
		return fmt.Sprintf("%s cannot be called by on_nodes: it works on no node", s.fullName())
	case s.Plans || s.Resumes:
		return fmt.Sprintf("%s cannot be called by on_nodes: a run has one order, so call it for one node after the other", s.fullName())
	case s.NoReturn:
		return fmt.Sprintf("%s cannot be called by on_nodes: what cannot be taken back is done on one node", s.fullName())
	}
	return ""
}

// plan records the call on every node.
func (f *fanout) plan(L *lua.LState) {
	var rest []lua.LValue
	for i := 2; i <= L.GetTop(); i++ {
		rest = append(rest, L.Get(i))
	}
	for i, node := range f.nodes {
		f.call(L, node, rest)
		f.v.plan.record(f.v.describe(L, f.sig, f.args[i]))
	}
}

// run calls the function on all nodes, and waits for all.
func (f *fanout) run(L *lua.LState) ([]nodeOutcome, error) {
	defer f.v.inHost()()
	ctx, where := L.Context(), f.v.position(L)
	untouched := func() {}
	if f.v.place == running && f.v.plan == nil || f.v.place == reversing {
		var err error
		if untouched, err = touched(ctx, f.sig, f.v.place == running, f.nodes...); err != nil {
			return nil, err
		}
	}
	outcomes := make([]nodeOutcome, len(f.nodes))
	limit := make(chan struct{}, f.limit())
	var group sync.WaitGroup
	for i, node := range f.nodes {
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			outcomes[i] = f.callOne(ctx, node, f.args[i], where)
		})
	}
	group.Wait()
	return outcomes, f.judge(ctx, outcomes, untouched)
}

// limit is how many nodes are worked on at once: one after the other where the
// functions are fakes, whose calls are to come in a fixed order.
func (f *fanout) limit() int {
	if f.v.book.host.inTurn {
		return 1
	}
	return f.atOnce
}

func (f *fanout) callOne(ctx context.Context, node string, args []reflect.Value, where string) (outcome nodeOutcome) {
	defer func() {
		if r := recover(); r != nil {
			outcome.fault = &goPanic{value: r, fn: f.sig.fullName(), where: where, stack: debug.Stack()}
		}
	}()
	if ctx.Err() != nil {
		return nodeOutcome{err: NotBegun(context.Cause(ctx))}
	}
	own := *scopeOf(ctx)
	out := &nodeOutput{to: Output(ctx), node: node}
	defer out.end()
	own.out, own.node = out, node
	results := f.sig.fn.Call(append([]reflect.Value{reflect.ValueOf(withScope(ctx, &own))}, args...))
	if err, ok := results[f.sig.results].Interface().(error); ok && err != nil {
		return nodeOutcome{err: err}
	}
	return nodeOutcome{results: results[:f.sig.results]}
}

// judge is the error of the whole call.
func (f *fanout) judge(ctx context.Context, outcomes []nodeOutcome, untouched func()) error {
	failed, begun := &nodesError{}, false
	for i, outcome := range outcomes {
		if outcome.fault != nil {
			panic(outcome.fault)
		}
		begun = begun || HasBegun(outcome.err)
		if outcome.err != nil {
			failed.nodes, failed.errs = append(failed.nodes, f.nodes[i]), append(failed.errs, outcome.err)
		}
	}
	if !begun {
		untouched()
	}
	switch {
	case ctx.Err() != nil && (f.sig.Effect != Change || len(failed.errs) > 0):
		return context.Cause(ctx)
	case len(failed.errs) == 0 || f.keepGoing:
		return nil
	}
	return failed.withHints()
}

// result is what a script gets for a node.
func (f *fanout) result(node string, outcome nodeOutcome) lua.LValue {
	table := f.v.newTable()
	table.Metatable = f.v.structMeta(reflect.TypeFor[nodeResult]())
	table.RawSetString("node", lua.LString(node))
	table.RawSetString("ok", lua.LBool(outcome.err == nil))
	if outcome.err != nil {
		table.RawSetString("error", lua.LString(outcome.err.Error()))
		if advice := hint.Of(outcome.err); advice != "" {
			table.RawSetString("hint", lua.LString(advice))
		}
	} else if len(outcome.results) > 0 {
		table.RawSetString("value", f.v.reflectToLua(outcome.results[0]))
	}
	return table
}
