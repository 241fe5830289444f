package walcore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// checkFence refuses a segment with WAL past the cut of its timeline, under
// the lock, so that a fence that has been raised holds for what is on its way.
func (p *put) checkFence() error {
	cut, ok, err := p.cut()
	if err != nil || !ok || p.at(p.Size) <= cut.LSN {
		return err
	}
	offered, err := p.content()
	if err != nil {
		return err
	}
	extent, err := p.scan(offered)
	if err != nil {
		return p.refuse(ReasonCorrupt, remedyHeader, "it cannot be shown to end before the cut at %s: %v", cut.LSN, err)
	}
	if extent.End > cut.LSN {
		return p.archive.fenced(p.PutRequest, cut, fmt.Sprintf("holds WAL up to %s", extent.End))
	}
	if extent.End < cut.LSN && !extent.Complete && p.Provisional == 0 {
		// Damage before the cut would hide what lies behind it.
		return p.refuse(ReasonCorrupt, remedyHeader,
			"timeline %d was cut at %s, and the records of this copy end before that, at %s (%s)", uint32(cut.Timeline), cut.LSN, extent.End, extent.Stopped)
	}
	return nil
}

// cut is the one on the segment's timeline. A segment that lies past it whole
// is refused at once.
func (p *put) cut() (Cut, bool, error) {
	if p.Name.Kind() != KindSegment {
		return Cut{}, false, nil
	}
	fence, err := p.archive.readFence()
	if err != nil {
		return Cut{}, false, err
	}
	cut, ok := fence.Cut(p.Name.Timeline())
	if start := p.at(0); ok && start >= cut.LSN {
		return Cut{}, false, p.archive.fenced(p.PutRequest, cut, fmt.Sprintf("begins at %s", start))
	}
	return cut, ok, nil
}

func (a *Archive) fenced(r PutRequest, cut Cut, holds string) error {
	return r.refuse(ReasonFenced,
		"another node was promoted at that point. Stop this server and make it a standby of the new primary; what it wrote past the cut is in its own pg_wal only. If the promotion was called off and nobody was promoted: warmrun lowerFence, on this server's node",
		"timeline %d was cut at %s in %s (epoch %d, by %s, %s), and the segment %s",
		uint32(cut.Timeline), cut.LSN, a.dir, cut.Epoch, cut.By, cut.At.UTC().Format("2006-01-02 15:04:05 UTC"), holds)
}

func (p *put) scan(r io.ReaderAt) (Extent, error) {
	return ScanSegment(r, p.Name.Segment(), Identity{})
}
