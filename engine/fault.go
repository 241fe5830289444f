package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// raised is what a Lua error carries when its cause is a Go error.
type raised struct{ err error }

// scriptError is an error that came out of a script.
type scriptError struct {
	err   error
	where string // file:line, or empty
}

func (e *scriptError) Error() string { return e.err.Error() }
func (e *scriptError) Unwrap() error { return e.err }

// whereOf is the place in the runbook that an error came from.
func whereOf(err error) string {
	var s *scriptError
	if errors.As(err, &s) {
		return s.where
	}
	return ""
}

// goPanic carries a panic of Go through Lua, which would make a string of it.
type goPanic struct {
	value any
	fn    string
	where string
	stack []byte
}

// planStop ends the planning of a step: something unknown was needed. Scripts
// cannot catch it.
type planStop struct{ from string }

// unknownError is planStop as a Go error.
type unknownError struct{ from string }

func (e *unknownError) Error() string { return "depends on " + e.from }

func (v *vm) recovered(ctx context.Context, r any) error {
	switch r := r.(type) {
	case *lua.ApiError:
		if ctx.Err() != nil {
			return &scriptError{err: v.interruption(ctx, r), where: r.StackTrace}
		}
		return &scriptError{err: v.goError(r.Object), where: r.StackTrace}
	case planStop:
		return &unknownError{from: r.from}
	case *goPanic:
		return &InternalError{Func: r.fn, Where: r.where, Value: r.value, Stack: r.stack}
	}
	return &InternalError{Func: "the Lua machine", Value: r, Stack: debug.Stack()}
}

// interruption is the error of a call whose context has ended. What a function
// said about it is kept.
func (v *vm) interruption(ctx context.Context, ae *lua.ApiError) error {
	err := v.goError(ae.Object)
	if errors.Is(err, ctx.Err()) {
		return err
	}
	if _, ok := ae.Object.(lua.LString); ok {
		return context.Cause(ctx)
	}
	return errors.Join(err, context.Cause(ctx))
}

// luaMessage is an error that Lua made; its text begins with its place.
type luaMessage struct{ text string }

func (e *luaMessage) Error() string { return e.text }

// goError turns an error value of Lua into a Go error.
func (v *vm) goError(value lua.LValue) error {
	switch x := value.(type) {
	case *lua.LUserData:
		if r, ok := x.Value.(*raised); ok {
			return r.err
		}
	case lua.LString:
		text := strings.TrimSpace(string(x))
		if err := v.remembered(text); err != nil {
			return err
		}
		return &luaMessage{text: text}
	case *lua.LTable:
		if text, ok := x.RawGetString("message").(lua.LString); ok {
			return errors.New(string(text))
		}
	}
	return fmt.Errorf("error raised with a %s: raise a text instead", value.Type())
}

// remembered finds the Go error that a script caught and raised again, perhaps
// with its place before the text.
func (v *vm) remembered(text string) error {
	longest, found := -1, error(nil)
	for known, err := range v.goErrors {
		if len(known) > longest && (text == known || strings.HasSuffix(text, ": "+known)) {
			longest, found = len(known), err
		}
	}
	return found
}

// errorValue is what pcall gives a script: the text of a Go error, and
// everything else as it was raised.
func (v *vm) errorValue(value lua.LValue) lua.LValue {
	ud, ok := value.(*lua.LUserData)
	if !ok {
		return value
	}
	r, ok := ud.Value.(*raised)
	if !ok {
		return value
	}
	text := r.err.Error()
	if text != "" && len(v.goErrors) < maxRemembered {
		v.goErrors[text] = r.err
	}
	return lua.LString(text)
}

// fail raises a Go error in Lua.
func (v *vm) fail(L *lua.LState, err error) {
	ud := L.NewUserData()
	ud.Value = &raised{err: err}
	L.Error(ud, 1)
}

// mistake raises an error of the runbook's author, at the line of the call
// that is being made.
func (v *vm) mistake(L *lua.LState, format string, args ...any) {
	L.Error(lua.LString(v.position(L)+": "+fmt.Sprintf(format, args...)), 0)
}

// mistakeAt is mistake at the line of a key of the call's table.
func (v *vm) mistakeAt(L *lua.LState, key, format string, args ...any) {
	at := v.callSite(L)
	L.Error(lua.LString(at.of(key)+": "+fmt.Sprintf(format, args...)), 0)
}
