package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// The exit codes of every command but restore, which has its own contract with
// the server.
const (
	exitDone     = 0
	exitFailed   = 1 // nothing changed, or all of it was undone
	exitUsage    = 2
	exitNotThere = 3
	exitOperator = 4 // stopped halfway: the hint is the command to type
	exitLocked   = 5 // another run holds the lock
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// lockedError is a run that found another one in its way.
type lockedError struct{ error }

func (e lockedError) Unwrap() error { return e.error }

// remoteError is what `warmrun call` reported on another node.
type remoteError struct {
	message string
	code    int
}

func (e *remoteError) Error() string { return e.message }

// exitCode maps an error to the program's exit code: the only place that does.
func exitCode(err error) int {
	var usage usageError
	var locked lockedError
	var remote *remoteError
	var step *engine.StepError
	var param *engine.ParamError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.As(err, &param):
		return exitUsage
	case errors.As(err, &step) && (step.PastReturn || len(step.Left) > 0):
		return exitOperator
	case errors.As(err, &locked):
		return exitLocked
	case errors.As(err, &remote) && remote.code != 0:
		return remote.code
	case errors.Is(err, walcore.ErrNotThere), errors.Is(err, walcore.ErrNotArchived):
		return exitNotThere
	}
	return exitFailed
}

// describe splits an error into its one line and its hint. What the file system
// refuses is explained here, where the file is.
func describe(err error) (message, next string) {
	return fmt.Sprint(err), cmp.Or(hint.Of(err), hint.File(err))
}
