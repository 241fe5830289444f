package walcore

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// archiveSize is how much WAL an archive was seen to hold. It is measured
// file by file once a day; between that, what arrives is found by trying the
// next names.
type archiveSize struct {
	Bytes    int64     `json:"bytes"`
	Oldest   string    `json:"oldest"` // position of the first segment
	Newest   string    `json:"newest"` // of the last one counted
	Measured time.Time `json:"measured"`
}

// Lost is what the valve of a size limit took out of an archive although it
// was needed.
type Lost struct {
	// First is where the first segment removed begins, Last where the last one
	// ends.
	First LSN `json:"first"`
	Last  LSN `json:"last"`
	// Segments is how many were removed, all together.
	Segments int `json:"segments"`
	// Since is when the first was removed, At when the last.
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
	// Broken is who lacks WAL now: "the relay", "backup" and its file, or "base
	// copy" and its ID.
	Broken []string `json:"broken"`
}

// Lost is what a size limit has cost this archive; false when nothing. It
// stays until somebody who has mended it removes LostFile.
func (a *Archive) Lost() (Lost, bool, error) {
	var lost Lost
	found, err := readState(a.LostFile(), &lost)
	return lost, found, err
}

// LostFile is the path of the note that Lost reads.
func (a *Archive) LostFile() string { return a.state("lost") }

// valve keeps the archive below its size limit. It removes the oldest segments
// that this server does not need, whoever else does, and says so.
func (r *restoring) valve(ctx context.Context) error {
	needed, known := r.oldestNeeded()
	if !known {
		return nil
	}
	if err := r.measure(ctx); err != nil {
		return err
	}
	size := &r.state.Cleaned.Size
	if size.Bytes <= r.MaxSize {
		return nil
	}
	victims, next, err := r.oldest(ctx, needed, size.Bytes-r.MaxSize)
	if err != nil {
		return err
	}
	if len(victims) == 0 {
		size.Oldest = next
		if r.state.report("max_size") {
			r.dirty = true
			r.say("%s holds %d bytes, more than archive.max_size allows, and this server needs all of it", r.Archive, size.Bytes)
		}
		return nil
	}
	if err := r.announce(ctx, victims); err != nil {
		return err
	}
	r.freed = 0
	for _, name := range victims {
		if err := r.remove(ctx, name.Segment(), name); err != nil {
			return err
		}
	}
	size.Bytes, size.Oldest, r.dirty = size.Bytes-r.freed, next, true
	return nil
}

// measure brings the size of the archive up to date.
func (r *restoring) measure(ctx context.Context) error {
	size := &r.state.Cleaned.Size
	if r.Now().Sub(size.Measured).Abs() > cleanupList {
		return r.measureAll(ctx)
	}
	size.Bytes -= r.freed
	size.Oldest = max(size.Oldest, r.state.Cleaned.Below)
	r.dirty = r.dirty || r.freed != 0
	timelines := r.knownTimelines(r.state.Cleaned.Timelines)
	for number := positionNumber(size.Newest, r.segment) + 1; ; number++ {
		found, bytes, err := r.at(number, timelines)
		if err != nil || len(found) == 0 {
			return err
		}
		size.Bytes += bytes
		size.Newest, r.dirty = found[0].Segment().Position(), true
	}
}

