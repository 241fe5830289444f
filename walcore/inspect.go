package walcore

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Remedies that several refusals share.
const (
	remedyWhole  = "archive whole files from pg_wal only; if this one is shorter than its neighbours there, the server's disk is damaged"
	remedyHeader = "look at the file with pg_waldump: it was renamed, recycled or damaged since the server wrote it"
)

// checkSize refuses a segment that cannot be whole, and other files that are
// longer than any server writes them.
func (a *Archive) checkSize(r PutRequest) error {
	switch r.Name.Kind() {
	case KindSegment, KindPartial:
	default:
		if r.Size < 0 || r.Size > maxHistorySize {
			return r.refuse(ReasonSize, "look at the file in pg_wal: a server writes less than a kilobyte", "it has %d bytes", r.Size)
		}
		return nil
	}
	if r.Size > 1<<30 || !SegmentSize(r.Size).Valid() || r.Size < 0 {
		return r.refuse(ReasonSize, remedyWhole, "it has %d bytes, which is the size of no segment", r.Size)
	}
	stamp, stamped, err := a.readStamp()
	if err != nil {
		return err
	}
	if stamped && int64(stamp.SegmentSize) != r.Size {
		return r.refuse(ReasonSize, remedyWhole, "it has %d bytes, the segments of this cluster have %d", r.Size, stamp.SegmentSize)
	}
	segment, size := r.Name.Segment(), SegmentSize(r.Size)
	if MakeSegmentName(segment.Timeline(), segment.Number(size), size) != segment {
		return r.refuse(ReasonName, remedyHeader, "no server gives that name to a segment of %d bytes", r.Size)
	}
	if start, end := segment.Start(size), segment.End(size); r.Provisional != 0 && (r.Provisional <= start || r.Provisional > end) {
		return fmt.Errorf("%s cannot be valid up to %s: it holds %s to %s", r.Name, r.Provisional, start, end)
	}
	return nil
}

// validBytes is how many bytes of a provisional segment are WAL.
func (p *put) validBytes() int64 {
	return int64(p.Provisional - p.Name.Segment().Start(SegmentSize(p.Size)))
}

// inspectSegment reads the first page of what was received. A provisional
// segment is read to its end, which must be where its sender says.
func (p *put) inspectSegment() error {
	header, err := p.pageHeader()
	switch {
	case errors.Is(err, ErrOldFormat):
		// Before 9.3 the header has another layout: the size is all that can
		// be checked.
		return nil
	case err != nil:
		return p.refuse(ReasonHeader, remedyHeader, "%v", err)
	case int64(header.SegmentSize) != p.Size:
		return p.refuse(ReasonSize, remedyWhole, "it has %d bytes, its header says segments of %d", p.Size, header.SegmentSize)
	}
	if err := header.Check(p.Name.Segment(), Identity{}); err != nil {
		return p.refuse(ReasonHeader, remedyHeader, "%v", err)
	}
	p.header = header
	if p.Provisional == 0 {
		return nil
	}
	extent, err := p.scan(p.tmp)
	if err != nil {
		return p.refuse(ReasonCorrupt, remedyHeader, "%v", err)
	}
	if extent.End != p.Provisional {
		return p.refuse(ReasonCorrupt, remedyHeader,
			"it should hold WAL up to %s, but its records end at %s (%s)", p.Provisional, extent.End, extent.Stopped)
	}
	return nil
}

func (p *put) pageHeader() (PageHeader, error) {
	if p.form.Packs() {
		return ReadPageHeader(bytes.NewReader(p.head))
	}
	return ReadPageHeader(p.tmp)
}

// checkStamp holds the received segment against the archive's stamp, under
// the lock. The first segment of an archive makes the stamp.
func (p *put) checkStamp() error {
	if p.header.SystemID == 0 {
		return nil
	}
	stamp, stamped, err := p.archive.readStamp()
	if err != nil {
		return err
	}
	if !stamped {
		if err := p.Step("stamp"); err != nil {
			return err
		}
		return p.archive.claim(p.PutRequest, p.header)
	}
	if stamp.SystemID != p.header.SystemID {
		return p.archive.foreign(p.PutRequest, p.header, stamp.SystemID, "its stamp")
	}
	if stamp.SegmentSize != p.header.SegmentSize {
		return p.refuse(ReasonSize, remedyWhole, "its segments have %d bytes, those of this cluster %d", p.header.SegmentSize, stamp.SegmentSize)
	}
	return nil
}

