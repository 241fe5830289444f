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
	"github.com/warmrun/warmrun/walcore/hint"
)

// Point is where the WAL of a stopped server ends.
type Point struct {
	Timeline   walcore.Timeline    `json:"timeline"`
	Checkpoint walcore.LSN         `json:"checkpoint"`
	End        walcore.LSN         `json:"end_lsn"`
	Segment    walcore.SegmentName `json:"segment"`
	Clean      bool                `json:"clean"` // ended by a shutdown checkpoint
}

// ShutdownPoint is the end of the shutdown checkpoint of a server that was
// stopped cleanly as a primary. Anything else is an error.
func (n Node) ShutdownPoint(ctx context.Context) (Point, error) {
	state, err := n.Inspect(ctx)
	if err != nil {
		return Point{}, err
	}
	if state.Running {
		return Point{}, fmt.Errorf("the server on %s is running", n.Name)
	}
	if state.Control.State != walcore.StateShutDown {
		return Point{}, hint.Wrap(fmt.Errorf("%s was not shut down cleanly as a primary: its control file says %q", n.Name, state.Control.State),
			"failover salvages the WAL of a primary that crashed")
	}
	end, segment, err := walcore.ShutdownEnd(walcore.WALDir(n.Server.PGData), state.Control)
	if err != nil {
		return Point{}, fmt.Errorf("find the end of the shutdown checkpoint at %s: %w", state.Control.Checkpoint, err)
	}
	return Point{Timeline: state.Control.Timeline, Checkpoint: state.Control.Checkpoint, End: end, Segment: segment, Clean: true}, nil
}

// LastPoint is where the WAL of a server that does not run ends: at its
// shutdown checkpoint, or where its crash recovery would end.
func (n Node) LastPoint(ctx context.Context) (Point, error) {
	state, err := n.Inspect(ctx)
	if err != nil {
		return Point{}, err
	}
	if state.Running {
		return Point{}, fmt.Errorf("the server on %s is running", n.Name)
	}
	if state.Control.State == walcore.StateShutDown {
		return n.ShutdownPoint(ctx)
	}
	if err := n.awaitOrphans(ctx); err != nil {
		return Point{}, err
	}
	end, segment, err := walcore.EndOfWAL(walcore.WALDir(n.Server.PGData), state.Control)
	if err != nil {
		return Point{}, fmt.Errorf("find the end of the WAL of %s: %w", n.Name, err)
	}
	// Not the control file's timeline: after a promotion that is the old one
	// until the first checkpoint is complete.
	return Point{Timeline: segment.Timeline(), Checkpoint: state.Control.Checkpoint, End: end, Segment: segment}, nil
}

// Proof says how it is known that an LSN was replayed.
type Proof struct {
	LSN walcore.LSN `json:"lsn"`
	How string      `json:"how"`
}

// ProveReplay waits until the server has replayed everything before lsn, and
// returns how that is known: from SQL on a hot standby, else from the control
// file after a fast stop whose restart point is the primary's checkpoint. In
// the second case the server is started again.
func (n Node) ProveReplay(ctx context.Context, lsn, checkpoint walcore.LSN, timeout time.Duration) (Proof, error) {
	conn, hot := n.hotStandby(ctx)
	if !hot {
		return n.proveByRestart(ctx, lsn, checkpoint, timeout)
	}
	defer conn.Close(ctx)
	var replayed walcore.LSN
	err := poll(ctx, timeout, fmt.Sprintf("%s to replay %s", n.Name, lsn), func(ctx context.Context) (bool, string, error) {
		state, err := conn.State(ctx)
		if err != nil {
			return false, "", err
		}
		replayed = state.ReplayLSN
		return replayed >= lsn, fmt.Sprintf("replayed %s", replayed), nil
	})
	return Proof{LSN: replayed, How: "it says so itself, in SQL"}, err
}

// proveByRestart relies on the restart point that a fast stop in recovery
// makes at the last checkpoint record replayed (ShutdownXLOG in xlog.c).
func (n Node) proveByRestart(ctx context.Context, lsn, checkpoint walcore.LSN, timeout time.Duration) (Proof, error) {
	if checkpoint == 0 {
		return Proof{}, hint.Wrap(fmt.Errorf("%s accepts no connections and %s does not end with a checkpoint: there is no proof that it was replayed", n.Name, lsn), "set hot_standby = on on the standby")
	}
	err := poll(ctx, timeout, fmt.Sprintf("%s to replay %s", n.Name, lsn), func(ctx context.Context) (bool, string, error) {
		if err := n.Server.Stop(ctx, pgctl.StopOptions{Mode: "fast", Timeout: timeout}); err != nil {
			return false, "", err
		}
		control, err := n.Server.Control()
		if err != nil {
			return false, "", err
		}
		if err := n.Server.Start(ctx, pgctl.StartOptions{Timeout: timeout, LogFile: n.LogFile}); err != nil {
			return false, "", err
		}
		return control.Checkpoint == checkpoint, fmt.Sprintf("its restart point is %s", control.Checkpoint), nil
	})
	return Proof{LSN: lsn, How: "its restart point is the primary's shutdown checkpoint"}, err
}

