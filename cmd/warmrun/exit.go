package main

import (
	"cmp"
	"errors"
	"strings"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/ship"
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
	var absent absentError
	var param *engine.ParamError
	var halfway halfwayError
	var plugin pluginError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &plugin):
		return int(plugin.level)
	case errors.As(err, &step) && (step.PastReturn || len(step.Left) > 0), errors.As(err, &halfway):
		return exitOperator
	case errors.As(err, &usage), errors.As(err, &param):
		return exitUsage
	case errors.As(err, &locked):
		return exitLocked
	case step == nil && staysHalfway(err):
		return exitOperator
	case errors.As(err, &remote) && remote.code != 0 && remote.code <= exitLocked:
		return remote.code // not that of a program which was killed, 137
	case errors.As(err, &absent), errors.Is(err, walcore.ErrNotThere), errors.Is(err, walcore.ErrNotArchived), errors.Is(err, ship.ErrNoShipper):
		return exitNotThere
	}
	return exitFailed
}

// staysHalfway reports whether a run that has done something stays as it was,
// because it cannot go the way that was asked for.
func staysHalfway(err error) bool {
	var unsettled *engine.UnsettledError
	var nested *engine.NestedError
	return errors.As(err, &unsettled) || errors.As(err, &nested) || errors.Is(err, engine.ErrPastReturn)
}

// oneLine is an error's text without line breaks.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// joined tells several errors in one line. What is indented, as the words of a server
// log are, keeps its lines.
func joined(err error) string {
	lines := strings.Split(err.Error(), "\n")
	text := lines[0]
	for _, line := range lines[1:] {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			text += "\n" + line
		} else {
			text += "; " + line
		}
	}
	return text
}

// toldElsewhere is an error of which whoever has started this program tells.
type toldElsewhere struct{ error }

// describe splits an error into its one line and its hint. What the file system
// refuses is explained here, where the file is.
func describe(err error) (message, next string) {
	var negative negativeError
	var plugin pluginError
	var told toldElsewhere
	if errors.As(err, &negative) || errors.As(err, &plugin) || errors.As(err, &told) {
		return "", ""
	}
	return joined(err), cmp.Or(hint.Of(err), hint.File(err))
}