func (r *restoring) measureAll(ctx context.Context) error {
	var size archiveSize
	err := (&Archive{dir: r.Archive}).eachName(ctx, func(name FileName, file string) error {
		if name.Kind() != KindSegment && name.Kind() != KindPartial {
			return nil
		}
		info, err := os.Lstat(filepath.Join(r.Archive, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		position := name.Segment().Position()
		size.Bytes += info.Size()
		size.Newest = max(size.Newest, position)
		if size.Oldest == "" || position < size.Oldest {
			size.Oldest = position
		}
		return nil
	})
	if err != nil {
		return err
	}
	size.Measured = r.Now().UTC()
	r.state.Cleaned.Size, r.dirty = size, true
	return nil
}

// at is what the archive holds of one segment number.
func (r *restoring) at(number uint64, timelines []Timeline) (found []FileName, bytes int64, err error) {
	for _, timeline := range timelines {
		name := FileName(MakeSegmentName(timeline, number, r.segment))
		for _, name := range []FileName{name, name + ".partial"} {
			there, size, err := r.size(name)
			if err != nil {
				return nil, 0, err
			}
			if there {
				found, bytes = append(found, name), bytes+size
			}
		}
	}
	return found, bytes, nil
}

// size is what a WAL file takes, in all forms in which it is there.
func (r *restoring) size(name FileName) (there bool, bytes int64, err error) {
	for _, file := range storedAs(name) {
		info, err := os.Lstat(filepath.Join(r.Archive, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, 0, err
		}
		there, bytes = true, bytes+info.Size()
	}
	return there, bytes, nil
}

// oldest picks segments from the oldest on, until they make up the excess or
// the next one is needed by this server. next is the position after them.
func (r *restoring) oldest(ctx context.Context, needed string, excess int64) (victims []FileName, next string, err error) {
	timelines := r.knownTimelines(r.state.Cleaned.Timelines)
	number, end := positionNumber(r.state.Cleaned.Size.Oldest, r.segment), positionNumber(needed, r.segment)
	for tries := 0; number < end && excess > 0 && tries < maxCleanup; tries++ {
		if ctx.Err() != nil {
			return nil, "", context.Cause(ctx)
		}
		found, bytes, err := r.at(number, timelines)
		if err != nil {
			return nil, "", err
		}
		victims, excess, number = append(victims, found...), excess-bytes, number+1
	}
	return victims, MakeSegmentName(1, number, r.segment).Position(), nil
}

// announce notes durably what is about to be lost and for whom, and says it
// aloud. Where nobody needs the segments there is nothing to say.
func (r *restoring) announce(ctx context.Context, victims []FileName) error {
	broken, err := r.broken(ctx, victims[len(victims)-1].Segment().Position())
	if err != nil || len(broken) == 0 {
		return err
	}
	first, last := victims[0].Segment().Start(r.segment), victims[len(victims)-1].Segment().End(r.segment)
	archive := &Archive{dir: r.Archive}
	lost, found, err := archive.Lost()
	if err != nil {
		return hint.Wrap(err, "remove %s once everything that it names has been mended", archive.LostFile())
	}
	now := r.Now().UTC()
	if !found {
		lost = Lost{First: first, Since: now}
	}
	lost.First, lost.Last = min(lost.First, first), max(lost.Last, last)
	lost.Segments, lost.At = lost.Segments+len(victims), now
	for _, who := range broken {
		if !slices.Contains(lost.Broken, who) {
			lost.Broken = append(lost.Broken, who)
		}
	}
	if err := archive.prepare(); err != nil {
		return err
	}
	if err := writeState(archive.LostFile(), lost); err != nil {
		return err
	}
	r.say("LOST: %s is larger than archive.max_size allows: removing WAL from %s to %s (files: %d), which is needed by %s",
		r.Archive, first, last, len(victims), strings.Join(broken, " and "))
	return nil
}

// broken is who needs WAL at the position or before it. A relay of which
// nothing is known needs all.
func (r *restoring) broken(ctx context.Context, last string) ([]string, error) {
	var broken []string
	if r.HasRelay {
		relayed, found, err := (&Archive{dir: r.Archive}).Watermark()
		if err != nil || !found || relayed.Position() < last {
			broken = append(broken, "the relay")
		}
	}
	pins, err := (&Archive{dir: r.Archive}).Pins()
	if err != nil {
		return broken, err
	}
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		if pins[name].Position() <= last {
			broken = append(broken, "base copy "+name)
		}
	}
	if r.KeepBackups == 0 {
		return broken, nil
	}
	kept, err := r.keptBackups(ctx)
	for _, name := range slices.Backward(kept) {
		if name.Segment().Position() <= last {
			broken = append(broken, "backup "+string(name))
		}
	}
	return broken, err
}
