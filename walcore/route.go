package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Route is the WAL of an archive that leads to one timeline: what a recovery
// with that recovery_target_timeline replays.
type Route struct {
	Timeline Timeline
	// SegmentSize is that of all segments.
	SegmentSize SegmentSize

	archive *Archive
	line    descent
	names   []FileName // of all files in the archive when the route was asked for, sorted
}

// Route finds the way to a timeline, 0 for the newest that the archive has. A
// timeline but the first whose history file is not here is an error, since a
// server would not go there either.
func (a *Archive) Route(t Timeline) (*Route, error) {
	names, err := a.List()
	if err != nil {
		return nil, err
	}
	var all Chain
	all.survey(names)
	if t == 0 {
		t = all.Timeline
	}
	if t == 0 {
		return nil, hint.Wrap(fmt.Errorf("archive %s has no WAL", a.dir), "warmrun status shows what arrives on every node")
	}
	r := &Route{Timeline: t, archive: a, names: names, line: descent{{timeline: t}}}
	if t > 1 {
		history, err := a.history(t)
		if errors.Is(err, ErrNotArchived) {
			return nil, hint.Wrap(fmt.Errorf("archive %s does not know timeline %d: it has no %s", a.dir, uint32(t), t.HistoryName()),
				"warmrun wal ls shows the timelines that it has")
		}
		if err != nil {
			return nil, err
		}
		r.line = history.descent(t)
	}
	if r.SegmentSize, err = a.segmentSize(names); err != nil {
		return nil, err
	}
	if r.SegmentSize == 0 {
		return nil, hint.Wrap(fmt.Errorf("archive %s has no WAL segment", a.dir), "warmrun status shows what arrives on every node")
	}
	return r, nil
}

// Passes reports whether the route comes by an LSN on a timeline.
func (r *Route) Passes(t Timeline, at LSN) bool {
	if t == r.Timeline {
		return r.line.has(t)
	}
	next, onWay := r.line.after(t)
	return onWay && at <= next.begin
}

// Last is the last segment that can be reached from the one at an LSN without a
// gap, and the name of the first one that is missing behind it. Last is empty
// where that first one is missing already.
func (r *Route) Last(from LSN) (last, missing SegmentName) {
	for number := uint64(from) / uint64(r.SegmentSize); ; number++ {
		name := r.segment(number)
		if _, found := slices.BinarySearch(r.names, FileName(name)); !found {
			return last, name
		}
		last = name
	}
}

// segment is the name of the segment at a number, on the newest timeline that
// has WAL in it.
func (r *Route) segment(number uint64) SegmentName {
	return MakeSegmentName(r.line[r.line.at(number, r.SegmentSize)].timeline, number, r.SegmentSize)
}

// walk reads the records from the first one that begins in a segment on, until
// visit says that it is enough or the WAL in the archive ends. end is where the
// next record would be. The error says why not all could be read, and is nil
// where WAL just ends.
func (r *Route) walk(ctx context.Context, from SegmentName, visit func(rec record, mark *Landmark) (enough bool)) (end LSN, err error) {
	w := newWALReader(Identity{SegmentSize: r.SegmentSize}, r.Timeline)
	w.known, w.keeps = r.line.has, true
	var file *os.File
	w.open = func(number uint64) (io.ReaderAt, SegmentName, error) {
		name := r.segment(number)
		if file != nil {
			_ = file.Close() // only read from
		}
		if file, err = r.archive.Open(FileName(name)); errors.Is(err, ErrNotArchived) {
			return nil, "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		return file, name, err
	}
	defer func() {
		if file != nil {
			_ = file.Close() // only read from
		}
	}()
	start := from.Start(r.SegmentSize)
	if err := w.change(from.Number(r.SegmentSize), start); err != nil {
		return start, fmt.Errorf("read %s: %w", from, err)
	}
	end, err = w.skipContinued(start)
	prev, random := LSN(0), true
	for err == nil {
		if ctx.Err() != nil {
			return end, context.Cause(ctx)
		}
		var rec record
		if rec, err = w.record(end, prev, random); err != nil {
			break
		}
		end, prev, random = rec.next, rec.at, false
		var known *Landmark
		if mark, is := w.landmark(rec); is {
			known = &mark
		}
		if visit(rec, known) {
			return end, nil
		}
	}
	var stop *endError
	if errors.As(err, &stop) {
		return end, nil
	}
	return end, fmt.Errorf("read the WAL in %s from %s on: %w", r.archive.dir, from, err)
}
