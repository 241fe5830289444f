package engine

import (
	"errors"
	"slices"
)

// notBegunError is a failure that has changed nothing.
type notBegunError struct{ error }

func (e *notBegunError) Unwrap() error { return e.error }

// NotBegun marks the error of a function that has refused before it changed
// anything. Where that is all that a step has called, the step is not undone:
// its undo would take back what somebody else has done. Run marks its own
// errors so when no step of the run has changed anything. A nil err stays nil.
func NotBegun(err error) error {
	if err == nil {
		return nil
	}
	return &notBegunError{err}
}

// HasBegun reports whether what failed with err may have changed something. It
// is true unless every cause of err was marked by NotBegun: what is not known
// may have happened. A mark within a step that failed says nothing of the steps
// before it.
func HasBegun(err error) bool {
	switch e := err.(type) {
	case nil, *StepError:
		return true
	case *notBegunError:
		return false
	case interface{ Unwrap() []error }:
		causes := e.Unwrap()
		return len(causes) == 0 || slices.ContainsFunc(causes, HasBegun)
	}
	return HasBegun(errors.Unwrap(err))
}

// refused reports whether the step failed without having changed anything, by
// the word of what it called.
func (t *trial) refused() bool { return t.turnedDown && !t.changed }

// begun reports whether a step of the run may have changed something.
func (r *runner) begun() bool {
	for _, t := range r.tried {
		if t.changed || !t.finished && !t.refused() {
			return true
		}
	}
	return false
}
