package walcore

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// helperOptions is what a restore_command of these tests is told.
type helperOptions struct {
	Archive string
	Wait    bool
}

// TestRestoreHelper is the restore_command of the servers in these tests; run
// as an ordinary test it does nothing. It does what a main program must:
// decide on the kind of recovery first, and end by SIGTERM when told to.
func TestRestoreHelper(*testing.T) {
	options := os.Getenv("WARMRUN_RESTORE_HELPER")
	if options == "" {
		return
	}
	kind, err := DetectRecovery(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "restore helper:", err)
	}
	var o helperOptions
	if err := json.Unmarshal([]byte(options), &o); err != nil || flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "restore helper:", err, flag.Args())
		os.Exit(RestoreExit(errors.New("usage"), kind))
	}
	ctx, caught := catchSignals()
	err = Restore(ctx, RestoreRequest{
		Name: FileName(flag.Arg(0)), Target: flag.Arg(1), Redo: FileName(flag.Arg(2)),
		PGData: ".", Archive: o.Archive, Trigger: "trigger", Wait: o.Wait, Cleanup: true, Out: os.Stderr,
	})
	if errors.Is(err, ErrTerminated) {
		dieBy(*caught.Load())
	}
	if err != nil && !errors.Is(err, ErrNotThere) {
		fmt.Fprintf(os.Stderr, "restore helper: error: %v\nrestore helper: hint: %s\n", err, hint.Of(err))
	}
	os.Exit(RestoreExit(err, kind))
}

// catchSignals is a context that ends with the first signal by which a server
// stops its restore_command: SIGTERM, or SIGQUIT for an immediate stop, on
// which a Go program would exit with 2.
func catchSignals() (context.Context, *atomic.Pointer[syscall.Signal]) {
	ctx, cancel := context.WithCancel(context.Background())
	var caught atomic.Pointer[syscall.Signal]
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	go func() {
		sig := (<-signals).(syscall.Signal)
		caught.Store(&sig)
		cancel()
	}()
	return ctx, &caught
}

// dieBy ends the process by a signal. One that dies by SIGQUIT leaves a core
// dump, so SIGINT stands for it, as in pg_standby.
func dieBy(sig syscall.Signal) {
	if sig == syscall.SIGQUIT {
		sig = syscall.SIGINT
	}
	signal.Reset(sig)
	if err := syscall.Kill(os.Getpid(), sig); err == nil {
		select {}
	}
}
