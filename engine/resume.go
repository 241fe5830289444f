package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrPastReturn is why a run cannot be undone: the line of no return was passed.
var ErrPastReturn = errors.New("the line of no return was passed, and the run can only go forward")

// errUnsettled is in errors that leave a run open: nothing of it was undone.
var errUnsettled = errors.New("the run stays as it was")

// StaysOpen reports whether a run that has ended with an error is not over: what it
// would take to undo it, or to go on with it, is not known yet.
func StaysOpen(err error) bool { return unsettled(err) }

// unsettled reports whether a run stays open, for what it is refused for or for
// what keeps it from being undone.
func unsettled(err error) bool {
	var step *StepError
	return errors.Is(err, errUnsettled) || errors.As(err, &step) && errors.Is(step.UndoErr, errUnsettled)
}

// UnsettledError is a step that was interrupted, or failed past the line of no
// return, and of which nobody knows how far it had come. Nothing was done.
type UnsettledError struct {
	Runbook, Step string
	// Func is what it had begun to call. Empty: the step was not interrupted, and
	// the operator has said what has become of it.
	Func string
	// Failed: it was not interrupted. An answer that was lost makes a step fail,
	// too.
	Failed bool
}

func (e *UnsettledError) Error() string {
	if e.Func == "" {
		return fmt.Sprintf("step %s of %s was not interrupted", e.Step, e.Runbook)
	}
	how := "was interrupted"
	if e.Failed {
		how = "failed"
	}
	return fmt.Sprintf("step %s %s after it had called %s, and whether it has done its work is unknown", e.Step, how, e.Func)
}

// Unwrap makes it an error that leaves the journals of the runs around it as they
// are, too.
func (e *UnsettledError) Unwrap() error { return errUnsettled }

// NestedError is a run within an interrupted step that cannot be undone now.
// Nothing else of the run around it was undone, and that one stays as it was.
type NestedError struct {
	Run NestedRun
	Err error
}

func (e *NestedError) Error() string {
	return fmt.Sprintf("what %s on %s has done cannot be undone, and nothing else was: %s", e.Run.Runbook, e.Run.Node, e.Err)
}

func (e *NestedError) Unwrap() []error { return []error{e.Err, errUnsettled} }

// settleable refuses to go on where an unfinished step cannot be settled.
func (r *runner) settleable(h *History) error {
	for _, named := range [][]string{h.Done, h.Again} {
		for _, step := range named {
			if t := r.before.trial(step); !t.wasBegun() || t.finished {
				return &UnsettledError{Runbook: r.rb.Name, Step: step}
			}
		}
	}
	for _, t := range r.tried {
		known := t.finished || t.refused() || t.past.fn == "" || t.def.doneIf != nil || t.def.Repeatable || t.def.Retries > 0
		if !known && !slices.Contains(h.Done, t.def.Name) && !slices.Contains(h.Again, t.def.Name) {
			return &UnsettledError{Runbook: r.rb.Name, Step: t.def.Name, Func: t.past.fn, Failed: t.past.outcome == Failed}
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
	if err := r.settleNested(ctx, failure); err != nil {
		return err
	}
	unrecorded := r.event(Event{Kind: GaveUp, Step: failure.Step, Error: reason})
	r.takeAllBack(ctx, failure, unrecorded)
	if errors.Is(failure.UndoErr, ErrOvertaken) {
		return leave(failure.UndoErr)
	}
	return failure
}
