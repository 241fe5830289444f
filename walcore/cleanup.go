package walcore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// cleanMark says how far a data directory's server has had old segments
// removed, so that the next time begins there and does not list the archive.
type cleanMark struct {
	// Below is a position, as in SegmentName.Position: what lay below it was
	// removed. Empty means that the archive has yet to be listed.
	Below string `json:"below"`
	// Timelines is every timeline that segments were seen of.
	Timelines []Timeline `json:"timelines"`
	// Listed is when the whole archive was last looked through.
	Listed time.Time `json:"listed,omitzero"`
	// Failed is when removing last failed, as it does where the archive is
	// read-only.
	Failed time.Time `json:"failed,omitzero"`
	// BackupsListed is when the archive was last searched for backups.
	BackupsListed time.Time `json:"backups_listed,omitzero"`
	// Size is how much the archive holds, where that is limited.
	Size archiveSize `json:"size,omitzero"`
}

const (
	// cleanupRetry is how long a failed cleanup is left alone.
	cleanupRetry = 10 * time.Minute
	// cleanupList is how long the archive is not listed again. Listing finds
	// old segments that arrived after their like had been removed.
	cleanupList = 24 * time.Hour
)

// maxCleanup bounds how many names are tried one by one, and how many files
// one call removes. Beyond it a listing costs less, and a server that has a
// large archive to get rid of is not kept waiting for it.
const maxCleanup = 10000

// cleanup removes the segments that neither this server, nor the relay, nor a
// kept backup or base copy needs any more. Nothing is removed outside a standby: recovery
// to a point in time may have to be done again. It fails no restore; what
// cannot be removed is reported once.
func (r *restoring) cleanup(ctx context.Context) {
	if !r.Cleanup || r.keep.off || (r.kind != RecoveryStandby && !r.WarmStandby) {
		return
	}
	limit, known, err := r.cleanupLimit(ctx)
	if err == nil && known {
		err = r.removeBelow(ctx, limit)
	}
	if r.MaxSize > 0 {
		err = errors.Join(err, r.valve(ctx))
	}
	if err != nil && r.state.report("cleanup") {
		r.dirty = true
		r.say("old segments in %s are kept: %v", r.Archive, err)
	}
}

// cleanupLimit is the position of the first segment that must stay; false when
// everything must. Timelines do not count: WAL of a parent timeline is needed
// as long as its position is.
func (r *restoring) cleanupLimit(ctx context.Context) (limit string, known bool, err error) {
	limit, known = r.oldestNeeded()
	if !known {
		return "", false, nil
	}
	if r.KeepBackups > 0 {
		from, found, err := r.keptFrom(ctx)
		if err != nil || !found {
			return "", false, err
		}
		limit = min(limit, from)
	}
	pinned, err := r.pinnedFrom()
	if err != nil {
		return "", false, err
	}
	if pinned != "" {
		limit = min(limit, pinned)
	}
	if r.HasRelay {
		relayed, found, err := (&Archive{dir: r.Archive}).Watermark()
		if err != nil || !found {
			return "", false, err
		}
		limit = min(limit, relayed.Next(r.segment).Position())
	}
	return limit, true, nil
}

// oldestNeeded is the position of the segment that a restart of the server
// needs first. The server gives a name of zeros as long as it does not know
// (RestoreArchivedFile in xlogarchive.c), and one that is younger than what it
// asks for cannot be right.
func (r *restoring) oldestNeeded() (string, bool) {
	name := r.Name.Segment()
	if r.Redo == "" {
		number := name.Number(r.segment)
		if r.KeepSegments <= 0 || uint64(r.KeepSegments) > number {
			return "", false
		}
		return MakeSegmentName(name.Timeline(), number-uint64(r.KeepSegments), r.segment).Position(), true
	}
	redo := r.Redo.Segment()
	if r.Redo.Kind() != KindSegment || redo.Timeline() == 0 || redo.Position() > name.Position() {
		return "", false
	}
	return redo.Position(), true
}

