package walcore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Target is where a recovery is to stop. At most one of the first four is set;
// none stands for the end of the archive.
type Target struct {
	Time time.Time
	LSN  LSN
	XID  uint32
	Name string // of a restore point
	// Exclusive: stop before what the target names and not behind it. It does
	// not matter for a restore point.
	Exclusive bool
}

// IsEnd reports whether the target is the end of the archive.
func (t Target) IsEnd() bool { return t.Time.IsZero() && t.LSN == 0 && t.XID == 0 && t.Name == "" }

// Check refuses a target that is several.
func (t Target) Check() error {
	given := 0
	for _, set := range []bool{!t.Time.IsZero(), t.LSN != 0, t.XID != 0, t.Name != ""} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New("a recovery has one target: a time, an LSN, a transaction or a restore point")
	case len(t.Name) >= restoreNameSize:
		return fmt.Errorf("the name of a restore point is shorter than %d bytes", restoreNameSize)
	case strings.ContainsAny(t.Name, "\x00\n\r"):
		return errors.New("the name of a restore point is one line")
	}
	return nil
}

// String says the target in words.
func (t Target) String() string {
	switch {
	case !t.Time.IsZero():
		return t.Time.Format(time.RFC3339Nano)
	case t.LSN != 0:
		return "LSN " + t.LSN.String()
	case t.XID != 0:
		return fmt.Sprintf("transaction %d", t.XID)
	case t.Name != "":
		return fmt.Sprintf("restore point %q", t.Name)
	}
	return "the end of the archive"
}

// ErrNotReached says that the WAL of an archive does not reach a target: a
// server would stop with an error there, and one before 13 would open the
// database at the end of its WAL as if that were the target.
var ErrNotReached = errors.New("the archive does not reach it")

// Reach is what the WAL of a route says of a target.
type Reach struct {
	// At is where the record begins at which a recovery stops, or for a time one
	// that is later. For the end of the archive it is where the last record ends.
	At LSN `json:"at"`
	// Last is the last commit or abort that was seen on the way; zero for none.
	Last Landmark `json:"last,omitzero"`
}

// Reach looks whether the WAL from an LSN on reaches a target, which it must
// prove: with a record behind it, for the server goes by that. For a time it
// reads the newest segments, for a transaction or a name all from there to up,
// where up is not 0. The error is ErrNotReached where it does not.
func (r *Route) Reach(ctx context.Context, t Target, from, up LSN) (Reach, error) {
	last, missing := r.Last(from)
	if last == "" {
		return Reach{}, hint.Wrap(fmt.Errorf("%s: %w: %s is missing in %s", t, ErrNotReached, missing, r.archive.dir), "warmrun wal ls shows what is there")
	}
	switch {
	case t.IsEnd():
		return r.end(ctx, from, last)
	case !t.Time.IsZero():
		return r.reachTime(ctx, t, from, last)
	}
	return r.reachRecord(ctx, t, from, up, missing)
}

// missingEnd lies behind all WAL.
const missingEnd = LSN(1<<64 - 1)

// end is where the records end that can be replayed.
func (r *Route) end(ctx context.Context, from LSN, last SegmentName) (Reach, error) {
	var reach Reach
	seen := missingEnd // what begins there or later was read already
	for number := last.Number(r.SegmentSize); ; number-- {
		name := r.segment(number)
		end, err := r.walk(ctx, name, func(rec record, mark *Landmark) bool {
			if rec.at < seen {
				reach.note(mark)
			}
			return rec.at >= seen
		})
		if err != nil {
			return Reach{}, err
		}
		reach.At, seen = max(reach.At, end), name.Start(r.SegmentSize)
		if reach.Last.At != 0 || number <= uint64(from)/uint64(r.SegmentSize) {
			return reach, nil
		}
	}
}

// note keeps the last transaction's end.
func (r *Reach) note(mark *Landmark) {
	if mark != nil && mark.Kind != LandmarkRestorePoint && mark.At > r.Last.At {
		r.Last = *mark
	}
}

