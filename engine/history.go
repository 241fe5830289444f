package engine

import (
	"fmt"
	"maps"
	"slices"
)

// History is what the journal tells of a run that has ended early: because its
// process was killed, or because it failed past the line of no return. A run
// with one goes on where that one was. Steps that ended are not run again, and
// their results are there. A step that was interrupted, or failed, is unknown:
// its done_if settles it, and without one it is run again where that is safe,
// because it had called nothing that changes something, or was refused, or says
// itself that it is repeatable. Else the error is an *UnsettledError, and nothing is done. A run
// that was on its way back goes on with its undo.
//
// The arguments of the run must be the ones that it began with.
type History struct {
	// Events are all of its events, in their order.
	Events []Event
	// Done and Again are the operator's word for interrupted steps: this one has
	// done its work, and its result is nil; this one is to be run again.
	Done, Again []string
	// Back gives the run up: what it has done is undone. The error is
	// ErrPastReturn, and nothing is done, when the line of no return was passed.
	Back bool
}

// State is where a run stands.
type State string

// The states.
const (
	// Interrupted: it has not ended, and may still be under way.
	Interrupted State = "interrupted"
	// Succeeded: it came to its end.
	Succeeded State = "done"
	// TakenBack: it failed, and everything that has an undo was undone.
	TakenBack State = "undone"
	// Untouched: it failed, or was refused, before any step was begun.
	Untouched State = "not begun"
	// Halfway: it failed, and something is left to do.
	Halfway State = "stopped halfway"
)

// Summary is what a history comes to.
type Summary struct {
	State State `json:"state"`
	// Step is the last step that was begun, or empty.
	Step string `json:"step,omitempty"`
	// StepEnded: that step has ended.
	StepEnded bool `json:"step_ended,omitempty"`
	// Past: the line of no return was passed.
	Past bool `json:"past_no_return,omitempty"`
	// Back: it was undoing, or has undone.
	Back bool `json:"back,omitempty"`
	// Changed: a step has changed something that was not taken back, or may have.
	Changed bool `json:"changed,omitempty"`
	// Left are the steps that were not undone and should have been.
	Left  []string `json:"left,omitempty"`
	Error string   `json:"error,omitempty"`
}

// Summary reads the events of the run itself.
func (h History) Summary() Summary {
	s := Summary{State: Interrupted}
	began := false
	changed := map[string]bool{}
	for _, e := range h.own() {
		switch e.Kind {
		case RunResumed:
			s.State, s.Error, s.Left = Interrupted, "", nil
		case StepBegan:
			s.Step, s.StepEnded, began = e.Step, false, true
		case ChangeBegan, NestedCalled:
			changed[e.Step] = true
		case StepEnded:
			s.StepEnded, changed[e.Step] = true, e.Changed
		case UndoEnded:
			changed[e.Step] = changed[e.Step] && (e.Outcome != Undone || e.Changed)
		case NoReturnPassed:
			s.Past = true
		case GaveUp:
			s.Back = true
		case RunEnded:
			s.State, s.Error, s.Left = endState(e, s.Past, began), e.Error, e.Left
		}
	}
	s.Changed = slices.Contains(slices.Collect(maps.Values(changed)), true)
	return s
}

func endState(e Event, past, began bool) State {
	switch {
	case e.Outcome == Done:
		return Succeeded
	case past || len(e.Left) > 0:
		return Halfway
	case !began:
		return Untouched
	}
	return TakenBack
}

// goesBack reports whether a run with this history is to be undone.
func (h *History) goesBack() bool {
	if h == nil {
		return false
	}
	s := h.Summary()
	return !s.Past && (h.Back || s.Back)
}

// own are the events of the run itself, without those of runs within its steps
// that have no journal of their own.
func (h History) own() []Event {
	return slices.DeleteFunc(slices.Clone(h.Events), func(e Event) bool { return e.Runbook != h.Events[0].Runbook })
}

// pastStep is what the journal tells of a step that was begun.
type pastStep struct {
	// begun is false where only its when failed, or the operator said no.
	begun   bool
	outcome Outcome // empty: it was interrupted
	value   any
	fn      string // what it was calling that changes something
	tries   int    // that ended
	undone  bool
}

