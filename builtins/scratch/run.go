package scratch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Stopped is where a recovery has stopped.
type Stopped struct {
	LSN walcore.LSN `json:"lsn"` // replayed up to here
	// Timeline is the one that the server writes now, or has replayed.
	Timeline walcore.Timeline `json:"timeline"`
	// Time is when the last transaction that was replayed had ended, by the
	// primary's clock; zero where none was.
	Time time.Time `json:"time,omitzero"`
	// Last is that transaction, where the archive still tells.
	Last walcore.Landmark `json:"last,omitzero"`
	// Open: it accepts writes. Otherwise it has paused.
	Open bool `json:"open"`
}

// Start starts the server and waits until its recovery has come to its end, or
// has paused where it is a peek. It may take as long as ctx lets it. Where the
// server fails, the error has its last words.
func (s Server) Start(ctx context.Context, user string) (Stopped, error) {
	server := s.control()
	patience := 365 * 24 * time.Hour
	if deadline, bounded := ctx.Deadline(); bounded {
		patience = time.Until(deadline)
	}
	// Whatever the configuration says of it: a copy may name the data directory
	// that it was made from.
	options := "-c data_directory=" + shellWord(s.PGData())
	if err := server.Start(ctx, pgctl.StartOptions{Timeout: patience, Options: options, LogFile: s.Log()}); err != nil {
		return Stopped{}, err
	}
	if s.Kind == Peek {
		return s.awaitPause(ctx, user)
	}
	if err := server.AwaitOpen(ctx, s.Log()); err != nil {
		return Stopped{}, err
	}
	stopped, err := s.where(ctx, user)
	if err != nil {
		return stopped, err
	}
	if !stopped.Open {
		return stopped, fmt.Errorf("the server in %s says that it is in recovery again", s.PGData())
	}
	return stopped, server.ForgetRecovery()
}

// shellWord is a word as a shell takes it whole.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// awaitPause waits until the recovery has paused at its target. A server that has
// opened instead, as one before 13 does at the end of its WAL, is an error.
func (s Server) awaitPause(ctx context.Context, user string) (Stopped, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := s.control().StatusNow()
		if err != nil {
			return Stopped{}, err
		}
		if !status.Running {
			return Stopped{}, s.control().Ended(s.Log())
		}
		stopped, paused, err := s.look(ctx, user)
		switch {
		case err == nil && stopped.Open:
			return stopped, hint.Wrap(fmt.Errorf("the server in %s has opened at %s instead of pausing: its WAL ended before %s", s.PGData(), stopped.LSN, s.Target),
				"the archive has lost WAL since it was looked at: warmrun wal verify")
		case err == nil && paused:
			return stopped, nil
		case err != nil && !psql.StartingUp(err) && !psql.NotRunning(err) && !psql.NoHotStandby(err):
			return stopped, err
		}
		select {
		case <-ctx.Done():
			return stopped, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (s Server) where(ctx context.Context, user string) (Stopped, error) {
	stopped, _, err := s.look(ctx, user)
	return stopped, err
}

// look asks the server how far it is.
func (s Server) look(ctx context.Context, user string) (stopped Stopped, paused bool, err error) {
	conn, err := psql.Connect(ctx, s.Session(user, ""))
	if err != nil {
		return stopped, false, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	state, err := conn.State(ctx)
	if err != nil {
		return stopped, false, err
	}
	// Also behind the end of a recovery this is what was replayed last.
	lsn, err := conn.Value(ctx, "SELECT pg_last_wal_replay_lsn()")
	if err != nil {
		return stopped, false, err
	}
	stopped = Stopped{Timeline: state.Timeline, Time: state.ReplayTimestamp, Open: !state.InRecovery}
	stopped.LSN, _ = lsn.(walcore.LSN) // null before anything was replayed
	if stopped.Time.IsZero() {
		var at any
		if at, err = conn.Value(ctx, "SELECT pg_last_xact_replay_timestamp()"); err == nil && at != nil {
			stopped.Time, err = time.Parse(time.RFC3339Nano, fmt.Sprint(at))
		}
	}
	return stopped, state.ReplayPaused, err
}

// Stay notes that the server is there to be used from now on.
func (s Server) Stay() error {
	s.Stays = true
	return s.save()
}

// Running reports whether its server runs.
func (s Server) Running() bool {
	status, err := s.control().StatusNow()
	return err == nil && status.Running
}

// Remove stops the server and removes its whole directory. Of one that is not
// there nothing is left to do.
func (s Server) Remove(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.PGData(), "PG_VERSION")); err == nil {
		// Its data is thrown away: nothing is gained by a clean stop.
		if err := s.control().Stop(ctx, pgctl.StopOptions{Mode: pgctl.ModeImmediate}); err != nil && s.Running() {
			return fmt.Errorf("stop the scratch server in %s: %w", s.Dir, err)
		}
	}
	// The note goes last: what is left by a removal that was cut is left over.
	for _, part := range []string{"data", "tablespaces", s.SocketDir} {
		if !filepath.IsAbs(part) {
			part = filepath.Join(s.Dir, part)
		}
		if err := os.RemoveAll(part); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(s.Dir))
}
