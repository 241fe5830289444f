package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// defaultUndoTimeout bounds the undo of one step.
const defaultUndoTimeout = 10 * time.Minute

// ErrUndoStopped is why steps are left when RunOptions.StopUndo was closed.
var ErrUndoStopped = errors.New("the undo was stopped")

// giveUp ends a run at a step that failed.
func (r *runner) giveUp(ctx context.Context, def *stepDef, err error) error {
	if overtaken := r.overtaken(ctx, def.Name); overtaken != nil {
		return fmt.Errorf("step %s failed (%v), and nothing is undone: %w", def.Name, err, overtaken)
	}
	if def.Hint != "" && hint.Of(err) == "" {
		err = hint.Wrap(err, "%s", def.Hint)
	}
	failure := &StepError{Runbook: r.rb.Name, Step: def.Name, Err: err, Where: whereOf(err), PastReturn: r.past}
	if r.past {
		r.out.always("    the line of no return is passed: nothing is undone")
		return failure
	}
	if err := r.settleLive(ctx, failure); err != nil {
		return failure
	}
	var inner *StepError
	if errors.As(err, &inner) {
		if !r.hasCalled(def) { // else the journal of that run has told
			failure.Left = append(failure.Left, under(def.Name, inner.Left)...)
			failure.UndoErr = errors.Join(failure.UndoErr, inner.UndoErr)
		}
		failure.TookBack, failure.Leaves = under(def.Name, inner.TookBack), inner.Leaves
	}
	// A run that can no longer be recorded is undone all the same.
	unrecorded := r.event(Event{Kind: GaveUp, Step: def.Name, Error: err.Error()})
	r.takeAllBack(ctx, failure, unrecorded)
	if errors.Is(failure.UndoErr, ErrOvertaken) {
		return fmt.Errorf("step %s failed (%v), and not all of the run was undone: %w", def.Name, err, leave(failure.UndoErr))
	}
	return failure
}

// settleLive settles what is left of nested runs when a run fails. With an error
// nothing is undone, and the failure says why.
func (r *runner) settleLive(ctx context.Context, failure *StepError) error {
	ctx, cancel := r.undoContext(ctx)
	defer cancel()
	err := r.settleNested(ctx, failure)
	switch {
	case errors.Is(err, ErrPastReturn):
		r.out.always("    the line of no return is passed: nothing is undone")
		failure.PastReturn = true
	case err != nil:
		r.out.always("    %s", err)
		failure.Left, failure.UndoErr = r.undoables(), err
	}
	return err
}

// undoables are the steps that are to be undone, the last one first.
func (r *runner) undoables() (names []string) {
	for _, t := range slices.Backward(r.tried) {
		if t.undoable() && !t.refused() {
			names = append(names, t.def.Name)
		}
	}
	return names
}

// hasCalled reports whether a step has called a run that has a journal of its own.
func (r *runner) hasCalled(def *stepDef) bool {
	return slices.ContainsFunc(r.tried, func(t *trial) bool { return t.def == def && len(t.nested) > 0 })
}

// takeAllBack undoes the run, and completes its failure.
func (r *runner) takeAllBack(ctx context.Context, failure *StepError, unrecorded error) {
	failure.Leaves = append(failure.Leaves, r.leaves(ctx)...)
	left, undoErr := r.undo(ctx)
	failure.TookBack = append(failure.TookBack, r.tookBack...)
	failure.Left = append(failure.Left, left...)
	failure.UndoErr = errors.Join(failure.UndoErr, undoErr, unrecorded)
	failure.Undone = len(failure.Left) == 0
}

// leaves asks the steps that have changed something what they leave behind when
// the run fails. One that cannot say is named.
func (r *runner) leaves(ctx context.Context) []string {
	var found []string
	for _, t := range r.tried {
		if t.def.leaves == nil || !t.changed {
			continue
		}
		ctx, cancel := r.undoContext(ctx)
		values, err := r.vm.call(ctx, asking, t.def.leaves, r.c())
		cancel()
		switch {
		case err != nil:
			found = append(found, r.veil.text(fmt.Sprintf("what step %s has left cannot be told: %s", t.def.Name, err)))
		case len(values) > 0 && values[0].Type() == lua.LTString:
			found = append(found, r.veil.text(values[0].String()))
		}
	}
	return found
}

// under names the steps of a runbook within a step.
func under(step string, names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = step + "/" + name
	}
	return out
}

