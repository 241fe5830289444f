package engine

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"

	lua "github.com/yuin/gopher-lua"
)

// place is the part of a runbook that is being executed. It decides what the
// code there may call.
type place int

const (
	loading   place = iota // the file itself: nothing may be called
	checking               // a check: reads
	asking                 // when, done_if, confirm, expect, leaves: reads
	running                // run: everything
	reversing              // undo: everything
)

func (p place) String() string {
	return [...]string{"while loading", "in a check", "in when, done_if or confirm", "in run", "in undo"}[p]
}

const (
	// callStackSize bounds recursion; a deeper one is an ordinary Lua error.
	callStackSize = 200
	// The value stack begins small, because each protected call has its own,
	// and grows to 4 MB. The library's own size is too small for a large
	// unpack and could not grow.
	registrySize    = 1024
	registryMaxSize = 256 * 1024
	registryStep    = 4096
	// maxProtected bounds pcall within pcall, each of which takes Go stack.
	maxProtected = 100
	// maxRemembered bounds the Go errors kept for pcall and rethrow.
	maxRemembered = 100
)

// vm is one Lua state with one instance of a runbook. It is used by one
// goroutine at a time and thrown away after its plan or run.
type vm struct {
	L        *lua.LState
	book     *book
	planning bool
	place    place
	env      *lua.LTable // what the scripts see as their globals
	globals  *lua.LTable
	opaques  map[reflect.Type]*opaqueType
	unknowns *lua.LTable                   // metatable of unknown values
	depth    int                           // protected calls that are open
	near     string                        // the line of the innermost of them
	calls    map[*lua.LFunction]*signature // the functions of the host
	loaded   map[string]lua.LValue
	def      *definition
	plan     *planner // set while a plan is made
	// goErrors remembers Go errors by their text: pcall gives a script the
	// text, and a script that raises it again raises the same error.
	goErrors map[string]error
	since    atomic.Int64 // when Lua began to run, in Unix nanoseconds; 0: it does not
	decoders map[reflect.Type]*optionDecoder
	structs  map[reflect.Type]*lua.LTable // metatables of result tables
	handles  map[reflect.Type]*lua.LTable
	frozen   map[*lua.LTable]bool   // tables that scripts cannot change
	members  map[string]*lua.LTable // what the tables of functions hold, by their names
}

// exec runs the text of a runbook or library file and gives its first result.
func (v *vm) exec(ctx context.Context, c *chunk) (lua.LValue, error) {
	fn := v.L.NewFunctionFromProto(c.proto)
	fn.Env = v.env
	values, err := v.call(ctx, v.place, fn)
	if err != nil || len(values) == 0 {
		return lua.LNil, err
	}
	return values[0], nil
}

// call runs a function of the script on a fresh thread, so that an error in it
// cannot detach variables which other functions share.
func (v *vm) call(ctx context.Context, at place, fn *lua.LFunction, args ...lua.LValue) (values []lua.LValue, err error) {
	before, depth, near := v.place, v.depth, v.near
	v.place, v.near = at, ""
	thread, cancel := v.L.NewThread()
	if cancel != nil {
		defer cancel()
	}
	ctx, unwatch := v.watched(ctx)
	thread.SetContext(ctx)
	thread.Panic = v.raise
	defer func() {
		v.place, v.depth, v.near = before, depth, near
		if r := recover(); r != nil {
			values, err = nil, v.recovered(ctx, r)
		}
		unwatch()
	}()
	thread.Push(fn)
	for _, arg := range args {
		thread.Push(arg)
	}
	thread.Call(len(args), lua.MultRet)
	for i := 1; i <= thread.GetTop(); i++ {
		values = append(values, thread.Get(i))
	}
	return values, nil
}

// raise is the panic function of every thread. It keeps the line in the field
// that would hold a traceback.
func (v *vm) raise(L *lua.LState) {
	panic(&lua.ApiError{Type: lua.ApiErrorRun, Object: L.Get(-1), StackTrace: v.position(L)})
}

// position is the innermost line of the script, as file:line.
func (v *vm) position(L *lua.LState) string {
	for level := 0; level <= callStackSize; level++ {
		frame, ok := L.GetStack(level)
		if !ok {
			break
		}
		if _, err := L.GetInfo("Sl", frame, nil); err == nil && frame.CurrentLine > 0 {
			return fmt.Sprintf("%s:%d", frame.Source, frame.CurrentLine)
		}
	}
	return v.near
}

// site is a place in a source text from which a function was called.
type site struct {
	chunk *chunk
	file  string
	line  int
}

func (s site) String() string { return fmt.Sprintf("%s:%d", s.file, s.line) }

// of is the place of a key of the call's table, as file:line.
func (s site) of(key string) string {
	if s.chunk == nil || key == "" {
		return s.String()
	}
	return fmt.Sprintf("%s:%d", s.file, s.chunk.line(s.line, key))
}

// callSite is where the Go function that runs now was called from.
func (v *vm) callSite(L *lua.LState) site {
	file, number, _ := strings.Cut(v.position(L), ":")
	line, err := strconv.Atoi(number)
	if err != nil {
		return site{file: v.book.main.source.file()}
	}
	return site{chunk: v.book.chunkOf(file), file: file, line: line}
}

// newTable makes a small table. The library's own NewTable reserves room for
// 64 items, and a run makes several tables for each call.
func (v *vm) newTable() *lua.LTable { return v.L.CreateTable(0, 4) }
