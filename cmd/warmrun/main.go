// The Go runtime looks for CPU limits of a container when a program begins, which
// is a good part of what a call for one WAL file costs; without, a limited
// container runs as many threads as the machine has CPUs.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command warmrun keeps PostgreSQL warm standbys: it archives and restores
// WAL, makes base copies and runs the procedures that change the state of a
// cluster, each of them a Lua runbook.
//
// It is called by the server itself (archive_command and restore_command), by
// cron on the disaster recovery relay, by other nodes over ssh, and by people.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// version is set by the Makefile.
var version = "development"

func main() {
	keepFilesToOurselves()
	p := &process{
		name: filepath.Base(os.Args[0]), args: os.Args[1:],
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
	}
	os.Exit(p.run())
}

// keepFilesToOurselves sees to it that no program we start inherits a file that
// we were given, but for the three streams: a server or a shipper that stays would
// keep the lock of a cron job (flock(1)), or the end of somebody's pipe, for days.
func keepFilesToOurselves() {
	if unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) != nil {
		keepEachToOurselves()
	}
}

// keepEachToOurselves does so on a kernel before 5.11, or in a container that
// forbids the system call.
func keepEachToOurselves() {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// process is one invocation of the program: what it was called, with what, and
// the three streams it may use.
type process struct {
	name string
	args []string
	in   io.Reader
	out  io.Writer
	err  io.Writer
	// stopUndo is closed by the second signal.
	stopUndo chan struct{}
	// events prints what happens in runs for programs; nil for people.
	events *runEvents
	// around is where the process runs, once that has been looked up.
	around *cluster.Surroundings
}

// run decides what was asked for, does it, and returns the exit code.
func (p *process) run() int {
	p.name, p.args = realCommand(p.name, p.args)
	if guarded := restoring(p.args); guarded {
		return p.runRestoring()
	}
	ctx, stop := p.watchSignals()
	defer stop()
	return p.report(p.dispatch(ctx))
}

// errInterrupted is why a run ends when somebody sends it a signal.
var errInterrupted = errors.New("interrupted")

// watchSignals cancels the context on the first signal, which makes a runbook
// undo what it has done, and closes stopUndo on the second. A terminal that goes
// away is such a signal, unless the process was told to outlive it (nohup).
func (p *process) watchSignals() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	p.stopUndo = make(chan struct{})
	done := make(chan struct{})
	go func() {
		for seen := 0; seen < 2; seen++ {
			select {
			case <-done:
				return
			case <-signals:
			}
			if seen == 0 {
				cancel(errInterrupted)
				continue
			}
			close(p.stopUndo)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// realCommand maps the names of 2warm's scripts, under which the binary is
// linked in a 2warm tree, to our own commands.
func realCommand(name string, args []string) (string, []string) {
	switch name {
	case "archiveWALFile":
		return name, append([]string{"archive"}, args...)
	case "restoreWALFile":
		return name, append([]string{"restore", "--wait"}, args...)
	case "configSetup":
		return name, []string{"env"}
	case "distrib2warm":
		return name, append([]string{"distrib"}, args...)
	case "pg_standby", "configStandby", "copyToStandby", "copyToDR", "flushPrimary", "triggerStandby", "rsyncDR":
		return name, append([]string{name}, args...)
	}
	return name, args
}

// surroundings reads --home and --pgdata, which may stand anywhere on the
// command line, and everything else that decides where the site is.
func (p *process) surroundings(g globals) cluster.Surroundings {
	if p.around == nil {
		here := cluster.Here("", "")
		p.around = &here
	}
	around := *p.around
	around.Home, around.PGData = g.Home, g.PGData
	return around
}

// errorMark and hintMark begin the two lines in which every error is told.
const (
	errorMark = "warmrun: error: "
	hintMark  = "warmrun: hint: "
)

// report prints an error in the house's voice and returns its exit code.
func (p *process) report(err error) int {
	if err == nil {
		return 0
	}
	message, next := describe(err)
	out := foldTo(p.err)
	if message != "" {
		fmt.Fprintf(out, "%s%s\n", errorMark, message)
	}
	if next != "" {
		fmt.Fprintf(out, "%s%s\n", hintMark, next)
	}
	return exitCode(err)
}
