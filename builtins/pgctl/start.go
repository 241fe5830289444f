package pgctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// StartOptions bend one start. The zero value starts the server as its owner
// would.
type StartOptions struct {
	// Timeout is how long to wait until the server is ready; 0 means a minute.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Port replaces the configured port. Only for servers that no service
	// manager owns.
	Port int `json:"port,omitempty"`
	// Options are further options of the server, as a shell would read them:
	// "-c archive_mode=off". Only for servers that no service manager owns.
	Options string `json:"options,omitempty"`
	// LogFile takes what the server prints before its own logging begins, and
	// everything where it has none. Absolute; empty means /dev/null. A server
	// that pg_ctlcluster or systemd owns has its own place.
	LogFile string `json:"log_file,omitempty"`
	// RecoveryGrace is how long a standby may run without being ready before the
	// start counts as done all the same: one that waits for WAL is well, but
	// reports itself ready only when it has become consistent. 0 means 10
	// seconds.
	RecoveryGrace time.Duration `json:"recovery_grace,omitempty"`
}

const (
	defaultTimeout = time.Minute
	defaultGrace   = 10 * time.Second
	// settle is how long after its starter ended well a server may take to note
	// itself in postmaster.pid; some units report a start before it happened.
	settle = 5 * time.Second
)

// Start starts the server through its owner and returns when it is ready:
// accepting connections, or in recovery with hot_standby off, which pg_ctl
// counts as started since 10 (see RecoveryGrace for the case between). A
// server that runs already is only waited for.
//
// On failure the error ends with the last lines of the server's log. An error
// that is ErrTimeout means that the server still tries.
func (s Server) Start(ctx context.Context, o StartOptions) error {
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	if status.SingleUser {
		return hint.Wrap(fmt.Errorf("a single-user backend (pid %d) holds %s", status.PID, s.PGData), "end that session first")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.RecoveryGrace == 0 {
		o.RecoveryGrace = defaultGrace
	}
	own, err := s.owner(ctx, status)
	if err != nil {
		return err
	}
	log := s.openLog(own, o)
	bounded, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	launch := &launched{done: make(chan struct{}), awaited: own.kind == OwnerSystemd}
	if status.Running {
		close(launch.done)
	} else if err := s.launch(bounded, launch, own, o, status); err != nil {
		return fmt.Errorf("start the server in %s: %w", s.PGData, err)
	}
	err = s.awaitReady(bounded, o, launch)
	cancel() // the starter has nothing left to tell; the server is not its child
	<-launch.done
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return s.stillStarting(o, log)
	}
	return s.explainFailure(ctx, err, log)
}

// explainFailure says why a start failed: in the server's own words where
// there are some, else in those of its starter, which knows little.
func (s Server) explainFailure(ctx context.Context, err error, log serverLog) error {
	var starter *commandError
	if err == nil {
		return nil
	}
	log.settle(ctx)
	tail := log.tail()
	if errors.As(err, &starter) && strings.Contains(tail, "\n") {
		return fmt.Errorf("start the server in %s: it did not come up%s", s.PGData, tail)
	}
	return fmt.Errorf("start the server in %s: %w%s", s.PGData, err, tail)
}

// launched is a starter at work. err may be read once done is closed.
type launched struct {
	done chan struct{}
	err  error
	// awaited: the server counts as started only when the starter says so too.
	// Until then systemd may not know its main process, or may still give the
	// start up and kill it. The other starters only look on.
	awaited bool
}

func (l *launched) result() (done bool, err error) {
	select {
	case <-l.done:
		return true, l.err
	default:
		return false, nil
	}
}

// launch runs the owner's start command in the background.
func (s Server) launch(ctx context.Context, l *launched, own ownership, o StartOptions, status Status) error {
	if err := s.clearStalePID(status); err != nil {
		return err
	}
	start, err := s.starter(ctx, own, o)
	if err != nil {
		return err
	}
	go func() {
		defer close(l.done)
		l.err = start()
	}()
	return nil
}

// awaitReady returns nil when the server is ready, or an error when there is
// nothing left to wait for.
func (s Server) awaitReady(ctx context.Context, o StartOptions, launch *launched) error {
	standby, err := s.StandbyConfigured()
	if err != nil {
		return err
	}
	var seen, ended time.Time
	return poll(ctx, func() (bool, error) {
		// In this order: a starter that has ended has done all it could before
		// the look at the server.
		starterDone, starterErr := launch.result()
		status, err := s.StatusNow()
		if err != nil {
			return false, err
		}
		if !status.Running {
			return false, gone(starterDone, starterErr, &ended)
		}
		switch ready := status.Ready == ReadyYes || status.Ready == ReadyStandby; {
		case launch.awaited && starterErr != nil:
			return false, starterErr
		case ready:
			return starterDone || !launch.awaited, nil
		case !FeaturesOf(status.Version).StatusLine && starterDone && starterErr == nil:
			return true, nil // pg_ctl -w has connected
		}
		if seen.IsZero() {
			seen = time.Now()
		}
		return standby && time.Since(seen) >= o.RecoveryGrace, nil
	})
}

