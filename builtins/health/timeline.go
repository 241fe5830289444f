package health

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/walcore"
)

// replayedTimeline corrects the timeline of a server in recovery. No function
// and no file says which one it replays: pg_control has that of the last
// restartpoint, which after a switchover is minutes old. But replay that is
// past the fork of a newer timeline, whose history and segment have come, can
// only have gone on there.
func (l *look) replayedTimeline() {
	if !l.recovering() || l.n.Timeline == 0 || l.n.ReplayedLSN == 0 || l.control == nil {
		return
	}
	for _, history := range l.newerHistories() {
		timeline := history.at(l.n.ReplayedLSN)
		if timeline <= l.n.Timeline {
			continue
		}
		if l.hasSegment(walcore.SegmentAt(timeline, l.n.ReplayedLSN-1, l.control.SegmentSize)) {
			l.n.Timeline = timeline
			return
		}
	}
}

// lineage is a timeline and what it descends from.
type lineage struct {
	timeline walcore.Timeline
	history  walcore.History
}

// at is the timeline that the WAL just before an LSN belongs to.
func (g lineage) at(lsn walcore.LSN) walcore.Timeline {
	for _, entry := range g.history {
		if lsn <= entry.End {
			return entry.Timeline
		}
	}
	return g.timeline
}

// newerHistories are the descendants of the node's timeline whose histories
// have come, newest first, as a standby prefers them.
func (l *look) newerHistories() []lineage {
	var found []lineage
	for _, timeline := range l.knownTimelines() {
		if timeline <= l.n.Timeline {
			continue
		}
		history, err := l.history(timeline)
		if err != nil {
			continue // a server could make nothing of it either
		}
		if _, descends := history.Fork(l.n.Timeline); descends {
			found = append(found, lineage{timeline: timeline, history: history})
		}
	}
	return found
}

// knownTimelines are those whose history files are in the archive or in
// pg_wal, newest first.
func (l *look) knownTimelines() []walcore.Timeline {
	var known []walcore.Timeline
	for _, dir := range l.walDirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			name, err := walcore.ParseFileName(entry.Name())
			if err == nil && name.Kind() == walcore.KindHistory {
				known = append(known, name.Timeline())
			}
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	slices.Reverse(known)
	return known
}

// walDirs are where the node keeps WAL: its archive, and pg_wal, into which
// the server puts what it has restored.
func (l *look) walDirs() []string {
	dirs := []string{walcore.WALDir(l.Server.PGData)}
	if l.store != nil {
		dirs = append(dirs, l.store.Dir())
	}
	return dirs
}

func (l *look) hasSegment(name walcore.SegmentName) bool {
	return slices.ContainsFunc(l.walDirs(), func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, string(name)))
		return err == nil
	})
}

// history is where a timeline comes from; fs.ErrNotExist where that is not
// written down here.
func (l *look) history(timeline walcore.Timeline) (walcore.History, error) {
	if timeline == 1 {
		return nil, nil
	}
	err := fs.ErrNotExist
	for _, dir := range l.walDirs() {
		f, openErr := os.Open(filepath.Join(dir, string(timeline.HistoryName())))
		if openErr != nil {
			if !errors.Is(openErr, fs.ErrNotExist) {
				err = openErr
			}
			continue
		}
		return parseAndClose(f, timeline)
	}
	return nil, err
}

func parseAndClose(f io.ReadCloser, timeline walcore.Timeline) (walcore.History, error) {
	history, err := walcore.ParseHistory(f, timeline)
	return history, errors.Join(err, f.Close())
}

// recovering reports whether the node's server replays at this moment.
func (l *look) recovering() bool {
	return l.n.Running && (l.n.Role == RoleStandby || l.n.Role == RoleRecovery)
}
