package walcore

import (
	"errors"
	"fmt"
	"io"
)

// RecordKind says what a WAL record is, as far as shipping WAL needs to know.
type RecordKind int

// The kinds of record, told by resource manager and info bits
// (catalog/pg_control.h).
const (
	RecordNone               RecordKind = iota // there is no record
	RecordOther                                // whatever is not listed here
	RecordSwitch                               // XLOG_SWITCH: the rest of the segment is unused
	RecordShutdownCheckpoint                   // the last record of a server that stopped cleanly
	RecordOnlineCheckpoint
	RecordEndOfRecovery // written at the beginning of a timeline by a promotion that did no checkpoint
)

// String is the kind in words.
func (k RecordKind) String() string {
	switch k {
	case RecordNone:
		return "no record"
	case RecordSwitch:
		return "WAL switch"
	case RecordShutdownCheckpoint:
		return "shutdown checkpoint"
	case RecordOnlineCheckpoint:
		return "online checkpoint"
	case RecordEndOfRecovery:
		return "end of recovery"
	}
	return "other record"
}

// Extent is how far the WAL in a segment is valid.
type Extent struct {
	// Start is where the first record begins that begins in the segment: behind
	// the rest of one that began in an earlier segment. Equal to End if none does.
	Start LSN
	// End is just past the last valid record, rounded up to where the next one
	// would begin. It is the segment's end when a record runs on into the next
	// segment. After an XLOG_SWITCH it is the end of that record and not of the
	// segment: the bytes between the two are no WAL (zeros from 11 on, page
	// headers and zeros before).
	End LSN
	// LastRecord is where the last valid record begins that begins and ends in
	// the segment; LastKind is its kind. Zero and RecordNone if there is none.
	LastRecord LSN
	LastKind   RecordKind
	// Complete: no record can be added to the segment. It ends with an
	// XLOG_SWITCH, or its records run to its last byte.
	Complete bool
	// RunsOn: a record begins in the segment and ends beyond it. Only its lengths
	// are checked, and it is not counted.
	RunsOn bool
	// Records is how many valid records begin and end in the segment.
	Records int
	// Timeline is that of the page which holds the last valid byte.
	Timeline Timeline
	// Stopped says why the records end at End; empty when Complete. It tells
	// zeros ("a record of length 0") from damage ("its checksum does not match").
	Stopped string
}

// ScanSegment finds how far the WAL in a segment is valid, as a server's
// recovery would find it: every page has the header that must be there, every
// record that lies in the segment whole has a matching CRC-32C and points back
// to the one before it. Of a record that comes from the previous segment or
// runs on into the next, the lengths are checked against the page headers.
//
// A segment that is not what its name stands for, or not of the cluster id, is
// a *HeaderError; a first page that is none, records of before 9.5
// (ErrOldFormat) and a failing read are errors too. WAL that ends early is not:
// the Extent says so. A file that is too short ends early where it ends.
//
// It reads each byte once, holds a fixed amount of memory whatever the content,
// and trusts none of it. Source: access/transam/xlogreader.c.
func ScanSegment(r io.ReaderAt, name SegmentName, id Identity) (Extent, error) {
	w := newWALReader(id, name.Timeline())
	if err := w.use(r, name); err != nil {
		return Extent{}, err
	}
	extent, err := w.extent(name)
	var end *endError
	if errors.As(err, &end) {
		extent.Stopped, err = end.Error(), nil
	}
	if errors.Is(err, errRunsOn) {
		extent.RunsOn = extent.End < name.End(w.size)
		extent.Complete, extent.End, err = true, name.End(w.size), nil
	}
	if err != nil {
		return Extent{}, fmt.Errorf("scan %s: %w", name, err)
	}
	return extent, nil
}

// extent follows the records of one segment until an error says why they end.
func (w *walReader) extent(name SegmentName) (Extent, error) {
	start := name.Start(w.size)
	at, err := w.skipContinued(start)
	e := Extent{Start: at, End: at, Timeline: w.header.Timeline}
	for err == nil {
		var rec record
		rec, err = w.record(at, e.LastRecord, e.Records == 0)
		if e.Records == 0 && (err == nil || errors.Is(err, errRunsOn)) {
			e.Start = rec.at
		}
		if err != nil {
			break
		}
		at = rec.end
		e.End, e.LastRecord, e.LastKind = rec.end, rec.at, rec.kind
		e.Timeline = w.header.Timeline
		e.Records++
		if rec.kind == RecordSwitch {
			e.Complete = true
			return e, nil
		}
	}
	if errors.Is(err, errRunsOn) {
		e.Timeline = w.header.Timeline
	}
	return e, err
}