// gone judges a server that is not there: its starter may still be at work, or
// just done, or have failed.
func gone(starterDone bool, starterErr error, ended *time.Time) error {
	switch {
	case !starterDone:
		return nil
	case starterErr != nil:
		return starterErr
	case ended.IsZero():
		*ended = time.Now()
		return nil
	case time.Since(*ended) < settle:
		return nil
	}
	return errors.New("no server came up")
}

func (s Server) stillStarting(o StartOptions, log serverLog) error {
	state := "unknown"
	if control, err := s.Control(); err == nil {
		state = control.State.String()
	}
	status, err := s.StatusNow()
	if err != nil {
		return err
	}
	if !status.Running {
		return fmt.Errorf("start the server in %s: no server after %s: %w%s", s.PGData, o.Timeout, ErrTimeout, log.tail())
	}
	return hint.Wrap(fmt.Errorf("start the server in %s: pid %d is not ready after %s (%s): %w%s", s.PGData, status.PID, o.Timeout, state, ErrTimeout, log.tail()),
		"the server goes on starting; follow its log, and allow more time if it has much to recover")
}

// starter returns what starts the server through its owner.
func (s Server) starter(ctx context.Context, own ownership, o StartOptions) (func() error, error) {
	// The owner's own patience ends after ours.
	patience := strconv.Itoa(int((o.Timeout + 10*time.Second).Seconds()))
	if own.kind == OwnerSystemd {
		if o.Port != 0 || o.Options != "" {
			return nil, fmt.Errorf("the unit %s starts this server, which leaves no place for a port or options of one start", own.unit)
		}
		return func() error { _, err := s.systemctl(ctx, "start", own.unit); return err }, nil
	}
	options, err := s.serverOptions(own, o)
	if err != nil {
		return nil, err
	}
	if own.kind == OwnerCluster {
		args := []string{"--skip-systemctl-redirect", own.cluster.version, own.cluster.name, "start"}
		if options != "" {
			args = append([]string{"-o", options}, args...)
		}
		return s.ctlcluster(ctx, append(args, "--", "-w", "-t", patience)...)
	}
	log := o.LogFile
	if log == "" {
		log = os.DevNull
	}
	if !filepath.IsAbs(log) {
		return nil, fmt.Errorf("the server's log file %q is not an absolute path", log)
	}
	args := []string{"start", "-D", s.PGData, "-l", log, "-s", "-w", "-t", patience}
	if options != "" {
		args = append(args, "-o", options)
	}
	cmd, err := s.program(ctx, "pg_ctl", args...)
	if err != nil {
		return nil, err
	}
	return func() error { _, err := run(cmd); return err }, nil
}

// ctlcluster prepares pg_ctlcluster, which root may run as well as the owner.
func (s Server) ctlcluster(ctx context.Context, args ...string) (func() error, error) {
	program, err := s.machine.lookPath("pg_ctlcluster")
	if err != nil {
		return nil, err
	}
	return func() error { _, err := runPlain(ctx, program, args...); return err }, nil
}

// serverOptions are the options that pg_ctl hands to the server through a
// shell. A configuration outside PGDATA has to be named there; pg_ctlcluster
// does that itself.
func (s Server) serverOptions(own ownership, o StartOptions) (string, error) {
	var words []string
	if own.kind == OwnerManual {
		config, err := s.configOptions()
		if err != nil {
			return "", err
		}
		words = config
	}
	if o.Port != 0 {
		words = append(words, "-p", strconv.Itoa(o.Port))
	}
	options := shellQuote(words...)
	return strings.TrimSpace(options + " " + o.Options), nil
}

// clearStalePID removes a postmaster.pid that would keep the server from
// starting because its process id now belongs to another process, as after a
// reboot. The server itself overwrites one whose process is gone, after a look
// at the shared memory noted in it; so the file is left to it then, and also
// while any process still works in PGDATA.
func (s Server) clearStalePID(status Status) error {
	if status.StalePID == 0 || errors.Is(syscall.Kill(status.StalePID, 0), syscall.ESRCH) {
		return nil
	}
	orphans, err := s.machine.processes(func(p process) bool {
		here, err := s.machine.servesFrom(p.pid, s.PGData)
		return here && err == nil && p.pid != os.Getpid()
	})
	if err != nil {
		return err
	}
	path := filepath.Join(s.PGData, "postmaster.pid")
	if len(orphans) > 0 {
		return hint.Wrap(fmt.Errorf("%s is left over, but process %d (%s) still works in that directory", path, orphans[0].pid, orphans[0].title),
			"a server process that outlived its postmaster must end first; then start again")
	}
	return os.Remove(path)
}
