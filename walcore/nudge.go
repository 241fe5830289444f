package walcore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// Nudge tells the servers that wait for the file that it has arrived. Call it
// after the file has its name in the archive. From 9.5 on a standby whose
// restore_command said "not there" sleeps for wal_retrieve_retry_interval; a
// SIGHUP to its startup process wakes it (StartupProcSigHupHandler in
// startup.c sets the latch that WaitForWALToBecomeAvailable sleeps on). That
// process reads the configuration files again on the way.
//
// A server is signalled only when it is certain which process to signal.
// Otherwise it finds the file by itself when its interval is over, so that is
// no error; an error says that what servers wait for could not be read.
func (a *Archive) Nudge(ctx context.Context, name FileName) error {
	return a.NudgeLog(ctx, name, nil)
}

// NudgeLog is Nudge that tells log, unless that is nil, what was done about
// each server and why.
func (a *Archive) NudgeLog(ctx context.Context, name FileName, log func(format string, args ...any)) error {
	if log == nil {
		log = func(string, ...any) {}
	}
	return nudger{hostProcesses, signalProcess, log}.nudge(ctx, a, name)
}

// nudger wakes servers; tests give it a process table and a signal of their own.
type nudger struct {
	procs  processTable
	signal func(confirm func() error, pid int) error
	log    func(format string, args ...any)
}

func (n nudger) nudge(ctx context.Context, a *Archive, name FileName) error {
	all, err := a.Wanted()
	if err != nil {
		return fmt.Errorf("what servers wait for in %s: %w", a.Dir(), err)
	}
	for _, w := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// One that waits within restore_command watches the archive itself,
		// and its startup process cannot act on a signal before that ends.
		if w.Waiting || !w.wants(name) {
			continue
		}
		pid, err := n.wake(w)
		if err != nil {
			n.log("%s has arrived; no signal to the server in %s: %v", name, w.PGData, err)
			continue
		}
		n.log("%s has arrived; woke process %d of the server in %s", name, pid, w.PGData)
	}
	return nil
}

// wake signals the startup process of the server that wrote w.
func (n nudger) wake(w Wanted) (pid int, err error) {
	if err := n.confirmServer(w); err != nil {
		return 0, err
	}
	startup, err := n.startupProcess(w.PID)
	if err != nil {
		return 0, err
	}
	return startup.PID, n.signal(func() error {
		if now, err := n.procs.read(startup.PID); err != nil || now.Parent != startup.Parent || now.StartTicks != startup.StartTicks {
			return fmt.Errorf("process %d is no longer the startup process", startup.PID)
		}
		return n.confirmServer(w)
	}, startup.PID)
}

// confirmServer checks that the run of the server that wrote w still goes on:
// postmaster.pid names it, it started when it says, and it runs in its data
// directory as every postmaster does (ChangeToDataDir in postmaster.c).
func (n nudger) confirmServer(w Wanted) error {
	server, running := n.procs.server(w.PGData)
	if !running {
		return errors.New("it is not running")
	}
	if server != w.Server {
		return errors.New("it was started again since it asked")
	}
	cwd, err := os.Readlink(n.procs.path(server.PID, "cwd"))
	if err != nil {
		return err
	}
	if realPath(cwd) != realPath(w.PGData) {
		return fmt.Errorf("process %d runs in %s", server.PID, cwd)
	}
	return nil
}

// startupTitle is the process title of a startup process: "postgres: startup",
// with "process" up to 10, after the cluster's name where one is set, and what
// it is doing at the moment (ps_status.c, XLogFileRead in xlogrecovery.c). A
// backend of a user called startup has more words.
// It is compiled when it is first needed: each call of restore starts anew.
var startupTitle = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^postgres: (?:.*: )?startup(?: process)?\s*(?:(?:recovering|waiting for) [0-9A-F]{24})?(?: waiting)?$`)
})

// startupProcess is the one child of the postmaster that replays WAL. The
// kernel's list of children (proc_tid_children(5)) costs one read, but may miss
// some while processes come and go, and not every kernel has it; then the whole
// table is searched.
func (n nudger) startupProcess(postmaster int) (procstat.Process, error) {
	found := n.startupAmong(postmaster, n.children(postmaster))
	if len(found) == 0 {
		found = n.startupAmong(postmaster, n.all())
	}
	if len(found) != 1 {
		return procstat.Process{}, fmt.Errorf("%d children of the postmaster %d look like its startup process", len(found), postmaster)
	}
	return found[0], nil
}

func (n nudger) startupAmong(postmaster int, pids []string) []procstat.Process {
	var found []procstat.Process
	for _, word := range pids {
		pid, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		proc, err := n.procs.read(pid)
		if err != nil || proc.Parent != postmaster || proc.Dead() {
			continue
		}
		if title, err := n.procs.title(pid); err == nil && startupTitle().MatchString(title) {
			found = append(found, proc)
		}
	}
	return found
}

func (n nudger) children(postmaster int) []string {
	content, err := os.ReadFile(n.procs.path(postmaster, filepath.Join("task", strconv.Itoa(postmaster), "children")))
	if err != nil {
		return nil
	}
	return strings.Fields(string(content))
}

func (n nudger) all() []string {
	entries, err := os.ReadDir(string(n.procs))
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}

// signalProcess sends SIGHUP through a file descriptor that stands for the
// process, so that it can hit no other one that got the same number. What the
// process is, is confirmed once the descriptor holds it.
func signalProcess(confirm func() error, pid int) (err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := confirm(); err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGHUP, nil, 0); err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}
