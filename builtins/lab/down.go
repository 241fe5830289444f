package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// How long parts of the lab may take to end before they are killed.
const (
	stopPatience  = 10 * time.Second
	closePatience = 60 * time.Second
)

// Close stops every server and ssh server, ends what else runs from the lab's
// directory, and removes the directory. It does its work also when ctx has
// ended, within a minute.
func (l *Lab) Close(ctx context.Context) error {
	for _, server := range l.servers {
		server.Close()
	}
	err := remove(ctx, State{Dir: l.Dir, PGBin: l.PGBin, Nodes: l.Nodes})
	if l.stopReaping != nil {
		l.stopReaping()
	}
	return err
}

// Cut makes a node as good as gone: its ssh server ends, and its server is
// killed.
func (l *Lab) Cut(ctx context.Context, name string) error {
	if server, ok := l.servers[name]; ok {
		server.Close()
	}
	return l.Kill(ctx, name)
}

// DropConnections breaks all ssh connections to all nodes, as a network does that
// goes away for a moment: new ones are accepted at once.
func (l *Lab) DropConnections() {
	for _, server := range l.servers {
		server.Drop()
	}
}

// Kill ends a node's server as a crash does: SIGKILL to the postmaster, whose
// children then go by themselves. It returns when none of them is left and the
// server can be started again.
func (l *Lab) Kill(ctx context.Context, name string) error {
	n, err := l.Node(name)
	if err != nil {
		return err
	}
	data := []string{n.PGData}
	isServer := func(p running) bool { return p.isServer(l.PGBin, data) }
	isPostmaster := func(p running) bool { return isServer(p) && !isServerAt(p.parent, l.PGBin, data) }
	before, err := find(isPostmaster)
	if err != nil {
		return err
	}
	if err := signalAll(isPostmaster, syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if err := waitGone(ctx, isServer); err != nil {
		return err
	}
	return waitReaped(ctx, before)
}

// waitReaped waits until nothing is left of processes, not even the zombie that
// keeps a server from being started again.
func waitReaped(ctx context.Context, dead []running) error {
	for _, p := range dead {
		for {
			now, err := processOf(p.PID)
			if err != nil || now != p.Process {
				break
			}
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return fmt.Errorf("process %d has died and is not reaped: %w", p.PID, err)
			}
		}
	}
	return nil
}

// remove ends everything that runs from a lab's directory, then removes it.
func remove(ctx context.Context, s State) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	// Servers stop at once: nothing of theirs is wanted. The signal goes to
	// all their processes, as the postmaster itself would send it.
	isServer := func(p running) bool { return p.isServerBelow(s.PGBin, s.Dir) }
	errs := []error{end(ctx, isServer, syscall.SIGQUIT)}
	// Programs of the lab's own: shippers, agents, commands of a session.
	errs = append(errs, end(ctx, func(p running) bool { return p.runsFrom(s.Dir) }, syscall.SIGTERM))
	return errors.Join(append(errs, removeTree(ctx, s.Dir))...)
}

// removeTree removes the directory, again where a process that is on its way
// out has written into it meanwhile.
func removeTree(ctx context.Context, dir string) error {
	for {
		err := os.RemoveAll(dir)
		if err == nil || !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// end asks processes to go and kills those that stay.
func end(ctx context.Context, which func(running) bool, how syscall.Signal) error {
	if err := signalAll(which, how); err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if waitGone(patience, which) == nil {
		return nil
	}
	if err := signalAll(which, syscall.SIGKILL); err != nil {
		return err
	}
	return waitGone(ctx, which)
}

// running is a process as /proc shows it. Where it belongs to another user,
// exe and cwd are empty, and nothing here touches it.
type running struct {
	Process
	parent   int
	exe, cwd string
}

// isServer: the process executes the lab's PostgreSQL in one of the data
// directories, which no server process ever leaves.
func (p running) isServer(pgBin string, dataDirs []string) bool {
	return slices.Contains(dataDirs, p.cwd) && p.executes(pgBin)
}

// isServerBelow: it does so anywhere below the directory, as the scratch server of
// a node that looks at its past.
func (p running) isServerBelow(pgBin, dir string) bool {
	return strings.HasPrefix(p.cwd, dir+string(filepath.Separator)) && p.executes(pgBin)
}

func (p running) executes(pgBin string) bool {
	program, err := filepath.EvalSymlinks(filepath.Join(pgBin, "postgres"))
	return err == nil && p.exe == program
}

func isServerAt(pid int, pgBin string, dataDirs []string) bool {
	p, ok := look(pid)
	return ok && p.isServer(pgBin, dataDirs)
}

// runsFrom: the process executes a file below the directory. A shell that
// somebody has open there does not.
func (p running) runsFrom(dir string) bool {
	return strings.HasPrefix(p.exe, dir+string(filepath.Separator)) && p.PID != os.Getpid()
}

func look(pid int) (running, bool) {
	link := func(name string) string {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(target, " (deleted)")
	}
	p, err := procstat.Read(procstat.Root, pid)
	if err != nil || p.Dead() { // it holds nothing
		return running{}, false
	}
	process, err := named(p)
	return running{Process: process, parent: p.Parent, exe: link("exe"), cwd: link("cwd")}, err == nil
}

func find(which func(running) bool) ([]running, error) {
	pids, err := procstat.PIDs(procstat.Root)
	if err != nil {
		return nil, err
	}
	var found []running
	for _, pid := range pids {
		if p, ok := look(pid); ok && p.exe != "" && which(p) {
			found = append(found, p)
		}
	}
	return found, nil
}

func signalAll(which func(running) bool, how syscall.Signal) error {
	processes, err := find(which)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range processes {
		handle, err := p.find()
		if err == nil && handle != nil {
			if err = handle.Signal(how); errors.Is(err, os.ErrProcessDone) {
				err = nil
			}
			err = errors.Join(err, handle.Release())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func waitGone(ctx context.Context, which func(running) bool) error {
	for {
		left, err := find(which)
		if err != nil || len(left) == 0 {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("process %d (%s in %s) does not end: %w", left[0].PID, left[0].exe, left[0].cwd, err)
		}
	}
}

// pause waits, but no longer than ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Down removes the lab in dir ("" means DefaultDir): the lab process is asked
// to do it, and where that process is gone, its work is done here.
func Down(ctx context.Context, dir string) error {
	s, err := load(dir)
	if err != nil {
		return err
	}
	handle, err := s.Process.find()
	if err != nil {
		return err
	}
	if handle != nil && s.Process.PID != os.Getpid() {
		err := handle.Signal(syscall.SIGTERM)
		if errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		if err := errors.Join(err, handle.Release()); err != nil {
			return fmt.Errorf("end the lab process %d: %w", s.Process.PID, err)
		}
		if err := waitEnd(ctx, s.Process); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return remove(ctx, s)
}

func waitEnd(ctx context.Context, p Process) error {
	ctx, cancel := context.WithTimeout(ctx, closePatience)
	defer cancel()
	is := func(r running) bool { return r.Process == p }
	return waitGone(ctx, is)
}

func load(dir string) (State, error) {
	if dir == "" {
		dir = DefaultDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return State{}, err
	}
	return readState(dir)
}