// undo takes back every step that was begun, the last one first, but for one
// that was refused before it changed anything. It gives the
// names of those that it could not take back.
func (r *runner) undo(ctx context.Context) (left []string, err error) {
	var failures []error
	for i := len(r.tried) - 1; i >= 0; i-- {
		t := r.tried[i]
		if !t.undoable() || t.refused() {
			continue
		}
		if r.stopped() {
			left = append(left, t.def.Name)
			failures = append(failures, fmt.Errorf("undo %s: %w", t.def.Name, ErrUndoStopped))
			continue
		}
		if err := r.overtaken(ctx, t.def.Name); err != nil {
			return append(left, t.def.Name), errors.Join(append(failures, err)...)
		}
		rest, err := r.undoStep(ctx, t)
		left = append(left, rest...)
		if err != nil {
			failures = append(failures, fmt.Errorf("undo %s: %w", t.def.Name, err))
			continue
		}
		r.tookBack = append(r.tookBack, t.def.Name)
	}
	return left, errors.Join(failures...)
}

func (r *runner) stopped() bool {
	select {
	case <-r.opts.StopUndo:
		return true
	default:
		return false
	}
}

// undoStep undoes one step: by its own undo, or else by undoing the runbooks
// that ran within it.
func (r *runner) undoStep(ctx context.Context, t *trial) (left []string, err error) {
	r.out.begin("undo "+t.def.Name, "")
	began := r.rb.book.host.now()
	unrecorded := r.event(Event{Kind: UndoBegan, Step: t.def.Name})
	// A run that can no longer be recorded is undone all the same.
	left, err = r.takeBack(ctx, t)
	took := r.rb.book.host.now().Sub(began)
	// Runs within it may have steps that nothing takes back.
	e := Event{Kind: UndoEnded, Step: t.def.Name, Outcome: Undone, Changed: t.def.undo == nil && t.changed}
	if err != nil {
		e.Outcome, e.Error = UndoFailed, err.Error()
		r.out.always("    %s after %s: %s", r.out.paint(red, "failed"), elapsed(took), err)
	} else {
		r.out.end(green, "undone", tookText(took))
	}
	if t.finished {
		r.result.Steps[t.entry].Outcome = e.Outcome
	}
	return left, errors.Join(err, unrecorded, r.event(e))
}

func (r *runner) takeBack(ctx context.Context, t *trial) (left []string, err error) {
	body := r.body(t.def.Name, true)
	defer body.endLine()
	if t.def.undo == nil {
		left, err = r.takeBackNested(ctx, t)
		rest, innerErr := r.takeBackInner(ctx, t, body)
		return append(left, rest...), errors.Join(err, innerErr)
	}
	ctx, cancel := r.undoContext(ctx)
	defer cancel()
	beat, quiet := r.beats(t.def.Name, body)
	defer quiet()
	ctx = withScope(ctx, &scope{out: body, run: r, at: t, undoing: true, beat: beat})
	t.undoCalls = 0
	if _, err := r.vm.call(ctx, reversing, t.def.undo, r.c()); err != nil {
		return []string{t.def.Name}, r.veil.error(explained(ctx, err))
	}
	return nil, nil
}

// undoContext is bounded in time and by StopUndo, and by nothing else: what
// ended the run must not end its undo. The function it gives waits for the
// goroutine.
func (r *runner) undoContext(ctx context.Context) (context.Context, func()) {
	limit := r.opts.UndoTimeout
	timed, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, &timeoutError{after: limit})
	stoppable, stop := context.WithCancelCause(timed)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-r.opts.StopUndo:
			stop(ErrUndoStopped)
		case <-stoppable.Done():
		}
	}()
	return stoppable, func() {
		stop(nil)
		<-watched
		cancel()
	}
}

// undoable reports whether there is a way to take the step back, and need.
func (t *trial) undoable() bool {
	if t.past != nil && t.past.undone {
		return false
	}
	return t.def.undo != nil || len(t.inner) > 0 || len(t.nested) > 0
}

// takeBackInner undoes the runbooks that finished within a step.
func (r *runner) takeBackInner(ctx context.Context, t *trial, body *indenter) (left []string, err error) {
	var failures []error
	for i := len(t.inner) - 1; i >= 0; i-- {
		inner := t.inner[i]
		inner.out.to = newHeading(untold{body}, r.opts.announceAfter)
		rest, err := inner.undo(ctx)
		left = append(left, under(t.def.Name, rest)...)
		failures = append(failures, err)
	}
	return left, errors.Join(failures...)
}
