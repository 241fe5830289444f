package health

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/walcore"
)

// archive looks at the node's own archive.
func (l *look) archive() {
	if l.Node.Archive == "" {
		l.n.unknown(errors.New("no archive directory is known for this node"), "last_received", "wanted", "fence")
		return
	}
	archive, err := walcore.OpenArchive(l.Node.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		l.n.ArchiveMissing = l.Node.Archive
		return
	}
	if err != nil {
		l.n.unknown(err, "last_received", "wanted", "fence")
		return
	}
	l.store = archive
	if chain, err := archive.Chain(""); err != nil {
		l.n.unknown(err, "last_received")
	} else {
		l.n.FirstReceived, l.n.LastReceived, l.n.ReceivedLSN = chain.First, chain.Last, chain.End
		if l.n.Role == RoleRelay && l.control == nil {
			l.n.Timeline = chain.Timeline
		}
	}
	if l.n.Fence, err = archive.Fence(); err != nil {
		l.n.unknown(err, "fence")
	}
	if mark, found, err := archive.Watermark(); err != nil {
		l.n.unknown(err, "relayed")
	} else if found {
		l.n.Relayed = mark
	}
	if lost, found, err := archive.Lost(); err != nil {
		l.n.unknown(err, "lost")
	} else if found {
		l.n.Lost, l.n.LostFile = &lost, archive.LostFile()
	}
	l.asked(archive)
}

// asked finds what the server of this data directory asks the archive for.
func (l *look) asked(archive *walcore.Archive) {
	all, err := archive.Wanted()
	if err != nil {
		l.n.unknown(err, "wanted")
		return
	}
	pgdata, err := filepath.EvalSymlinks(l.Server.PGData)
	if err != nil {
		return // there is no data directory, and so nobody who asks
	}
	i := slices.IndexFunc(all, func(w walcore.Wanted) bool { return w.PGData == pgdata })
	if i < 0 {
		return
	}
	if replays := all[i].Replays; len(replays) > 0 {
		l.n.ReplayPace = slices.Max(replays).Seconds()
	}
	// What it asked for before it was promoted or stopped is no news.
	if l.recovering() {
		l.wanted = &all[i]
	}
}

// waitsFor picks, of all the names that a round of the server asks for, the
// one that replay waits for: the segment of the timeline it is on. A round
// asks for histories too, and mostly in vain: they are nothing to wait for.
func (l *look) waitsFor() walcore.FileName {
	var best walcore.FileName
	if l.wanted == nil {
		return ""
	}
	for _, name := range l.wanted.Names {
		if name.Kind() == walcore.KindSegment && (best == "" || name.Timeline() == l.n.Timeline && best.Timeline() != l.n.Timeline) {
			best = name
		}
	}
	return best
}

// positions works out where the node's WAL ends and how far it has replayed.
func (l *look) positions() {
	switch {
	case l.state != nil && l.state.InRecovery:
		l.n.ReplayedLSN = l.state.ReplayLSN
	case l.state != nil:
		l.n.CurrentLSN = l.state.CurrentLSN
	case l.control == nil:
	case l.n.Role == RoleStoppedPrimary:
		l.stoppedEnd()
	case l.n.follows() || l.n.Role == RoleRecovery:
		l.replayedWithoutSQL()
	}
	l.replayedTimeline()
	if l.n.Wanted = l.waitsFor(); l.n.Wanted != "" {
		l.n.WantedSince = l.wanted.Since
	}
	if l.n.ReplayedLSN > 0 && l.control != nil {
		l.n.LastReplayed = walcore.SegmentAt(l.n.Timeline, l.n.ReplayedLSN-1, l.control.SegmentSize)
	}
}

// stoppedEnd is where the WAL of a cleanly stopped primary ends.
func (l *look) stoppedEnd() {
	if l.control.State != walcore.StateShutDown {
		l.n.unknown(fmt.Errorf("it was not shut down cleanly (%s), so the end of its WAL is not written down", l.control.State), "current_lsn")
		return
	}
	end, _, err := walcore.ShutdownEnd(walcore.WALDir(l.Server.PGData), *l.control)
	if err != nil {
		l.n.unknown(err, "current_lsn")
		return
	}
	l.n.CurrentLSN = end
}

// replayedWithoutSQL is at least how far a standby has replayed: pg_control
// says what is safely on disk, and a server that asks for a segment has used
// up the one before.
func (l *look) replayedWithoutSQL() {
	l.n.Timeline = max(l.control.Timeline, l.control.MinRecoveryTimeline)
	if l.control.State == walcore.StateShutDown {
		// It was a primary when it was stopped and has everything of its own.
		end, _, err := walcore.ShutdownEnd(walcore.WALDir(l.Server.PGData), *l.control)
		if err == nil {
			l.n.ReplayedLSN = end
			return
		}
	}
	l.n.ReplayedLSN = max(l.control.MinRecoveryPoint, l.control.Redo)
	if wanted := l.waitsFor(); wanted != "" {
		l.n.ReplayedLSN = max(l.n.ReplayedLSN, wanted.Segment().Start(l.control.SegmentSize))
	}
	delete(l.n.Unknown, "replayed_lsn")
	l.n.unknown(errors.New("the server accepts no connections, so this is the least that it has replayed"), "replayed_lsn")
}
