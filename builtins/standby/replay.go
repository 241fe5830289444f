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

// ProveReplay waits until the server has replayed everything of a stopped
// primary, whose WAL ends at the point, and returns how that is known: from SQL
// and the control file on a hot standby, else from the control file after a
// fast stop whose restart point is the primary's checkpoint. In the second case
// the server is started again. A server that is past the point, or on another
// timeline, has replayed something else: that is an error, never a proof.
//
// seen is where the server was known to be before, on which timeline, or zero: a
// restartpoint is then not needed to tell that it has left that one.
func (n Node) ProveReplay(ctx context.Context, point Point, seen Opened, timeout time.Duration) (Proof, error) {
	status, err := n.Server.Status(ctx)
	if err != nil {
		return Proof{}, err
	}
	if status.Ready == pgctl.ReadyStandby {
		return n.proveByRestart(ctx, point, timeout)
	}
	conn, err := n.SQL(ctx)
	if err != nil {
		return Proof{}, fmt.Errorf("ask %s how far it is: %w", n.Name, err)
	}
	defer conn.Close(ctx)
	err = poll(ctx, timeout, fmt.Sprintf("%s to replay %s", n.Name, point.End), func(ctx context.Context) (bool, string, error) {
		state, err := conn.State(ctx)
		if err == nil && state.ReplayLSN > point.End {
			err = n.strayed(Opened{LSN: state.ReplayLSN, Timeline: state.Timeline}, point)
		}
		return state.ReplayLSN == point.End, fmt.Sprintf("replayed %s", state.ReplayLSN), err
	})
	if err != nil {
		return Proof{}, err
	}
	stayed, err := n.stayed(seen, point)
	if err != nil || stayed {
		return Proof{LSN: point.End, How: fmt.Sprintf("it says so itself, in SQL; it was at %s on timeline %d before, and knows of none that has left it", seen.LSN, seen.Timeline)}, err
	}
	at, err := n.Position(ctx)
	if err == nil && (at.LSN != point.End || at.Timeline != point.Timeline) {
		err = n.strayed(at, point)
	}
	return Proof{LSN: at.LSN, How: "it says so itself, in SQL and in its control file"}, err
}

// stayed reports whether a server that was on the point's timeline before can
// only be on it still: it leaves one by a history file, which it must have read
// from its archive or pg_wal.
func (n Node) stayed(seen Opened, point Point) (bool, error) {
	if seen.Timeline != point.Timeline || seen.LSN == 0 || seen.LSN > point.End {
		return false, nil
	}
	left, err := n.Offshoots(point.Timeline)
	return len(left) == 0, err
}

func (n Node) strayed(at Opened, point Point) error {
	return hint.Wrap(fmt.Errorf("%s has replayed up to %s on timeline %d, but the primary's WAL ends at %s on timeline %d: it follows something else", n.Name, at.LSN, at.Timeline, point.End, point.Timeline),
		"make it a standby of the primary again: warmrun rejoin on %s", n.Name)
}

// proveByRestart relies on the restart point that a fast stop in recovery
// makes at the last checkpoint record replayed (ShutdownXLOG in xlog.c).
func (n Node) proveByRestart(ctx context.Context, point Point, timeout time.Duration) (Proof, error) {
	if !point.Clean {
		return Proof{}, hint.Wrap(fmt.Errorf("%s accepts no connections and %s does not end with a checkpoint: there is no proof that it was replayed", n.Name, point.End), "set hot_standby = on on the standby")
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pause := time.NewTicker(restartPause)
	defer pause.Stop()
	for {
		control, err := n.restart(bounded)
		if err != nil {
			return Proof{}, err
		}
		if control.Checkpoint == point.Checkpoint && control.Timeline == point.Timeline {
			return Proof{LSN: point.End, How: "its restart point is the primary's shutdown checkpoint"}, nil
		}
		select {
		case <-bounded.Done():
			return Proof{}, fmt.Errorf("gave up waiting for %s to replay %s after %s: its restart point is %s on timeline %d", n.Name, point.End, timeout, control.Checkpoint, control.Timeline)
		case <-pause.C:
		}
	}
}

// restartPause gives a server that is restarted to see how far it is the time
// to get further.
const restartPause = 10 * time.Second

// restart stops the server fast, which makes a restart point, reads the control
// file and starts it again, also when the time is up meanwhile.
func (n Node) restart(ctx context.Context) (walcore.ControlFile, error) {
	if err := n.Server.Stop(ctx, pgctl.StopOptions{Timeout: 10 * time.Minute}); err != nil {
		return walcore.ControlFile{}, err
	}
	control, err := n.Server.Control()
	start := n.Server.Start(context.WithoutCancel(ctx), pgctl.StartOptions{Timeout: 10 * time.Minute, LogFile: n.LogFile})
	return control, errors.Join(err, start)
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
	return n.flushedReplay()
}

// flushedReplay is what the control file says of it, where the server does not.
func (n Node) flushedReplay() (Opened, error) {
	control, err := n.Server.Control()
	if err != nil {
		return Opened{}, err
	}
	return Opened{LSN: max(control.MinRecoveryPoint, control.Checkpoint), Timeline: max(control.MinRecoveryTimeline, control.Timeline)}, nil
}

// Recovery is how far a server in recovery is.
type Recovery struct {
	// Replayed is how far, on which timeline.
	Replayed Opened
	// Received is how far it has received by streaming and made durable, and zero
	// where it does not stream. A promotion replays all of it first.
	Received walcore.LSN
	// LastCommit is the old primary's time at the last commit replayed; zero where
	// the server does not tell.
	LastCommit time.Time
}

// Recovery asks the server once for all of it, since clients wait for a promotion.
// Of one that accepts no connections the control file tells what it has replayed.
func (n Node) Recovery(ctx context.Context) (Recovery, error) {
	conn, err := n.KeptSQL(ctx)
	if err != nil {
		at, err := n.flushedReplay()
		return Recovery{Replayed: at}, err
	}
	state, err := conn.State(ctx)
	return Recovery{Replayed: Opened{LSN: state.ReplayLSN, Timeline: state.Timeline}, Received: state.ReceiveLSN, LastCommit: state.ReplayTimestamp}, err
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

// ReplayArchive waits until the server has replayed the record that begins at
// last, the last whole one in its archive. A server that accepts no connections
// is not waited for: a smart promotion replays what is left before it opens (xlogrecovery.c
// looks for a promotion request only after the archive had nothing more).
func (n Node) ReplayArchive(ctx context.Context, last walcore.LSN, timeout time.Duration) (Proof, error) {
	conn, err := n.KeptSQL(ctx)
	if err != nil {
		return Proof{LSN: last, How: "the promotion replays what is left"}, nil
	}
	var at walcore.LSN
	err = poll(ctx, timeout, fmt.Sprintf("%s to replay its archive, whose last record is at %s", n.Name, last), func(ctx context.Context) (bool, string, error) {
		state, err := conn.State(ctx)
		at = state.ReplayLSN
		return at > last, fmt.Sprintf("replayed %s", at), err
	})
	return Proof{LSN: at, How: "it says so itself, in SQL"}, err
}
