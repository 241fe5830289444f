package engine

import (
	"errors"
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// failure is what fail raises: a message for the operator, without any line of
// the runbook.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

// openSpeech adds say, fail, require and on_nodes.
func (v *vm) openSpeech() {
	v.globals.RawSetString("say", v.L.NewFunction(v.say))
	v.globals.RawSetString("fail", v.function(v.failWith))
	v.globals.RawSetString("require", v.function(v.require))
	v.globals.RawSetString("on_nodes", v.function(v.onNodes))
}

// say prints one line of live output. A plan keeps what a step says that only
// looks.
func (v *vm) say(L *lua.LState) int {
	if v.place == loading {
		v.mistake(L, "say may only be called inside a step or check")
	}
	if v.plan != nil {
		v.planSay(L)
		return 0
	}
	line := v.sentence(L, 1)
	out := Output(L.Context())
	if body, ok := out.(*indenter); ok {
		body.endLine() // of a progress bar, say
	}
	if _, err := fmt.Fprintln(out, strings.TrimRight(line, "\n")); err != nil {
		v.fail(L, err)
	}
	return 0
}

// planSay notes what is said, where that is known already.
func (v *vm) planSay(L *lua.LState) {
	if v.place != running {
		return
	}
	for i := 1; i <= L.GetTop(); i++ {
		if _, depends := unknownOf(L.Get(i)); depends {
			return
		}
	}
	v.plan.step.Says = append(v.plan.step.Says, strings.TrimRight(v.sentence(L, 1), "\n"))
}

// sentence is a text with the arguments put in, or any one value.
func (v *vm) sentence(L *lua.LState, first int) string {
	if L.GetTop() > first {
		return v.format(L, first)
	}
	return v.text(L, L.Get(first))
}

// failWith is fail(format, ...) or fail{ message, hint = ... }.
func (v *vm) failWith(L *lua.LState) int {
	if v.place == loading {
		v.mistake(L, "fail may only be called inside a step or check")
	}
	if v.book.failing != nil {
		v.book.failing(v.position(L))
	}
	table, ok := L.Get(1).(*lua.LTable)
	if !ok {
		v.fail(L, &failure{text: v.sentence(L, 1)})
		return 0
	}
	for key, _ := table.Next(lua.LNil); key != lua.LNil; key, _ = table.Next(key) {
		if key != lua.LNumber(1) && key != lua.LString("hint") {
			v.mistakeAt(L, key.String(), "unknown key %s in fail%s", key, didYouMean(key.String(), []string{"hint"}))
		}
	}
	err := error(&failure{text: v.text(L, table.RawGetInt(1))})
	if advice := table.RawGetString("hint"); advice != lua.LNil {
		err = hint.Wrap(err, "%s", v.text(L, advice))
	}
	v.fail(L, err)
	return 0
}

// require runs a library file once and gives what it returns.
func (v *vm) require(L *lua.LState) int {
	name := L.CheckString(1)
	if value, ok := v.loaded[name]; ok {
		if value == nil {
			v.mistake(L, "%s requires itself", name)
		}
		L.Push(value)
		return 1
	}
	c, err := v.book.library(name)
	if err != nil {
		v.mistake(L, "require %q: %s", name, err)
	}
	v.loaded[name] = nil
	before := v.place
	v.place = loading
	value, err := v.exec(L.Context(), c)
	v.place = before
	if err != nil {
		delete(v.loaded, name)
		v.failAgain(L, err)
	}
	v.loaded[name] = value
	L.Push(value)
	return 1
}

// failAgain raises what a call within a call ended with. What scripts must not
// catch stays that way.
func (v *vm) failAgain(L *lua.LState, err error) {
	var internal *InternalError
	var depends *unknownError
	var message *luaMessage
	switch {
	case errors.As(err, &message):
		L.Error(lua.LString(message.text), 0)
	case errors.As(err, &internal):
		panic(&goPanic{value: internal.Value, fn: internal.Func, where: internal.Where, stack: internal.Stack})
	case errors.As(err, &depends):
		panic(planStop{from: depends.from})
	}
	v.fail(L, err)
}
