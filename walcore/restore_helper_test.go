package walcore

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// helperOptions is what a restore_command of these tests is told.
type helperOptions struct {
	Archive string
	Wait    bool
	// PgStandby answers as pg_standby, which always waits.
	PgStandby bool
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
	fmt.Fprintln(os.Stderr, "restore helper was asked for", flag.Arg(0))
	ctx, stop := catchSignals()
	defer stop() // not before: until the end no SIGQUIT may exit with 2
	exit := RestoreExit
	if o.PgStandby {
		exit = PgStandbyExit
		err = pgStandbyHelper(ctx, o.Archive)
	} else {
		err = Restore(ctx, RestoreRequest{
			Name: FileName(flag.Arg(0)), Target: flag.Arg(1), Redo: FileName(flag.Arg(2)),
			PGData: ".", Archive: o.Archive, Trigger: "trigger", Wait: o.Wait, Cleanup: true, Out: os.Stderr,
		})
	}
	if errors.Is(err, ErrTerminated) {
		dieBySIGTERM()
	}
	if err != nil && !errors.Is(err, ErrNotThere) {
		fmt.Fprintf(os.Stderr, "restore helper: error: %v\nrestore helper: hint: %s\n", err, hint.Of(err))
	}
	os.Exit(exit(err, kind))
}

func pgStandbyHelper(ctx context.Context, archive string) error {
	options, err := ParsePgStandby(append([]string{"-d", "-s", "1", "-t", "trigger", archive}, flag.Args()...))
	if err != nil {
		return err
	}
	return PgStandby(ctx, options, RestoreRequest{PGData: ".", Out: os.Stderr})
}

// catchSignals is a context that ends with the first signal by which a server
// stops its restore_command: SIGTERM, or SIGQUIT for an immediate stop, on
// which a Go program would exit with 2.
func catchSignals() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
}

// dieBySIGTERM ends the process as the server expects of a command that it
// stopped. It is SIGTERM whatever the signal was: SIGQUIT would make a Go
// program exit with 2, and SIGINT is ignored below a server that was started
// in the background of a shell.
func dieBySIGTERM() {
	signal.Reset(syscall.SIGTERM)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err == nil {
		<-time.After(5 * time.Second) // it is on its way
	}
}
