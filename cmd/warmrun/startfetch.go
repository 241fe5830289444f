package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// The files below local that a search for WAL leaves: which segment was
// searched for last, locked while the search goes on, and what it said.
const (
	fetchMark = "fetch.lock"
	fetchLog  = "fetch.log"
)

// How long a segment is not searched for again: an idle standby asks for its
// next segment every second. The pause grows with the time that it has been
// missing. Where nothing tells that it exists, the first
// search comes when it has been missing for a while, and the pauses grow with
// that.
const (
	fetchPauseMin = 2 * time.Second
	fetchPause    = 30 * time.Second
	fetchPauseMax = 10 * time.Minute
	fetchMissed   = time.Minute
)

// startFetch leaves `warmrun fetch NAME` behind in the background. It never
// waits.
func (s *session) startFetch(_ context.Context, name walcore.FileName, since time.Time) error {
	segment := name.Segment()
	if segment == "" {
		return nil
	}
	// A later segment that is here says that this one was shipped elsewhere; so
	// may it have been where one destination is enough for the primary.
	likely := s.site.Archiving.Require == cluster.RequireAny || s.gapAt(segment)
	mark := s.site.Local(fetchMark)
	if !fetchDue(mark, segment, likely, time.Since(since)) {
		return nil
	}
	if err := atomicfile.MkdirAll(filepath.Dir(mark), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(mark, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // a search is under way
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, name); err != nil {
		return err
	}
	return s.leaveFetch(name, f)
}

// leaveFetch starts the search, which keeps the lock until it ends.
func (s *session) leaveFetch(name walcore.FileName, lock *os.File) error {
	log, err := os.Create(s.site.Local(fetchLog))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := detached("--home", s.site.Home, "--pgdata", s.site.Self.PGData, "fetch", string(name))
	cmd.Stderr = log
	cmd.ExtraFiles = []*os.File{lock}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// fetchDue reports whether to search now for a segment that has been missing
// for that long. A time in the future is one before the clock went back.
func fetchDue(mark string, segment walcore.SegmentName, likely bool, missing time.Duration) bool {
	missing = missing.Abs()
	// One that has just come to be missed may be on its way to where it is
	// looked for.
	pause := min(max(missing/2, fetchPauseMin), fetchPause)
	if !likely {
		if missing < fetchMissed {
			return false
		}
		pause = min(max(missing/4, fetchPause), fetchPauseMax)
	}
	info, err := os.Stat(mark)
	if err != nil || time.Since(info.ModTime()).Abs() >= pause {
		return true
	}
	text, err := os.ReadFile(mark)
	last, parseErr := walcore.ParseSegmentName(strings.TrimSpace(string(text)))
	return err != nil || parseErr != nil || last.Position() != segment.Position()
}

// gapAt reports whether a later segment is here although this one is not, on its
// timeline or on one that came after it.
func (s *session) gapAt(segment walcore.SegmentName) bool {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return false
	}
	stamp, ok, err := archive.Stamp()
	if err != nil || !ok {
		return false
	}
	for timeline := segment.Timeline(); ; timeline++ {
		if laterThan(archive, segment.Number(stamp.SegmentSize), timeline, stamp.SegmentSize) {
			return true
		}
		if there, err := archive.Has((timeline + 1).HistoryName()); err != nil || !there {
			return false
		}
	}
}

// laterThan looks for a segment of a timeline behind the number. The next few are
// looked for, and then ever fewer: a gap of any length is noticed once as much has
// come after it, and an idle standby reads no directory of 200,000 files each second.
func laterThan(archive *walcore.Archive, number uint64, timeline walcore.Timeline, size walcore.SegmentSize) bool {
	for step := uint64(1); step <= 1<<16; step += max(1, step&^7) {
		later := walcore.MakeSegmentName(timeline, number+step, size)
		if there, err := archive.Has(walcore.FileName(later)); err == nil && there {
			return true
		}
	}
	return false
}