// removeBelow removes segments of all timelines whose position is below limit.
// The first time, once a day, and when the limit went back, the archive is
// listed; otherwise the names between the last limit and this one are tried, so
// that the cost goes with what is removed and not with what is there.
func (r *restoring) removeBelow(ctx context.Context, limit string) error {
	mark := r.state.Cleaned
	if mark.Below == limit || r.Now().Sub(mark.Failed).Abs() < cleanupRetry {
		return nil
	}
	mark.Timelines = r.knownTimelines(mark.Timelines)
	from, to := positionNumber(mark.Below, r.segment), positionNumber(limit, r.segment)
	complete, err := true, error(nil)
	list := mark.Below == "" || to < from || (to-from)*uint64(len(mark.Timelines)) > maxCleanup ||
		r.Now().Sub(mark.Listed).Abs() > cleanupList // also after the clock went back
	if list {
		mark.Timelines, complete, err = r.removeListed(ctx, limit, mark.Timelines)
		mark.Listed = r.Now().UTC()
	} else {
		err = r.removeNamed(ctx, from, to, mark.Timelines)
	}
	switch {
	case ctx.Err() != nil:
		return nil // the next call begins where this one did
	case err != nil:
		mark.Failed = r.Now().UTC()
	case complete:
		mark.Below, mark.Failed = limit, time.Time{}
	default:
		mark.Below = ""
	}
	r.state.Cleaned, r.dirty = mark, true
	return err
}

func positionNumber(position string, size SegmentSize) uint64 {
	if position == "" {
		return 0
	}
	return SegmentName(Timeline(0).String() + position).Number(size)
}

// knownTimelines adds those of this call, and those whose histories have come
// since, to the timelines seen before.
func (r *restoring) knownTimelines(seen []Timeline) []Timeline {
	all := append(slices.Clone(seen), r.Name.Timeline())
	if r.Redo != "" {
		all = append(all, r.Redo.Timeline())
	}
	last := slices.Max(all)
	for newest := newestHistory(r.Archive, last); last < newest; {
		last++
		all = append(all, last)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// removeNamed tries every segment name from one number up to another.
func (r *restoring) removeNamed(ctx context.Context, from, to uint64, timelines []Timeline) error {
	for number := from; number < to; number++ {
		for _, timeline := range timelines {
			name := MakeSegmentName(timeline, number, r.segment)
			if err := r.remove(ctx, name, FileName(name)); err != nil {
				return err
			}
			if err := r.remove(ctx, name, FileName(name+".partial")); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeListed goes through the whole directory, a piece at a time. It is
// complete unless there was more to remove than one call may.
func (r *restoring) removeListed(ctx context.Context, limit string, timelines []Timeline) ([]Timeline, bool, error) {
	var old []FileName
	complete := true
	err := (&Archive{dir: r.Archive}).eachName(ctx, func(name FileName, _ string) error {
		if name.Kind() != KindSegment && name.Kind() != KindPartial {
			return nil
		}
		if !slices.Contains(timelines, name.Timeline()) {
			timelines = append(timelines, name.Timeline())
		}
		switch {
		case name.Segment().Position() >= limit:
		case len(old) == maxCleanup:
			complete = false
		default:
			old = append(old, name)
		}
		return nil
	})
	if err != nil {
		return timelines, false, err
	}
	slices.Sort(old)
	for _, name := range old {
		if err := r.remove(ctx, name.Segment(), name); err != nil {
			return timelines, false, err
		}
	}
	return timelines, complete, nil
}

// remove deletes one WAL file, however it is stored, if it is there, and the
// note on a provisional segment with it. Neither is flushed: a file that is back
// after a crash is found when the archive is listed again.
func (r *restoring) remove(ctx context.Context, segment SegmentName, name FileName) error {
	removed := false
	for _, file := range storedAs(name) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		gone, err := r.removeFile(filepath.Join(r.Archive, file))
		if err != nil {
			return err
		}
		removed = removed || gone
	}
	if !removed || name.Kind() != KindSegment {
		return nil
	}
	err := os.Remove((&Archive{dir: r.Archive}).sidecarPath(segment))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeFile deletes one file; false when it is not there.
func (r *restoring) removeFile(path string) (gone bool, err error) {
	var size int64
	if r.MaxSize > 0 {
		if info, err := os.Lstat(path); err == nil {
			size = info.Size()
		}
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.freed += size
	if r.Removed != nil {
		r.Removed(path)
	}
	return true, nil
}
