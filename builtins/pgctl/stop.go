package pgctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Mode is how a server is asked to stop.
type Mode string

// The modes of pg_ctl stop.
const (
	ModeSmart     Mode = "smart"     // wait until every client has gone
	ModeFast      Mode = "fast"      // disconnect clients, then stop cleanly
	ModeImmediate Mode = "immediate" // end at once; the next start recovers from WAL
)

// StopOptions bend one stop.
type StopOptions struct {
	Mode    Mode          `json:"mode,omitempty"`    // empty means fast
	Timeout time.Duration `json:"timeout,omitempty"` // 0 means a minute
}

// Stop stops the server through its owner and returns when its process has
// ended. A server that does not run is no error.
//
// After smart and fast the control file is looked at: a server that ended
// without a clean shutdown, killed by its service manager for instance, is an
// error. When the time is up the error is ErrTimeout and names what still runs;
// the request stands, and the server may yet stop.
func (s Server) Stop(ctx context.Context, o StopOptions) error {
	if o.Mode == "" {
		o.Mode = ModeFast
	}
	if !slices.Contains([]Mode{ModeSmart, ModeFast, ModeImmediate}, o.Mode) {
		return hint.Wrap(fmt.Errorf("stop mode %q", o.Mode), "it must be smart, fast or immediate")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	status, err := s.Status(ctx)
	if err != nil || !status.Running {
		return err
	}
	if status.SingleUser {
		return hint.Wrap(fmt.Errorf("a single-user backend (pid %d) holds %s", status.PID, s.PGData), "end that session yourself")
	}
	bounded, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	err = s.requestStop(bounded, status, o)
	if err == nil {
		err = s.awaitEnd(bounded, status.PID)
	}
	// Once the process has ended, how the request fared no longer matters.
	if err != nil && s.stillServes(status.PID) {
		if errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
			return s.stillStopping(status.PID, o)
		}
		return fmt.Errorf("stop the server in %s: %w", s.PGData, err)
	}
	if o.Mode == ModeImmediate || s.neverUp(status) {
		return nil
	}
	return s.checkCleanEnd(o)
}

// neverUp reports whether the server had not come far enough to write a state
// of its own into the control file: until a fresh base copy has found its first
// WAL, pg_control says what the primary's said, which was "in production".
func (s Server) neverUp(status Status) bool {
	if status.Ready == ReadyStarting {
		return true
	}
	standby, err := s.StandbyConfigured()
	_, errLabel := os.Stat(s.inData("backup_label"))
	return standby && err == nil && errLabel == nil
}

// requestStop asks the owner to stop the server. A systemd unit knows one way
// of stopping, which every package sets up as a fast stop; the other modes are
// asked of the server itself, and only where systemd would not start it again.
func (s Server) requestStop(ctx context.Context, status Status, o StopOptions) error {
	switch {
	case status.Owner == OwnerSystemd && o.Mode == ModeFast:
		_, err := s.systemctl(ctx, "stop", status.Unit)
		return err
	case status.Owner == OwnerSystemd:
		if err := s.checkNoRestart(ctx, status.Unit, o.Mode); err != nil {
			return err
		}
	case status.Owner == OwnerCluster:
		version, name, _ := strings.Cut(status.Cluster, "/")
		stop, err := s.ctlcluster(ctx, "--skip-systemctl-redirect", "-m", string(o.Mode), version, name, "stop", "--", "-W")
		if err != nil {
			return err
		}
		return stop()
	}
	cmd, err := s.program(ctx, "pg_ctl", "stop", "-D", s.PGData, "-s", "-m", string(o.Mode), "-W")
	if err != nil {
		return err
	}
	_, err = run(cmd)
	return err
}

// checkNoRestart refuses to stop a unit's server behind systemd's back where
// that would start it again: always after a clean end, also on failure after
// an immediate one.
func (s Server) checkNoRestart(ctx context.Context, unit string, mode Mode) error {
	policy, err := s.machine.unitProperty(ctx, unit, "Restart")
	if err != nil {
		return err
	}
	safe := []string{"no", "on-failure", "on-abnormal", "on-abort", "on-watchdog"}
	if mode == ModeImmediate {
		safe = safe[:1]
	}
	if slices.Contains(safe, policy) {
		return nil
	}
	return hint.Wrap(fmt.Errorf("the unit %s has Restart=%s: systemd would start the server again after a stop in mode %s", unit, policy, mode),
		"stop it in mode fast, which goes through systemd")
}

