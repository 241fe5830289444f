package standby

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Follows waits until the server has replayed an LSN that exists only on the
// new timeline, behind the fork: the proof that it follows it. No function of
// a server in recovery tells the timeline that it replays. One that accepts no
// connections is restarted: its control file says how far it is only then (see
// follower.stop).
func (n Node) Follows(ctx context.Context, lsn walcore.LSN, timeout time.Duration) error {
	f := &follower{Node: n, lsn: lsn, began: time.Now()}
	return poll(ctx, timeout, fmt.Sprintf("%s to replay %s", n.Name, lsn), func(ctx context.Context) (bool, string, error) {
		status, err := n.Server.Status(ctx)
		if err != nil {
			return false, "", err
		}
		if !status.Running {
			return false, "", hint.Wrap(fmt.Errorf("the server on %s has stopped", n.Name), "its log says why: look in %s and in the server's own log", n.LogFile)
		}
		at, err := n.Replayed(ctx)
		if err == nil && at.LSN < lsn && status.Ready == pgctl.ReadyStandby && f.due() {
			at.LSN, err = f.stop(ctx, at.LSN)
		}
		if err != nil {
			return false, "", err
		}
		return at.LSN >= lsn, fmt.Sprintf("replayed %s", at.LSN), nil
	})
}

// follower is a server without hot standby that is to show how far it is.
type follower struct {
	Node
	lsn   walcore.LSN
	began time.Time
	next  time.Time // not stopped again before
}

// askPatience is how long a server is left in peace that has not asked for what
// comes behind the LSN. Not every restore_command leaves a note of that.
const askPatience = 30 * time.Second

// due reports whether a stop is likely to show the LSN: the server has asked
// for a segment behind it. That it asked is no proof by itself, for from 15 on
// it reads ahead of what it replays.
func (f *follower) due() bool {
	now := time.Now()
	return !now.Before(f.next) && (f.askedBehind() || now.Sub(f.began) > askPatience)
}

func (f *follower) askedBehind() bool {
	archive, errArchive := walcore.OpenArchive(f.Archive)
	pgdata, errPath := filepath.EvalSymlinks(f.Server.PGData)
	control, errControl := f.Server.Control()
	if errArchive != nil || errPath != nil || errControl != nil {
		return false // what cannot be told is waited out
	}
	all, err := archive.Wanted()
	if err != nil {
		return false
	}
	for _, wanted := range all {
		for _, name := range wanted.Names {
			if name.Kind() == walcore.KindSegment && wanted.PGData == pgdata && name.Segment().Start(control.SegmentSize) >= f.lsn {
				return true
			}
		}
	}
	return false
}

// stop restarts the server and returns how far it had replayed at least. A fast
// stop in recovery makes a restart point, which notes its own place, or where
// there is none to make notes where replay is (CreateRestartPoint in xlog.c):
// as long as that goes on, stopping again tells more.
func (f *follower) stop(ctx context.Context, before walcore.LSN) (walcore.LSN, error) {
	control, err := f.restart(ctx)
	at := max(control.MinRecoveryPoint, control.Checkpoint)
	if at <= before {
		f.next = time.Now().Add(restartPause)
	}
	return at, err
}
