package standby

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Promotable reports why this node cannot be promoted.
func (n Node) Promotable(ctx context.Context) error {
	state, err := n.Inspect(ctx)
	if err != nil {
		return err
	}
	switch state.Role {
	case RoleEmpty:
		return hint.Wrap(fmt.Errorf("%s has no data directory at %s: there is nothing to promote", n.Name, n.Server.PGData), "take a base copy first: copyToStandby or copyToDR on the primary")
	case RolePrimary:
		return hint.Wrap(fmt.Errorf("%s is a primary already", n.Name), "run this on the standby")
	case RoleStoppedPrimary:
		return hint.Wrap(fmt.Errorf("%s is not a standby: %s has no standby.signal (recovery.conf) and is %q", n.Name, n.Server.PGData, state.Control.State),
			"run this on the standby; a stopped primary is started with pg_ctl start")
	}
	return nil
}

// WriteTrigger leaves the trigger file for restore: smart applies all WAL that
// is there, fast opens the server now.
func (n Node) WriteTrigger(fast bool) error {
	if err := atomicfile.MkdirAll(filepath.Dir(n.Trigger), 0o700); err != nil {
		return err
	}
	return walcore.WriteTrigger(n.Trigger, fast)
}

// ClearTrigger removes the trigger file, durably, so that it cannot cause an
// accident later.
func (n Node) ClearTrigger() error {
	err := atomicfile.Remove(n.Trigger)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not even its directory is there
	}
	return err
}

// Opened is what a promoted server says of itself.
type Opened struct {
	LSN      walcore.LSN      `json:"lsn"`
	Timeline walcore.Timeline `json:"timeline"`
}

// Opened asks the server whether it accepts writes; an error says what it does
// instead.
func (n Node) Opened(ctx context.Context) (Opened, error) {
	conn, err := n.SQL(ctx)
	if err != nil {
		return Opened{}, n.noSession(err)
	}
	defer conn.Close(ctx)
	state, err := conn.State(ctx)
	if err != nil {
		return Opened{}, err
	}
	if state.InRecovery {
		return Opened{}, fmt.Errorf("%s is still in recovery at %s", n.Name, state.ReplayLSN)
	}
	return Opened{LSN: state.CurrentLSN, Timeline: state.Timeline}, nil
}

// noSession says what the server does that lets nobody in.
func (n Node) noSession(err error) error {
	status, statusErr := n.Server.StatusNow()
	switch {
	case statusErr != nil || !status.Running:
		return err // which says that no server runs
	case status.Ready == pgctl.ReadyStopping:
		return hint.Wrap(fmt.Errorf("the server on %s is shutting down and accepts no connection: %w", n.Name, err),
			"its log says what it waits for; warmrun status shows when it has stopped")
	case status.Ready == pgctl.ReadyStarting:
		return hint.Wrap(fmt.Errorf("the server on %s is starting and accepts no connection yet: %w", n.Name, err), "repeat when warmrun status shows that it accepts some")
	}
	return fmt.Errorf("the server on %s runs but accepts no connection: %w", n.Name, err)
}

// PromotionUnderway reports whether the node was promoted, or was asked to be
// and may still do it. Only a clear no allows the old primary to come back.
func (n Node) PromotionUnderway(ctx context.Context, timeline walcore.Timeline) (string, error) {
	state, err := n.Inspect(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case state.Role == RoleEmpty, state.Copy && state.Control.Timeline <= timeline:
		return "", nil
	case state.Role == RolePrimary:
		return fmt.Sprintf("%s is a primary (timeline %d)", n.Name, state.Control.Timeline), nil
	case !state.Fenced:
		return fmt.Sprintf("%s has no standby.signal (recovery.conf): it was promoted, or would start as a primary", n.Name), nil
	case state.Control.Timeline > timeline:
		return fmt.Sprintf("%s is on timeline %d, newer than %d", n.Name, state.Control.Timeline, timeline), nil
	}
	for _, path := range []string{n.Trigger, filepath.Join(n.Server.PGData, "promote")} {
		if _, err := os.Stat(path); err == nil {
			return fmt.Sprintf("%s has been asked to be promoted: %s exists", n.Name, path), nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// poll calls done until it reports true, an error, or the time is up: every few
// milliseconds at first, since clients may wait for it. The description says in the
// error what was waited for.
func poll(ctx context.Context, timeout time.Duration, what string, done func(context.Context) (bool, string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	const longest = 100 * time.Millisecond
	pause := 5 * time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	seen := ""
	for {
		ok, now, err := done(ctx)
		if ok || (err != nil && ctx.Err() == nil) {
			return err
		}
		if now != "" {
			seen = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting for %s after %s (%s): %w", what, timeout, seen, context.Cause(ctx))
		case <-timer.C:
		}
		pause = min(pause*5/4, longest)
		timer.Reset(pause)
	}
}
