package engine

import (
	"fmt"
	"strings"
)

// ParamError is a wrong argument: nothing has been started.
type ParamError struct {
	// Param is the parameter's name as it was given.
	Param string
	Err   error
}

func (e *ParamError) Error() string { return e.Err.Error() }
func (e *ParamError) Unwrap() error { return e.Err }

// CheckFailure is one check that did not pass.
type CheckFailure struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Err     error  `json:"-"`
}

// CheckError says which checks failed. Nothing has been changed.
type CheckError struct {
	Runbook string
	Total   int
	Failed  []CheckFailure
}

func (e *CheckError) Error() string {
	var parts []string
	for i, f := range e.Failed {
		if i > 0 && f.Message == e.Failed[i-1].Message {
			continue // several checks stumble over the same
		}
		part := f.Name
		if f.Message != f.Name {
			part += ": " + f.Message
		}
		parts = append(parts, part)
	}
	if len(e.Failed) == 1 {
		return "check failed: " + parts[0]
	}
	return fmt.Sprintf("%d of %d checks failed: %s", len(e.Failed), e.Total, strings.Join(parts, "; "))
}

// Unwrap gives the errors that the checks raised.
func (e *CheckError) Unwrap() []error {
	var errs []error
	for _, f := range e.Failed {
		if f.Err != nil {
			errs = append(errs, f.Err)
		}
	}
	return errs
}

// StepError is a run that failed in a step.
type StepError struct {
	Runbook string
	Step    string
	Err     error
	// Undone is true when every step that had an undo was undone.
	Undone bool
	// Left are the steps that should have been undone and were not, in the
	// order in which they must be undone.
	Left []string
	// UndoErr says why they were not.
	UndoErr error
	// TookBack are the steps that were undone, in the order in which they were.
	TookBack []string
	// Leaves says what the run has left behind that no undo takes back: a
	// sentence for each, from the steps' leaves.
	Leaves []string
	// PastReturn is true when the line of no return had been passed: nothing
	// was undone then, and the way is forward.
	PastReturn bool
	// Where is the file and line in the runbook, or empty.
	Where string
}

func (e *StepError) Error() string {
	return fmt.Sprintf("step %s: %s", e.Step, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// InternalError is a fault of this program, not of a runbook: a panic of Go
// behind a function. A script cannot catch it.
type InternalError struct {
	// Func is the function that panicked, Where the line that called it.
	Func, Where string
	Value       any
	Stack       []byte
}

func (e *InternalError) Error() string {
	text := fmt.Sprintf("internal error in %s: %v", e.Func, e.Value)
	if e.Where != "" {
		text += " (called from " + e.Where + ")"
	}
	return text
}
