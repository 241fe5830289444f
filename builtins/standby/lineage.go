package standby

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
)

// Position is exactly how far a server in recovery has replayed, and on which
// timeline. No function tells the timeline; but a CHECKPOINT in recovery makes
// the server write both into its control file, also where there is nothing to
// checkpoint (CreateRestartPoint calls UpdateMinRecoveryPoint in xlog.c). Of a
// server that accepts no connections it is what the control file has, which
// may be less.
func (n Node) Position(ctx context.Context) (Opened, error) {
	if conn, hot := n.hotStandby(ctx); hot {
		// The first may make a restartpoint, which notes only its own place; the
		// second then finds nothing to do and notes where replay is.
		_, err := conn.Exec(ctx, "CHECKPOINT")
		if err == nil {
			_, err = conn.Exec(ctx, "CHECKPOINT")
		}
		if err := errors.Join(err, conn.Close(ctx)); err != nil {
			return Opened{}, fmt.Errorf("ask %s for a restartpoint: %w", n.Name, err)
		}
	}
	control, err := n.Server.Control()
	if err != nil {
		return Opened{}, err
	}
	if control.MinRecoveryPoint == 0 {
		return Opened{LSN: control.Checkpoint, Timeline: control.Timeline}, nil
	}
	return Opened{LSN: control.MinRecoveryPoint, Timeline: control.MinRecoveryTimeline}, nil
}

// Descent says whether a position lies on this primary's own history.
type Descent struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason"` // why not, for people
}

// Descends reports whether another node that has replayed up to a position has
// replayed nothing but this running primary's WAL: on its timeline and not past
// what it has written, or on an ancestor and not past the fork.
func (n Node) Descends(ctx context.Context, name string, at Opened) (Descent, error) {
	own, err := n.Opened(ctx)
	if err != nil {
		return Descent{}, err
	}
	switch {
	case at.Timeline > own.Timeline:
		return Descent{Reason: fmt.Sprintf("%s is on timeline %d, which %s (on %d) knows nothing of", name, at.Timeline, n.Name, own.Timeline)}, nil
	case at.Timeline == own.Timeline && at.LSN > own.LSN:
		return Descent{Reason: fmt.Sprintf("%s has replayed up to %s on timeline %d, and %s has written only up to %s", name, at.LSN, at.Timeline, n.Name, own.LSN)}, nil
	case at.Timeline == own.Timeline:
		return Descent{OK: true}, nil
	}
	history, err := n.history(own.Timeline)
	if err != nil {
		return Descent{}, err
	}
	fork, known := history.Fork(at.Timeline)
	if !known || at.LSN > fork {
		return Descent{Reason: fmt.Sprintf("%s has replayed up to %s on timeline %d, which %s left at %s: it has WAL of its own", name, at.LSN, at.Timeline, n.Name, fork)}, nil
	}
	return Descent{OK: true}, nil
}

// Fork is where a timeline left the one before it.
type Fork struct {
	Parent walcore.Timeline `json:"parent"`
	LSN    walcore.LSN      `json:"lsn"`
}

// Forked reads where a timeline of this server began.
func (n Node) Forked(timeline walcore.Timeline) (Fork, error) {
	history, err := n.history(timeline)
	if err != nil {
		return Fork{}, err
	}
	if len(history) == 0 {
		return Fork{}, fmt.Errorf("%s names no ancestor of timeline %d", timeline.HistoryName(), timeline)
	}
	last := history[len(history)-1]
	return Fork{Parent: last.Timeline, LSN: last.End}, nil
}

// history reads a timeline's history from pg_wal, else from the archive.
func (n Node) history(timeline walcore.Timeline) (walcore.History, error) {
	name := string(timeline.HistoryName())
	f, err := os.Open(filepath.Join(walcore.WALDir(n.Server.PGData), name))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(n.Archive, name))
	}
	if err != nil {
		return nil, fmt.Errorf("read the history of timeline %d: %w", timeline, err)
	}
	history, err := walcore.ParseHistory(f, timeline)
	return history, errors.Join(err, f.Close())
}
