package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// step runs one step from its conditions to its result.
func (r *runner) step(ctx context.Context, def *stepDef) error {
	began, wasPast := r.rb.book.host.now(), r.past
	body := r.body(def.Name, false)
	defer body.endLine()
	beat, quiet := r.beats(def.Name, body)
	defer quiet()
	t := r.before.trial(def.Name)
	if t == nil {
		t = &trial{def: def}
	}
	ctx = withScope(ctx, &scope{out: body, run: r, at: t, beat: beat})
	entry := StepResult{Name: def.Name}
	outcome, value, err := r.settled(ctx, t)
	if err == nil && outcome == "" {
		if !t.wasBegun() && !r.closing { // what finally does is never undone
			r.tried = append(r.tried, t)
		}
		outcome = Done
		value, entry.Attempts, err = r.attempts(ctx, t)
	}
	value, err = r.veil.value(value), r.veil.error(err)
	if errors.Is(err, errUnsettled) {
		return err // a run within it waits for the operator's word
	}
	quiet()
	body.endLine()
	took := r.rb.book.host.now().Sub(began)
	entry.Outcome, entry.Seconds, entry.Value = outcome, took.Seconds(), value
	if err != nil {
		entry.Outcome, entry.Error, entry.Value = Failed, err.Error(), nil
	}
	r.result.Steps = append(r.result.Steps, entry)
	t.entry = len(r.result.Steps) - 1
	r.results[def.Name] = entry.Value
	t.finished, t.turnedDown = err == nil, !HasBegun(err)
	r.ended(entry, took)
	warns := def.OnError == onErrorWarn && ctx.Err() == nil && !r.closing && onlyWarns(err) && r.past == wasPast
	unrecorded := r.event(Event{Kind: StepEnded, Step: def.Name, Outcome: entry.Outcome, Attempt: entry.Attempts,
		Value: entry.Value, Error: entry.Error, Changed: t.changed, Refused: t.turnedDown, Warned: warns})
	if warns {
		r.out.always("    the run goes on: step %s of an extension only warns", def.Name)
		err = nil
	}
	if err == nil {
		err = unrecorded
	}
	return err
}

// onlyWarns reports whether the run may go on after this failure of a step that
// only warns: not where a runbook within it is left halfway.
func onlyWarns(err error) bool {
	var inner *StepError
	halfway := errors.As(err, &inner) && (len(inner.Left) > 0 || inner.PastReturn || unsettled(inner))
	return err != nil && !halfway && !errors.Is(err, errUnrecorded)
}

func (r *runner) ended(entry StepResult, took time.Duration) {
	switch entry.Outcome {
	case Done:
		if !r.out.quiet {
			r.out.end(green, "done", tookText(took))
		}
	case AlreadyDone, Skipped:
		if !r.out.quiet {
			r.out.end("", string(entry.Outcome), "")
		}
	case Failed:
		r.out.always("    %s after %s: %s", r.out.paint(red, "failed"), elapsed(took), entry.Error)
	}
}

// settled asks whether the step has to run at all: when, then done_if, then
// the operator. done_if may return the step's result after true.
func (r *runner) settled(ctx context.Context, t *trial) (Outcome, any, error) {
	def := t.def
	if t.wasBegun() {
		return r.settledAgain(ctx, t)
	}
	if def.when != nil {
		wanted, _, err := r.condition(ctx, def, "when", def.when)
		if err != nil {
			return "", nil, err
		}
		if !wanted {
			return Skipped, nil, nil
		}
	}
	if def.doneIf != nil {
		done, value, err := r.condition(ctx, def, "done_if", def.doneIf)
		if err != nil {
			return "", nil, err
		}
		if done {
			kept, err := r.vm.kept(value)
			return AlreadyDone, kept, err
		}
	}
	return "", nil, r.confirmed(ctx, def)
}

// condition calls when or done_if: true or false, and what follows.
func (r *runner) condition(ctx context.Context, def *stepDef, key string, fn *lua.LFunction) (bool, lua.LValue, error) {
	values, err := r.vm.call(ctx, asking, fn, r.c())
	if err != nil {
		return false, lua.LNil, fmt.Errorf("%s: %w", key, err)
	}
	return truth(values, def.Name, key)
}

func truth(values []lua.LValue, step, key string) (bool, lua.LValue, error) {
	var first, second lua.LValue = lua.LNil, lua.LNil
	if len(values) > 0 {
		first = values[0]
	}
	if len(values) > 1 {
		second = values[1]
	}
	switch first {
	case lua.LTrue:
		return true, second, nil
	case lua.LFalse, lua.LNil:
		return false, lua.LNil, nil
	}
	return false, lua.LNil, fmt.Errorf("%s of step %s must return true or false, and returned %s", key, step,
		withArticle(first.Type().String()))
}

