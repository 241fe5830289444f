package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrPastReturn is why a run cannot be undone: the line of no return was passed.
var ErrPastReturn = errors.New("the line of no return was passed, and the run can only go forward")

// errUnsettled is in errors that leave the journal of a run as it is.
var errUnsettled = errors.New("the run stays as it was")

// UnsettledError is a step that was interrupted, and of which nobody knows how
// far it had come. Nothing was done.
type UnsettledError struct {
	Runbook, Step string
	// Func is what it had begun to call.
	Func string
}

func (e *UnsettledError) Error() string {
	return fmt.Sprintf("step %s was interrupted after it had called %s, and whether it has done its work is unknown", e.Step, e.Func)
}

// settleable refuses to go on where an interrupted step cannot be settled.
func (r *runner) settleable(h *History) error {
	for _, named := range [][]string{h.Done, h.Again} {
		for _, step := range named {
			if t := r.before.trial(step); t == nil || t.finished {
				return fmt.Errorf("step %s of %s was not interrupted", step, r.rb.Name)
			}
		}
	}
	for _, t := range r.tried {
		known := t.past.outcome != "" || t.past.fn == "" || t.def.doneIf != nil || t.def.Repeatable || t.def.Retries > 0
		if !known && !slices.Contains(h.Done, t.def.Name) && !slices.Contains(h.Again, t.def.Name) {
			return &UnsettledError{Runbook: r.rb.Name, Step: t.def.Name, Func: t.past.fn}
		}
	}
	return nil
}

// settledAgain is settled for a step that was begun before: its when and its
// question have been answered.
func (r *runner) settledAgain(ctx context.Context, t *trial) (Outcome, any, error) {
	if slices.Contains(r.before.done, t.def.Name) {
		return Done, nil, nil
	}
	if t.def.doneIf == nil {
		return "", nil, nil
	}
	done, value, err := r.condition(ctx, t.def, "done_if", t.def.doneIf)
	if err != nil || !done {
		return "", nil, err
	}
	kept, err := r.vm.kept(value)
	return Done, kept, err
}

// firstTry is the number of a step's first try in this process: the one that
// was interrupted.
func (t *trial) firstTry() int {
	if t.past == nil {
		return 1
	}
	return t.past.tries + 1
}

// lastTry is the number of its last one. A step that had failed gets all of its
// tries once more.
func (t *trial) lastTry() int {
	if t.past != nil && t.past.outcome == Failed {
		return t.firstTry() + t.def.Retries
	}
	return 1 + t.def.Retries
}

// goBack undoes a run that was given up before.
func (r *runner) goBack(ctx context.Context) error {
	if err := r.settleNested(ctx); err != nil {
		return err
	}
	reason := r.before.reason
	if reason == "" {
		reason = "given up"
	}
	failure := &StepError{Runbook: r.rb.Name, Step: r.before.at, Err: errors.New(reason)}
	if failure.Step == "" && len(r.tried) > 0 {
		failure.Step = r.tried[len(r.tried)-1].def.Name
	}
	if err := r.overtaken(ctx, failure.Step); err != nil {
		return err
	}
	unrecorded := r.event(Event{Kind: GaveUp, Step: failure.Step, Error: reason})
	r.takeAllBack(ctx, failure, unrecorded)
	if errors.Is(failure.UndoErr, ErrOvertaken) {
		return leave(failure.UndoErr)
	}
	return failure
}

// settleNested brings the runs to an end that interrupted steps have called,
// before anything of this run is undone: one of them may have passed the line of
// no return, or be under way still.
func (r *runner) settleNested(ctx context.Context) error {
	for i := len(r.tried) - 1; i >= 0; i-- {
		t := r.tried[i]
		if t.finished || t.past.undone {
			continue
		}
		for _, nested := range slices.Backward(t.past.nested) {
			err := r.settleOne(ctx, t, nested)
			if errors.Is(err, ErrPastReturn) {
				if err := r.passNoReturn(t.def.Name); err != nil {
					return err
				}
				return fmt.Errorf("%w: %w", err, errUnsettled)
			}
			if err != nil {
				return fmt.Errorf("what %s on %s has done cannot be undone, and nothing else was: %w: %w", nested.Runbook, nested.Node, err, errUnsettled)
			}
		}
	}
	return nil
}

func (r *runner) settleOne(ctx context.Context, t *trial, nested NestedRun) error {
	if r.opts.SettleNested == nil {
		return errors.New("nobody can ask it")
	}
	body := newIndenter(&lenient{to: r.out.to}, "    ")
	defer body.endLine()
	return r.opts.SettleNested(withScope(ctx, &scope{out: body, run: r, at: t}), nested)
}

// takeBackNested undoes the runs that a step has called before the run was
// interrupted.
func (r *runner) takeBackNested(ctx context.Context, t *trial, body *indenter) (left []string, err error) {
	ctx, cancel := r.undoContext(ctx)
	defer cancel()
	for _, nested := range slices.Backward(t.past.nested) {
		if err := r.settleOne(ctx, t, nested); err != nil {
			return []string{t.def.Name}, r.withoutSecrets(explained(ctx, err))
		}
	}
	return r.takeBackInner(ctx, t, body)
}

// undoable reports whether there is a way to take the step back, and need.
func (t *trial) undoable() bool {
	if t.past != nil && t.past.undone {
		return false
	}
	return t.def.undo != nil || len(t.inner) > 0 || t.past != nil && len(t.past.nested) > 0
}

// CallsRun puts on record that the step which ctx belongs to is about to call
// a run that has a journal of its own. The key is the same for the same call
// when the step is run again after it was interrupted, and again says that it
// was made before. Outside a run the key is empty.
func CallsRun(ctx context.Context, node, runbook string) (key string, again bool, err error) {
	s := scopeOf(ctx)
	if s.run == nil || s.at == nil {
		return "", false, nil
	}
	s.at.calls++
	key = fmt.Sprint(slices.Index(s.run.vm.def.steps, s.at.def) + 1)
	if s.at.attempt > 1 || s.at.calls > 1 {
		key = fmt.Sprintf("%s-%d-%d", key, s.at.attempt, s.at.calls)
	}
	call := NestedRun{Key: key, Node: node, Runbook: runbook}
	if p := s.at.past; p != nil {
		again = slices.ContainsFunc(p.nested, func(n NestedRun) bool { return n.Key == key })
		p.called(call)
	}
	return key, again, s.run.event(Event{Kind: NestedCalled, Step: s.at.def.Name, Nested: &call})
}