// reachTime looks for a transaction that ended after the time, from the newest
// segment back. Times in the WAL grow but for small steps.
func (r *Route) reachTime(ctx context.Context, t Target, from LSN, last SegmentName) (Reach, error) {
	var newest Reach
	seen := missingEnd // what begins there or later was read already
	for number := last.Number(r.SegmentSize); ; number-- {
		var found *Landmark
		name := r.segment(number)
		_, err := r.walk(ctx, name, func(rec record, mark *Landmark) bool {
			newest.note(mark)
			if mark != nil && mark.Kind != LandmarkRestorePoint && mark.At >= from && t.passed(mark.Time) {
				found = mark
			}
			return found != nil || rec.at >= seen
		})
		seen = name.Start(r.SegmentSize)
		switch {
		case err != nil:
			return Reach{}, err
		case found != nil:
			return Reach{At: found.At, Last: *found}, nil
		case newest.Last.At == 0 && number > uint64(from)/uint64(r.SegmentSize):
			continue // no transaction ended in it
		case newest.Last.At == 0:
			return newest, fmt.Errorf("%s: %w: no transaction ended in its WAL from %s on", t, ErrNotReached, from)
		}
		return newest, hint.Wrap(fmt.Errorf("%s: %w: the last transaction in its WAL ended at %s, in %s", t, ErrNotReached, newest.Last.Time.Format(time.RFC3339Nano), last),
			"name a time before that, or wait until a transaction has ended later and its segment has arrived here")
	}
}

// passed reports whether a recovery to the time stops at a transaction that
// ended at another (recoveryStopsBefore in xlogrecovery.c).
func (t Target) passed(at time.Time) bool {
	if t.Exclusive {
		return !at.Before(t.Time)
	}
	return at.After(t.Time)
}

// reachRecord looks for the record that the target names.
func (r *Route) reachRecord(ctx context.Context, t Target, from, up LSN, missing SegmentName) (Reach, error) {
	begin := from
	if t.LSN > from {
		begin = min(t.LSN, missing.Start(r.SegmentSize)-1)
	}
	var reach Reach
	found := false
	end, err := r.walk(ctx, r.segment(uint64(begin)/uint64(r.SegmentSize)), func(rec record, mark *Landmark) bool {
		if up != 0 && rec.at >= up {
			return true
		}
		reach.note(mark)
		if rec.at >= from && t.names(rec, mark) {
			reach.At, found = rec.at, true
		}
		return found
	})
	if err != nil || found {
		return reach, err
	}
	err = fmt.Errorf("%s: %w: it is not in the WAL from %s to %s", t, ErrNotReached, from, end)
	if t.LSN != 0 {
		return reach, hint.Wrap(err, "name an LSN before that, or wait until %s has arrived here", missing)
	}
	if t.XID != 0 {
		return reach, hint.Wrap(err, "it has neither committed nor aborted there; for a prepared transaction give --lsn or --time")
	}
	return reach, hint.Wrap(err, "warmrun status shows how far this node's archive is; another history may have it: --timeline")
}

// names reports whether a recovery to the target stops at a record.
func (t Target) names(rec record, mark *Landmark) bool {
	switch {
	case t.LSN != 0:
		return rec.at >= t.LSN
	case mark == nil:
		return false
	case t.XID != 0:
		return mark.Kind != LandmarkRestorePoint && mark.XID == t.XID
	}
	return mark.Kind == LandmarkRestorePoint && mark.Name == t.Name
}

// LastBefore is the last transaction that ended with its record before an LSN, as far
// back as the LSN from; false where none did.
func (r *Route) LastBefore(ctx context.Context, at, from LSN) (Landmark, bool, error) {
	var last Reach
	first := uint64(from) / uint64(r.SegmentSize)
	for number := uint64(at-1) / uint64(r.SegmentSize); number >= first; number-- {
		_, err := r.walk(ctx, r.segment(number), func(rec record, mark *Landmark) bool {
			if rec.end <= at {
				last.note(mark)
			}
			return rec.end >= at
		})
		if err != nil || last.Last.At != 0 {
			return last.Last, err == nil, err
		}
		if number == 0 {
			break
		}
	}
	return Landmark{}, false, nil
}
