package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// calledRun is a run with a journal of its own that a step has called.
type calledRun struct {
	NestedRun
	// ended: this process has seen its end, whatever that was.
	ended bool
}

// called notes a nested run as the last one; a call that was made again is on
// the node of the last.
func called(calls []calledRun, call NestedRun) []calledRun {
	return append(slices.DeleteFunc(calls, func(n calledRun) bool { return n.Key == call.Key }), calledRun{NestedRun: call})
}

// callsOf are the nested runs that the step has called, or its undo.
func (t *trial) callsOf(undo bool) *[]calledRun {
	if undo {
		return &t.undoNested
	}
	return &t.nested
}

// nextKey names the next call of a nested run: "3" for the first of step 3 and
// "3-2-1" for that of its second try, "u3" and "u3-2" in its undo, and "f1" in the
// first step of finally.
func (s *scope) nextKey() string {
	t, prefix, steps := s.at, "", s.run.vm.def.steps
	if s.run.closing {
		prefix, steps = "f", s.run.vm.def.finally
	}
	n := slices.Index(steps, t.def) + 1
	if s.undoing {
		if t.undoCalls++; t.undoCalls > 1 {
			return fmt.Sprintf("u%d-%d", n, t.undoCalls)
		}
		return fmt.Sprintf("u%d", n)
	}
	if t.calls++; t.attempt > 1 || t.calls > 1 {
		return fmt.Sprintf("%s%d-%d-%d", prefix, n, t.attempt, t.calls)
	}
	return fmt.Sprintf("%s%d", prefix, n)
}

// CallsRun puts on record that the step which ctx belongs to is about to call
// a run that has a journal of its own. The key is the same for the same call
// when the step is run again after it was interrupted, and again says that it
// was made before. Outside a run the key is empty. The steps of finally are run
// at each end of a run: their keys begin with f, and what an earlier end has left
// under one of them is over.
func CallsRun(ctx context.Context, node, runbook string) (key string, again bool, err error) {
	s := scopeOf(ctx)
	if s.run == nil || s.at == nil {
		return "", false, nil
	}
	key = s.nextKey()
	call := NestedRun{Key: key, Node: node, Runbook: runbook, Undo: s.undoing}
	calls := s.at.callsOf(s.undoing)
	again = slices.ContainsFunc(*calls, func(n calledRun) bool { return n.Key == key })
	*calls = called(*calls, call)
	return key, again, s.run.event(Event{Kind: NestedCalled, Step: s.at.def.Name, Nested: &call})
}

// CallEnded notes that a run which CallsRun has given the key to is known to have
// ended, done or failed: nothing of it is under way any more.
func CallEnded(ctx context.Context, key string) {
	if t := scopeOf(ctx).at; t != nil {
		if i := slices.IndexFunc(t.nested, func(n calledRun) bool { return n.Key == key }); i >= 0 {
			t.nested[i].ended = true
		}
	}
}

// settleNested brings the runs to an end that unfinished steps have called,
// before anything of this run is undone: one of them may have passed the line of
// no return, or be under way still. One that is known to have ended, and cannot be
// undone whole, does not keep the rest from being undone.
func (r *runner) settleNested(ctx context.Context, failure *StepError) error {
	for _, t := range slices.Backward(r.tried) {
		if t.finished || t.refused() || t.past != nil && t.past.undone {
			continue
		}
		for _, nested := range slices.Backward(t.nested) {
			err := r.settleOne(ctx, t, nested.NestedRun)
			switch {
			case err == nil:
			case errors.Is(err, ErrPastReturn):
				return fmt.Errorf("%w: %w", errors.Join(err, r.passNoReturn(t.def.Name)), errUnsettled)
			case !nested.ended:
				return &NestedError{nested.NestedRun, err}
			case t.def.undo != nil: // else it is tried again in its place
				failure.Left = append(failure.Left, leftIn(t, err)...)
				failure.UndoErr = errors.Join(failure.UndoErr, err)
			}
		}
	}
	return nil
}

func (r *runner) settleOne(ctx context.Context, t *trial, nested NestedRun) error {
	if r.opts.SettleNested == nil {
		return errors.New("nobody can ask it")
	}
	body := r.body(t.def.Name, true)
	defer body.endLine()
	beat, quiet := r.beats(t.def.Name, body)
	defer quiet()
	err := r.opts.SettleNested(withScope(ctx, &scope{out: body, run: r, at: t, beat: beat}), nested)
	if err == nil || errors.Is(err, ErrPastReturn) {
		return err
	}
	return r.veil.error(explained(ctx, err))
}

// takeBackNested undoes the runs with journals of their own that a step has
// called.
func (r *runner) takeBackNested(ctx context.Context, t *trial) (left []string, err error) {
	ctx, cancel := r.undoContext(ctx)
	defer cancel()
	for _, nested := range slices.Backward(t.nested) {
		if err := r.settleOne(ctx, t, nested.NestedRun); err != nil {
			return leftIn(t, err), err
		}
	}
	return nil, nil
}

// leftIn names what is left of a step whose nested run could not be undone: the
// steps of that, where they are known.
func leftIn(t *trial, err error) []string {
	var inner *StepError
	if errors.As(err, &inner) && len(inner.Left) > 0 {
		return under(t.def.Name, inner.Left)
	}
	return []string{t.def.Name}
}
