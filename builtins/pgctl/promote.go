package pgctl

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	if err := s.promotable(); err != nil {
		return fmt.Errorf("promote the server in %s: %w", s.PGData, err)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd, err := s.program(bounded, "pg_ctl", "promote", "-D", s.PGData, "-s", "-W")
	if err != nil {
		return err
	}
	_, err = run(cmd)
	if err == nil {
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

func (s Server) promotable() error {
	status, err := s.StatusNow()
	if err != nil {
		return err
	}
	if !status.Running {
		return hint.Wrap(ErrNotRunning, "start the standby first")
	}
	if !FeaturesOf(status.Version).PgCtlPromote {
		return hint.Wrap(fmt.Errorf("PostgreSQL %s has no pg_ctl promote", status.Version), "it is promoted by the trigger file that its restore_command watches")
	}
	control, err := s.Control()
	if err != nil {
		return err
	}
	if control.State == walcore.StateInProduction {
		return hint.Wrap(errors.New("it is a primary already"), "nothing is left to do here")
	}
	return nil
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
