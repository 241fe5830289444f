package pgctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Promote makes a standby a primary and returns when it accepts writes: its
// control file says "in production", and it is ready for connections. A
// timeout of 0 means a minute.
//
// Whoever owns the server has no part in this: its process stays the same. An
// error that is ErrTimeout or the context's means that the promotion was asked
// for and may still happen; there is no way to take the request back.
func (s Server) Promote(ctx context.Context, timeout time.Duration) error {
	if timeout == 0 {
		timeout = defaultTimeout
	}
	status, err := s.promotable()
	if err != nil {
		return fmt.Errorf("promote the server in %s: %w", s.PGData, err)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err = s.requestPromotion(status.PID); err == nil {
		err = poll(bounded, s.promoted)
	}
	if errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return hint.Wrap(fmt.Errorf("promote the server in %s: not in production after %s: %w", s.PGData, timeout, ErrTimeout),
			"the promotion was asked for and goes on: look at its log and at pg_control before anything else is started or promoted")
	}
	if err != nil {
		return fmt.Errorf("promote the server in %s: %w", s.PGData, err)
	}
	return nil
}

// requestPromotion does what pg_ctl promote does (do_promote in pg_ctl.c), and no
// program has to be started for it, for which clients would wait.
func (s Server) requestPromotion(pid int) error {
	signal := func() error { return unix.Kill(pid, unix.SIGUSR1) } // on kernels before 5.3
	switch fd, err := unix.PidfdOpen(pid, 0); {
	case err == nil:
		defer unix.Close(fd) //nolint:errcheck // nothing was written to it
		signal = func() error { return unix.PidfdSendSignal(fd, unix.SIGUSR1, nil, 0) }
	case !errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	if alive, err := s.machine.servesFrom(pid, s.PGData); err != nil || !alive {
		return errors.Join(err, ErrNotRunning)
	}
	if err := s.write(s.inData("promote"), ""); err != nil {
		return err
	}
	if err := signal(); err != nil {
		return errors.Join(fmt.Errorf("signal process %d: %w", pid, err), s.removeIfThere("promote"))
	}
	return nil
}

func (s Server) promotable() (Status, error) {
	status, err := s.StatusNow()
	if err != nil {
		return status, err
	}
	if !status.Running {
		return status, hint.Wrap(ErrNotRunning, "start the standby first")
	}
	if !FeaturesOf(status.Version).PgCtlPromote {
		return status, hint.Wrap(fmt.Errorf("PostgreSQL %s has no pg_ctl promote", status.Version), "it is promoted by the trigger file that its restore_command watches")
	}
	control, err := s.Control()
	if err != nil {
		return status, err
	}
	if control.State == walcore.StateInProduction {
		return status, hint.Wrap(errors.New("it is a primary already"), "nothing is left to do here")
	}
	return status, nil
}

// promoted reports whether the server has become a primary.
func (s Server) promoted() (bool, error) {
	status, err := s.StatusNow()
	if err != nil {
		return false, err
	}
	if !status.Running {
		return false, fmt.Errorf("it ended during the promotion: %w", ErrNotRunning)
	}
	control, err := s.Control()
	if err != nil {
		return false, err
	}
	ready := status.Ready == ReadyYes || !FeaturesOf(status.Version).StatusLine
	return ready && control.State == walcore.StateInProduction, nil
}