func (r *runner) confirmed(ctx context.Context, def *stepDef) error {
	question, err := r.question(ctx, def)
	question = r.veil.text(question)
	if err != nil || question == "" {
		return err
	}
	if r.opts.AssumeYes {
		fmt.Fprintf(Output(ctx), "%s yes\n", question)
		return nil
	}
	r.out.to.show()
	if r.rb.book.host.Confirm == nil {
		return hint.Wrap(errors.New("it asks a question and there is no terminal to answer it"), "agree beforehand with --yes")
	}
	defer LivesElsewhere(ctx)() // the operator knows what it waits for
	agreed, err := r.rb.book.host.Confirm(ctx, question)
	if err == nil && !agreed {
		err = ErrDeclined
	}
	return err
}

// ErrDeclined is the cause of a StepError when the operator said no.
var ErrDeclined = errors.New("the operator said no")

// question is the text to confirm, or empty when there is nothing to ask.
func (r *runner) question(ctx context.Context, def *stepDef) (string, error) {
	if def.confirmFn == nil {
		return def.confirm, nil
	}
	values, err := r.vm.call(ctx, asking, def.confirmFn, r.c())
	if err != nil {
		return "", fmt.Errorf("confirm: %w", err)
	}
	return questionOf(values, def.Name)
}

func questionOf(values []lua.LValue, step string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	switch q := values[0].(type) {
	case lua.LString:
		return string(q), nil
	case *lua.LNilType:
		return "", nil
	case lua.LBool:
		if !bool(q) {
			return "", nil
		}
	}
	return "", fmt.Errorf("confirm of step %s must return a question or nil, and returned %s", step,
		withArticle(values[0].Type().String()))
}

// attempts runs the step until it succeeds or its tries are used up.
func (r *runner) attempts(ctx context.Context, t *trial) (any, int, error) {
	if err := r.event(Event{Kind: StepBegan, Step: t.def.Name}); err != nil {
		return nil, 0, err
	}
	if t.def.Irreversible {
		if !r.past {
			r.out.line("    %s", r.out.paint(bold, noReturn))
		}
		if err := r.passNoReturn(t.def.Name); err != nil {
			return nil, 0, err
		}
	}
	for attempt := t.firstTry(); ; attempt++ {
		t.attempt, t.calls = attempt, 0
		value, err := r.attempt(ctx, t)
		if err == nil || attempt >= t.lastTry() || ctx.Err() != nil || !retryable(err) {
			return value, attempt, err
		}
		fmt.Fprintf(Output(ctx), "try %d of %d failed: %s; again in %s\n", attempt, t.lastTry(), err, t.def.delay)
		if err := r.event(Event{Kind: StepRetried, Step: t.def.Name, Attempt: attempt, Error: err.Error()}); err != nil {
			return nil, attempt, err
		}
		if !r.rb.book.host.pause(ctx, t.def.delay) {
			return nil, attempt, context.Cause(ctx)
		}
	}
}

// retryable is false for faults that another try cannot mend.
func retryable(err error) bool {
	var internal *InternalError
	var message *luaMessage
	var limit *limitError
	return !errors.As(err, &internal) && !errors.As(err, &message) && !errors.As(err, &limit) && !errors.Is(err, errUnsettled)
}

func (r *runner) attempt(ctx context.Context, t *trial) (any, error) {
	if t.def.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.def.timeout, &timeoutError{after: t.def.timeout})
		defer cancel()
	}
	values, err := r.vm.call(ctx, running, t.def.run, r.c())
	if err != nil {
		return nil, r.veil.error(explained(ctx, err))
	}
	if len(values) == 0 {
		return nil, nil
	}
	kept, err := r.vm.kept(values[0])
	if err != nil {
		return nil, fmt.Errorf("what it returned cannot be kept as a result: %w", err)
	}
	return kept, nil
}

// timeoutError is the cause of a context that a step's timeout has ended.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("took longer than its timeout of %s", e.after)
}

// Is makes errors.Is(err, context.DeadlineExceeded) hold.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// explained puts the reason first when an error is the end of its context.
func explained(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) && err.Error() == cause.Error() {
		return err
	}
	if ctx.Err() != context.DeadlineExceeded && !errors.Is(err, ctx.Err()) {
		return err
	}
	reason := fmt.Errorf("%w (%w)", cause, err)
	if err.Error() == ctx.Err().Error() {
		reason = cause
	}
	return &scriptError{err: reason, where: whereOf(err)}
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