// checkFence refuses a segment with WAL past the end of its timeline, under
// the lock, so that a fence that has been raised holds for what is on its way.
func (p *put) checkFence() error {
	end, ok, err := p.timelineEnd()
	if err != nil || !ok || p.at(p.Size) <= end.lsn {
		return err
	}
	offered, err := p.content()
	if err != nil {
		return err
	}
	extent, err := p.scan(offered)
	if err != nil {
		return p.refuse(ReasonCorrupt, remedyHeader, "it cannot be shown to end before %s, where its timeline does: %v", end.lsn, err)
	}
	if extent.End > end.lsn {
		return p.fenced(end, fmt.Sprintf("holds WAL up to %s", extent.End))
	}
	if extent.End < end.lsn && !extent.Complete && p.Provisional == 0 {
		// Damage before the end would hide what lies behind it.
		return p.refuse(ReasonCorrupt, remedyHeader,
			"%s, and the records of this copy end before that, at %s (%s)", end.known, extent.End, extent.Stopped)
	}
	return nil
}

// timelineEnd is the place past which no WAL of a timeline is accepted any more.
type timelineEnd struct {
	lsn           LSN
	reason        string // that WAL past it is refused for
	known, remedy string // how it is known, and what lifts it
}

// timelineEnd is the one of the segment's timeline: the archive's fence, or the
// history of a later timeline, whichever is lower; where both say the same, the
// history, which is there for good. A segment that lies past it whole is refused
// at once.
func (p *put) timelineEnd() (timelineEnd, bool, error) {
	if p.Name.Kind() != KindSegment {
		return timelineEnd{}, false, nil
	}
	end, ok, err := p.archive.cutOf(p.Name.Timeline())
	if err != nil {
		return timelineEnd{}, false, err
	}
	left, isLeft, err := p.archive.leftAt(p.Name.Timeline())
	if err != nil {
		return timelineEnd{}, false, err
	}
	if isLeft && (!ok || left.lsn <= end.lsn) {
		end, ok = left, true
	}
	if start := p.at(0); ok && start >= end.lsn {
		return timelineEnd{}, false, p.fenced(end, fmt.Sprintf("begins at %s", start))
	}
	return end, ok, nil
}

// cutOf is where the fence cuts a timeline.
func (a *Archive) cutOf(t Timeline) (timelineEnd, bool, error) {
	fence, err := a.readFence()
	if err != nil {
		return timelineEnd{}, false, err
	}
	cut, ok := fence.Cut(t)
	if !ok {
		return timelineEnd{}, false, nil
	}
	return timelineEnd{
		lsn: cut.LSN, reason: ReasonFenced,
		known: fmt.Sprintf("timeline %d was cut at %s in %s (epoch %d, by %s, %s)",
			uint32(t), cut.LSN, a.dir, cut.Epoch, cut.By, cut.At.UTC().Format("2006-01-02 15:04:05 UTC")),
		remedy: "If the promotion was called off and nobody was promoted: warmrun lowerFence, on this server's node",
	}, true, nil
}

// leftAt is where the archive's newest timeline left a timeline that it comes
// from. It is there for an archive that could not be told of a fence, and for a
// promotion that raised none: the history of the new timeline comes first of all
// that its server ships. Newest is what a standby that reads this archive would
// find (findNewestTimeLine in timeline.c).
func (a *Archive) leftAt(t Timeline) (timelineEnd, bool, error) {
	newest := newestHistory(a.dir, t)
	if newest == t {
		return timelineEnd{}, false, nil
	}
	history, err := a.history(newest)
	if err != nil {
		return timelineEnd{}, false, hint.Wrap(err, "compare %s with that of another archive of this cluster; until it can be read, nothing of an older timeline is taken here", newest.HistoryName())
	}
	fork, ok := history.Fork(t)
	if !ok {
		return timelineEnd{}, false, nil
	}
	return timelineEnd{
		lsn: fork, reason: ReasonLeft,
		known:  fmt.Sprintf("timeline %d was left at %s for timeline %d, says %s in %s", uint32(t), fork, uint32(newest), newest.HistoryName(), a.dir),
		remedy: fmt.Sprintf("If timeline %d was given up for good, and no server will go on with it: move %s and its WAL out of the archive", uint32(newest), newest.HistoryName()),
	}, true, nil
}

func (p *put) fenced(end timelineEnd, holds string) error {
	return p.refuse(end.reason,
		"another node was promoted at that point. Stop this server and make it a standby of the new primary; what it wrote past that point is in its own pg_wal only. "+end.remedy,
		"%s, and the segment %s", end.known, holds)
}

func (p *put) scan(r io.ReaderAt) (Extent, error) {
	return ScanSegment(r, p.Name.Segment(), Identity{})
}
