package engine

import (
	"runtime/debug"

	lua "github.com/yuin/gopher-lua"
)

// protected makes a call on a thread of its own. Lua errors come back; panics
// of Go, the end of a plan and the end of the context pass through.
func (v *vm) protected(L *lua.LState, first, count int) (*lua.LState, *lua.ApiError) {
	if v.depth >= maxProtected {
		v.mistake(L, "pcall nested more than %d deep", maxProtected)
	}
	thread, cancel := L.NewThread()
	if cancel != nil {
		defer cancel()
	}
	thread.Panic = v.raise
	near := v.near
	v.near = v.position(L)
	v.depth++
	failure := v.callThread(L, thread, first, count)
	v.depth--
	v.near = near
	if failure != nil && L.Context() != nil && L.Context().Err() != nil {
		L.Error(failure.Object, 0)
	}
	return thread, failure
}

func (v *vm) callThread(L, thread *lua.LState, first, count int) (failure *lua.ApiError) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *lua.ApiError:
			failure = r
		case planStop, *goPanic:
			panic(r)
		default:
			panic(&goPanic{value: r, fn: "the Lua machine", where: v.position(thread), stack: debug.Stack()})
		}
	}()
	for i := first; i < first+count; i++ {
		thread.Push(L.Get(i))
	}
	thread.Call(count-1, lua.MultRet)
	return nil
}

func (v *vm) pcall(L *lua.LState) int {
	L.CheckAny(1)
	thread, failure := v.protected(L, 1, L.GetTop())
	L.SetTop(0)
	if failure != nil {
		L.Push(lua.LFalse)
		L.Push(v.errorValue(failure.Object))
		return 2
	}
	L.Push(lua.LTrue)
	for i := 1; i <= thread.GetTop(); i++ {
		L.Push(thread.Get(i))
	}
	return L.GetTop()
}

func (v *vm) xpcall(L *lua.LState) int {
	L.CheckAny(1)
	handler := L.CheckFunction(2)
	L.Replace(2, L.Get(1))
	thread, failure := v.protected(L, 2, 1)
	L.SetTop(0)
	if failure == nil {
		L.Push(lua.LTrue)
		for i := 1; i <= thread.GetTop(); i++ {
			L.Push(thread.Get(i))
		}
		return L.GetTop()
	}
	L.Push(lua.LFalse)
	L.Push(handler)
	L.Push(v.errorValue(failure.Object))
	L.Call(1, lua.MultRet)
	return L.GetTop()
}