// recalled is a History in the terms of one Lua state. Its methods may be
// called on nil, which recalls nothing.
type recalled struct {
	steps  map[string]*trial // those that were begun, or ended without that
	done   []string
	back   bool
	reason string // why the run was given up
	at     string // the step at which
}

func (b *recalled) trial(step string) *trial {
	if b == nil {
		return nil
	}
	return b.steps[step]
}

func (b *recalled) begun(step string) bool { return b.trial(step).wasBegun() }

// wasBegun reports whether the step was begun before the run was interrupted:
// its when and its question were answered then. It may be called on nil.
func (t *trial) wasBegun() bool { return t != nil && t.past != nil && t.past.begun }

// ended reports whether a step needs not be run any more.
func (b *recalled) ended(step string) bool {
	t := b.trial(step)
	return t != nil && t.finished
}

// recall takes over what the journal tells. The error is an *UnsettledError or
// ErrPastReturn.
func (r *runner) recall(h *History) error {
	r.before = &recalled{steps: map[string]*trial{}, done: h.Done}
	for _, e := range h.own() {
		if err := r.recallEvent(e); err != nil {
			return err
		}
	}
	for _, def := range r.vm.def.steps {
		if t := r.before.steps[def.Name]; t != nil {
			r.recallEnd(t)
		}
	}
	if h.Back && r.past {
		return ErrPastReturn
	}
	r.before.back = !r.past && (r.before.back || h.Back)
	if r.before.back {
		return nil
	}
	if err := r.settleable(h); err != nil {
		return err
	}
	return r.canAsk() // before anything is on record
}

// recallEnd makes a step that ended part of the result. One that was
// interrupted before it called anything has changed nothing.
func (r *runner) recallEnd(t *trial) {
	if !t.finished {
		t.turnedDown = t.turnedDown || t.past.outcome == "" && !t.changed
		return
	}
	r.results[t.def.Name] = t.past.value
	r.result.Steps = append(r.result.Steps, StepResult{Name: t.def.Name, Outcome: t.past.outcome, Value: t.past.value})
	t.entry = len(r.result.Steps) - 1
}

func (r *runner) recallEvent(e Event) error {
	switch e.Kind {
	case NoReturnPassed:
		r.past = true
	case GaveUp:
		r.before.back, r.before.reason, r.before.at = true, e.Error, e.Step
	case StepBegan, StepRetried, ChangeBegan, NestedCalled, StepEnded, UndoEnded:
		t, err := r.recallStep(e)
		if err != nil {
			return err
		}
		if e.Kind == StepBegan && !t.past.begun {
			r.tried = append(r.tried, t)
		}
		t.recall(e)
		switch {
		case e.Kind != StepEnded || e.Outcome != Failed:
		case e.Warned:
			t.finished = true // the run went on
		case !r.past:
			r.before.back, r.before.reason, r.before.at = true, e.Error, e.Step
		}
	}
	return nil
}

func (r *runner) recallStep(e Event) (*trial, error) {
	if t := r.before.steps[e.Step]; t != nil {
		return t, nil
	}
	for _, def := range r.vm.def.steps {
		if def.Name == e.Step {
			t := &trial{def: def, past: &pastStep{}}
			r.before.steps[e.Step] = t
			return t, nil
		}
	}
	return nil, fmt.Errorf("the journal tells of a step %s, and runbook %s has none", e.Step, r.rb.Name)
}

func (t *trial) recall(e Event) {
	p := t.past
	switch e.Kind {
	case StepBegan:
		p.begun, p.outcome, t.turnedDown = true, "", false
	case StepRetried:
		p.tries = e.Attempt
	case ChangeBegan:
		p.fn, t.recorded, t.changed = e.Func, true, true
	case NestedCalled:
		t.changed = true
		*t.callsOf(e.Nested.Undo) = called(*t.callsOf(e.Nested.Undo), *e.Nested)
	case StepEnded:
		p.outcome, p.value = e.Outcome, e.Value
		t.finished, t.changed, t.turnedDown = e.Outcome != Failed, e.Changed, e.Refused
	case UndoEnded:
		p.undone = p.undone || e.Outcome == Undone
	}
}
