package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// checks runs these checks, also after one has failed, so that an operator sees
// all that is wrong at once.
func (r *runner) checks(ctx context.Context, defs []*checkDef) error {
	if len(defs) == 0 {
		return nil
	}
	r.out.line("%s", r.out.paint(bold, "==> checks"))
	failed := &CheckError{Runbook: r.rb.Name, Total: len(defs)}
	for _, def := range defs {
		body := r.body(def.Name, false)
		beat, quiet := r.beats(def.Name, body)
		failure := judge(withScope(ctx, &scope{out: body, run: r, beat: beat}), r.vm, def, r.c())
		quiet()
		body.endLine()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e := Event{Kind: CheckEnded, Step: def.Name, Outcome: Done}
		if failure == nil {
			r.out.line("    %s  %s", r.out.paint(green, "ok    "), def.Name)
		} else {
			r.out.always("    %s  %s", r.out.paint(red, "FAILED"), failure.sentence())
			e.Outcome, e.Error = Failed, failure.Message
			failed.Failed = append(failed.Failed, *failure)
		}
		if err := r.event(e); err != nil {
			return err
		}
	}
	if len(failed.Failed) == 0 {
		return nil
	}
	return withHint(failed)
}

// checksNow are the checks to be made before the first step, or the next one.
func (r *runner) checksNow(resumed bool) []*checkDef {
	all := r.vm.def.checks
	switch {
	case !resumed:
		return all
	case r.past, r.unfinished() == nil:
		return nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(c *checkDef) bool { return !c.Again })
}

// unfinished is the first step that is still to be run, or nil.
func (r *runner) unfinished() *stepDef {
	for _, def := range r.vm.def.steps {
		if !r.before.ended(def.Name) {
			return def
		}
	}
	return nil
}

// sentence is the failure on one line.
func (f *CheckFailure) sentence() string {
	if f.Message == f.Name {
		return f.Name
	}
	return f.Name + ": " + f.Message
}

// withHint carries the hints of all checks, each once.
func withHint(e *CheckError) error {
	var hints []string
	for _, f := range e.Failed {
		if f.Hint != "" && !contains(hints, f.Hint) {
			hints = append(hints, f.Hint)
		}
	}
	if len(hints) == 0 {
		return e
	}
	return hint.Wrap(e, "%s", strings.Join(hints, "; "))
}

// judge runs one check with its tries. Nil means that it passed.
func judge(ctx context.Context, v *vm, def *checkDef, c lua.LValue) *CheckFailure {
	for attempt := 0; ; attempt++ {
		f := judgeOnce(ctx, v, def, c)
		if f == nil || attempt >= def.retries || ctx.Err() != nil || f.Err != nil && !retryable(f.Err) {
			return f
		}
		if !v.book.host.pause(ctx, def.delay) {
			return f
		}
	}
}

func judgeOnce(ctx context.Context, v *vm, def *checkDef, c lua.LValue) *CheckFailure {
	values, err := v.call(ctx, checking, def.fn, c)
	f := &CheckFailure{Name: def.Name, Hint: def.Hint, Err: err}
	if err != nil {
		f.Message = err.Error()
		if advice := hint.Of(err); advice != "" {
			f.Hint = advice
		}
		return f
	}
	ok, message, wrong := v.verdict(values)
	switch {
	case ok:
		return nil
	case wrong != nil:
		f.Message = fmt.Sprintf("%s:%d: a check returns true, or false and a message; this one returned %s",
			def.file, def.Line, withArticle(wrong.Type().String()))
		f.Err = &luaMessage{text: f.Message}
	case message != "":
		f.Message = message
	case def.whyNot != "":
		f.Message = def.whyNot
	default:
		f.Message = def.Name
	}
	return f
}

// quietly is for the checks of a plan, whose output would come before it.
func quietly(ctx context.Context, s *scope) context.Context {
	s.out = io.Discard
	return withScope(ctx, s)
}

// isInternal tells a fault of the program from everything that a plan reports
// as a problem of the runbook or the cluster.
func isInternal(err error) bool {
	var internal *InternalError
	return errors.As(err, &internal)
}