// Replayed is how far the server has come, with the timeline it is on.
func (n Node) Replayed(ctx context.Context) (Opened, error) {
	conn, hot := n.hotStandby(ctx)
	if hot {
		defer conn.Close(ctx)
		state, err := conn.State(ctx)
		if err == nil {
			return Opened{LSN: state.ReplayLSN, Timeline: state.Timeline}, nil
		}
	}
	control, err := n.Server.Control()
	if err != nil {
		return Opened{}, err
	}
	return Opened{LSN: max(control.MinRecoveryPoint, control.Checkpoint), Timeline: max(control.MinRecoveryTimeline, control.Timeline)}, nil
}

// Progress is how far a server's control file says it is.
type Progress struct {
	// Needs is where it would begin to replay if it were started now.
	Needs walcore.LSN `json:"needs"`
	// Replayed is what it has replayed at least.
	Replayed walcore.LSN `json:"replayed"`
}

// Progress reads the control file. A base copy that has not begun to replay
// needs the WAL from its backup_label on; where there is no data directory yet
// everything is zero.
func (n Node) Progress() (Progress, error) {
	control, err := n.Server.Control()
	if errors.Is(err, fs.ErrNotExist) {
		return Progress{}, nil
	}
	if err != nil {
		return Progress{}, err
	}
	label, err := os.Open(filepath.Join(n.Server.PGData, "backup_label"))
	if errors.Is(err, fs.ErrNotExist) {
		return Progress{Needs: control.Redo, Replayed: max(control.Redo, control.MinRecoveryPoint)}, nil
	}
	if err != nil {
		return Progress{}, err
	}
	backup, err := walcore.ParseBackupLabel(label)
	if err := errors.Join(err, label.Close()); err != nil {
		return Progress{}, fmt.Errorf("%s: %w", label.Name(), err)
	}
	return Progress{Needs: backup.StartLSN, Replayed: backup.StartLSN}, nil
}

// Follows waits until the server has replayed an LSN that exists only on the
// new timeline, behind the fork: the proof that it follows it. No function of
// a server in recovery tells the timeline that it replays. Without hot standby the control
// file's minimum recovery point, which the server moves forward as it replays,
// is asked instead.
func (n Node) Follows(ctx context.Context, lsn walcore.LSN, timeout time.Duration) error {
	return poll(ctx, timeout, fmt.Sprintf("%s to replay %s", n.Name, lsn), func(ctx context.Context) (bool, string, error) {
		status, err := n.Server.Status(ctx)
		if err != nil {
			return false, "", err
		}
		if !status.Running {
			return false, "", hint.Wrap(fmt.Errorf("the server on %s has stopped", n.Name), "its log says why: look in %s and in the server's own log", n.LogFile)
		}
		at, err := n.Replayed(ctx)
		if err != nil {
			return false, "", err
		}
		return at.LSN >= lsn, fmt.Sprintf("replayed %s", at.LSN), nil
	})
}

// ReplayArchive waits until the server has replayed the record that begins at
// last, the last whole one in its archive. A server that accepts no connections is not waited for:
// a smart promotion replays what is left before it opens (xlogrecovery.c
// looks for a promotion request only after the archive had nothing more).
func (n Node) ReplayArchive(ctx context.Context, last walcore.LSN, timeout time.Duration) (Proof, error) {
	conn, hot := n.hotStandby(ctx)
	if !hot {
		return Proof{LSN: last, How: "the promotion replays what is left"}, nil
	}
	defer conn.Close(ctx)
	var at walcore.LSN
	err := poll(ctx, timeout, fmt.Sprintf("%s to replay its archive, whose last record is at %s", n.Name, last), func(ctx context.Context) (bool, string, error) {
		state, err := conn.State(ctx)
		at = state.ReplayLSN
		return at > last, fmt.Sprintf("replayed %s", at), err
	})
	return Proof{LSN: at, How: "it says so itself, in SQL"}, err
}
