package walcore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Ending says why the valid records of a segment end where they do.
type Ending string

// The endings.
const (
	EndingFull     Ending = "last byte"           // records run to the segment's last byte
	EndingSwitch   Ending = "WAL switch"          // the rest of the segment is unused
	EndingShutdown Ending = "shutdown checkpoint" // the server was stopped there
	EndingUnused   Ending = "unused"              // only zeros beyond: nothing more was written so far
	EndingRecycled Ending = "recycled"            // beyond is what the file held before: nothing more was written so far
	EndingDamaged  Ending = "damaged"             // WAL goes on beyond, and one record is not valid
	EndingCut      Ending = "cut off"             // the file ends in the middle of the WAL
	EndingUnknown  Ending = "unknown"             // the records cannot be read
)

// SegmentFacts is what a segment says of itself and where its records end.
type SegmentFacts struct {
	SystemID    uint64      `json:"system_identifier,string"`
	Timeline    Timeline    `json:"timeline"` // of its first page
	Address     LSN         `json:"address"`  // of its first page
	SegmentSize SegmentSize `json:"segment_size"`
	BlockSize   uint32      `json:"block_size"`
	Magic       string      `json:"magic"`
	Major       string      `json:"major,omitempty"` // PostgreSQL version by the magic number; empty if it is not known

	Start LSN `json:"start"` // of the segment, by its name
	End   LSN `json:"end"`

	// Records is how many valid records begin and end in the segment, the first
	// at FirstRecord and the last at LastRecord; the latter is 0 where there is
	// none. RunsOn: one more begins in the segment, and ends beyond it.
	Records     int    `json:"records"`
	RunsOn      bool   `json:"runs_on,omitempty"`
	FirstRecord LSN    `json:"first_record"`
	LastRecord  LSN    `json:"last_record"`
	LastKind    string `json:"last_kind"`
	ValidEnd    LSN    `json:"valid_end"` // just past the last valid record
	Ending      Ending `json:"ending"`
	// Detail is what stands where the records end, for an Ending that is none
	// of a whole segment.
	Detail string `json:"detail,omitempty"`

	Provisional LSN `json:"provisional,omitzero"` // its note's end, if it has one
	// Wrong says in what the file is not the segment of its name.
	Wrong string `json:"wrong,omitempty"`
}

// describeSegment reads the segment whole. The facts are never nil.
func describeSegment(ctx context.Context, f io.ReaderAt, name SegmentName, bytes int64) (*SegmentFacts, error) {
	r := contextReader{ctx, f}
	header, err := ReadPageHeader(r)
	s := &SegmentFacts{Ending: EndingUnknown, Magic: fmt.Sprintf("%04X", header.Magic), Major: MajorOf(header.Magic)}
	var failed *readError
	if errors.As(err, &failed) {
		return s, err
	}
	if err != nil {
		s.Wrong = err.Error()
		return s, nil
	}
	size := header.SegmentSize
	s.SystemID, s.Timeline, s.Address = header.SystemID, header.Timeline, header.Address
	s.SegmentSize, s.BlockSize = size, header.BlockSize
	s.Start, s.End = name.Start(size), name.End(size)
	var mismatch *HeaderError
	if err := header.Check(name, Identity{}); errors.As(err, &mismatch) {
		s.Wrong = mismatch.Detail
		return s, nil
	}
	if bytes != int64(size) {
		s.Wrong = fmt.Sprintf("it has %d bytes, its header says segments of %d", bytes, size)
	}
	extent, err := ScanSegment(r, name, Identity{})
	if errors.Is(err, ErrOldFormat) {
		s.Detail = ErrOldFormat.Error()
		return s, nil
	}
	if err != nil {
		return s, err
	}
	err = s.extend(r, header, extent)
	if left := bytes - int64(s.ValidEnd-s.Start); bytes < int64(size) && left < int64(header.BlockSize) {
		s.Ending = EndingCut
	}
	return s, err
}

// extend adds what the records say.
func (s *SegmentFacts) extend(r io.ReaderAt, header PageHeader, e Extent) error {
	s.Records, s.FirstRecord, s.ValidEnd = e.Records, e.Start, e.End
	s.LastRecord, s.LastKind = e.LastRecord, e.LastKind.String()
	s.RunsOn, s.Detail = e.RunsOn, e.Stopped
	if e.Complete {
		s.Ending = EndingFull
		if e.LastKind == RecordSwitch {
			s.Ending = EndingSwitch
		}
		return nil
	}
	beyond, err := lookBeyond(r, header, int64(e.End-s.Start))
	s.Ending = beyond
	if e.LastKind == RecordShutdownCheckpoint && beyond != EndingDamaged {
		s.Ending = EndingShutdown
	}
	return err
}

// lookBeyond tells from what stands behind the last valid record why there is
// no other one: nothing, an older use of the file, or WAL that goes on.
func lookBeyond(r io.ReaderAt, header PageHeader, from int64) (Ending, error) {
	block := int64(header.BlockSize)
	buf := make([]byte, block)
	zeros := true
	for page := from - from%block; page < int64(header.SegmentSize); page += block {
		n, err := r.ReadAt(buf, page)
		if err != nil && !errors.Is(err, io.EOF) {
			return EndingUnknown, err
		}
		content := buf[:n]
		if page < from {
			content = content[min(int64(n), from-page):]
		} else if n >= shortHeaderSize {
			address := LSN(binary.LittleEndian.Uint64(content[8:]))
			if binary.LittleEndian.Uint16(content) == header.Magic && address == header.Address+LSN(page) {
				return EndingDamaged, nil
			}
		}
		zeros = zeros && allZero(content)
		if int64(n) < block {
			break
		}
	}
	if zeros {
		return EndingUnused, nil
	}
	return EndingRecycled, nil
}

// contextReader ends a long read when nobody waits for it any more.
type contextReader struct {
	ctx context.Context
	r   io.ReaderAt
}

func (r contextReader) ReadAt(p []byte, off int64) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.ReadAt(p, off)
}