// awaitEnd waits until the postmaster has ended.
func (s Server) awaitEnd(ctx context.Context, pid int) error {
	if fd, err := unix.PidfdOpen(pid, 0); err == nil {
		awaitExit(ctx, fd)
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	// Where the kernel has no such descriptors, and for the moment in which a
	// process that has ended is still to be seen.
	return poll(ctx, func() (bool, error) { return !s.stillServes(pid), nil })
}

// awaitExit returns as soon as the process behind a pidfd has ended, or ctx has.
func awaitExit(ctx context.Context, fd int) {
	const look = 100 // milliseconds between two looks at ctx
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, look)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (s Server) stillServes(pid int) bool {
	alive, err := s.machine.servesFrom(pid, s.PGData)
	return alive || err != nil
}

// checkCleanEnd looks at the control file of a server that has just ended: a
// state that only a running server has means that it was not a clean stop.
func (s Server) checkCleanEnd(o StopOptions) error {
	control, err := s.Control()
	if err != nil {
		return fmt.Errorf("stop the server in %s: it has ended, but whether cleanly is unknown: %w", s.PGData, err)
	}
	switch control.State {
	case walcore.StateInProduction, walcore.StateShuttingDown:
		return hint.Wrap(fmt.Errorf("stop the server in %s: it ended, but not cleanly after mode %s: its control file says %q", s.PGData, o.Mode, control.State),
			"look into its log for what ended it; the next start recovers from WAL")
	}
	return nil
}

func (s Server) stillStopping(pid int, o StopOptions) error {
	running := s.Occupants(pid)
	if running != "" {
		running = "; " + running
	}
	err := fmt.Errorf("stop the server in %s: pid %d has not stopped within %s in mode %s%s: %w", s.PGData, pid, o.Timeout, o.Mode, running, ErrTimeout)
	if o.Mode == ModeSmart {
		return hint.Wrap(err, "it waits for its clients to leave and lets no new ones in; a fast stop disconnects them")
	}
	return hint.Wrap(err, "it goes on stopping; what it waits for is in its log")
}

// Occupants says what still runs below the postmaster, clients first; empty where
// that is nothing or cannot be told.
func (s Server) Occupants(pid int) string {
	const most = 6
	children, err := s.machine.processes(func(p process) bool { return p.parent == pid })
	if err != nil || len(children) == 0 {
		return ""
	}
	// Client backends first: it is they that hold up a smart stop.
	slices.SortStableFunc(children, func(a, b process) int { return rank(a.title) - rank(b.title) })
	var titles []string
	for _, child := range children[:min(most, len(children))] {
		titles = append(titles, fmt.Sprintf("%s (pid %d)", strings.TrimPrefix(child.title, "postgres: "), child.pid))
	}
	if more := len(children) - most; more > 0 {
		titles = append(titles, fmt.Sprintf("%d more", more))
	}
	return "still running: " + strings.Join(titles, ", ")
}

// rank orders the titles of server processes: clients, then the archiver, then
// the rest of the server's own.
func rank(title string) int {
	if strings.Contains(title, "archiver") {
		return 1
	}
	for _, own := range []string{"checkpointer", "background writer", "walwriter", "startup", "logger", "stats collector", "autovacuum launcher", "logical replication launcher", "walreceiver", "io worker"} {
		if strings.Contains(title, own) {
			return 2
		}
	}
	return 0
}

// Restart is a fast stop and a start.
func (s Server) Restart(ctx context.Context, stop StopOptions, start StartOptions) error {
	if err := s.Stop(ctx, stop); err != nil {
		return err
	}
	return s.Start(ctx, start)
}

// Reload makes a running server read its configuration again.
func (s Server) Reload(ctx context.Context) error {
	status, err := s.StatusNow()
	if err != nil {
		return err
	}
	if !status.Running {
		return fmt.Errorf("reload the server in %s: %w", s.PGData, ErrNotRunning)
	}
	cmd, err := s.program(ctx, "pg_ctl", "reload", "-D", s.PGData, "-s")
	if err != nil {
		return err
	}
	if _, err := run(cmd); err != nil {
		return fmt.Errorf("reload the server in %s: %w", s.PGData, err)
	}
	return nil
}
