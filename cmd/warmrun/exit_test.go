package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// TestExitCodes: a run that stays halfway is 4, whatever has stopped it.
func TestExitCodes(t *testing.T) {
	param := &engine.ParamError{Param: "x", Err: errors.New("no such flag")}
	check := &engine.CheckError{Runbook: "inner"}
	unsettled := engine.NotBegun(&engine.UnsettledError{Runbook: "demo", Step: "one", Func: "shell.run"})
	nested := &engine.NestedError{Run: engine.NestedRun{Runbook: "inner", Node: "db2"}, Err: errors.New("no answer")}
	undone := func(err error) error { return &engine.StepError{Step: "a", Err: err, Undone: true} }
	left := func(err error) error {
		return &engine.StepError{Step: "b", Err: err, Left: []string{"a"}, UndoErr: errors.New("disk full")}
	}
	for _, test := range []struct {
		err  error
		code int
		hint string
	}{
		{param, exitUsage, "nothing was done; see: warmrun demo --help"},
		{check, exitFailed, "nothing was changed"},
		{undone(check), exitFailed, "mend the cause and run it again"},
		{left(param), exitOperator, "not undone: a (disk full)"},
		{left(usageError{errors.New("a plan made elsewhere")}), exitOperator, "not undone: a (disk full)"},
		{left(check), exitOperator, "not undone: a (disk full)"},
		{&engine.StepError{Step: "b", Err: param, PastReturn: true}, exitOperator, "to go on where it stopped: warmrun runs resume run"},
		{unsettled, exitOperator, "warmrun runs resume run --done one"},
		{undone(unsettled), exitFailed, ""},
		{fmt.Errorf("run run: %w", engine.ErrPastReturn), exitOperator, "warmrun runs resume run"},
		{nested, exitOperator, "then repeat: warmrun runs rollback run"},
		{undone(&remoteError{"ship-back on db2: exit status 137", 137}), exitFailed, ""},
		{undone(&remoteError{"flushPrimary on db1: held", exitLocked}), exitLocked, ""},
		{hint.Wrap(lockedError{errors.New("held")}, "wait"), exitLocked, "wait"},
	} {
		err := explainGoOn(test.err, runRecord{Head: runHead{ID: "run", Runbook: "demo"}})
		if code := exitCode(err); code != test.code || !strings.Contains(hint.Of(err), test.hint) {
			t.Errorf("%v: exit status %d, hint %q, want %d and %q", test.err, code, hint.Of(err), test.code, test.hint)
		}
	}
}

// TestErrorOfSeveral: what was joined is one line; the server's own words below an
// error keep theirs.
func TestErrorOfSeveral(t *testing.T) {
	for want, err := range map[string]error{
		"step flush: broken; interrupted":        fmt.Errorf("step flush: %w", errors.Join(errors.New("broken"), errors.New("interrupted"))),
		"it did not come up\n  FATAL: no\n  LOG": errors.New("it did not come up\n  FATAL: no\n  LOG"),
	} {
		if got, _ := describe(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
