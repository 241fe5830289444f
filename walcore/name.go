package walcore

import (
	"fmt"
	"strconv"
	"strings"
)

// Timeline is the number of one history of a cluster. The first is 1.
type Timeline uint32

// String prints a timeline as it stands in file names.
func (t Timeline) String() string { return fmt.Sprintf("%08X", uint32(t)) }

// HistoryName is the name of the file that says where this timeline forked.
func (t Timeline) HistoryName() FileName { return FileName(t.String() + ".history") }

// SegmentSize is the size of a WAL segment in bytes: a power of two from 1 MB
// to 1 GB, fixed at initdb (IsValidWalSegSize in xlog_internal.h).
type SegmentSize uint32

// DefaultSegmentSize is what initdb uses unless told otherwise.
const DefaultSegmentSize SegmentSize = 16 << 20

// Valid reports whether PostgreSQL would accept the size.
func (s SegmentSize) Valid() bool {
	return s >= 1<<20 && s <= 1<<30 && s&(s-1) == 0
}

// Kind says what sort of file a WAL file name stands for.
type Kind int

// The kinds of file that a server hands to archive_command or asks of
// restore_command.
const (
	KindSegment Kind = iota + 1 // 000000010000000000000001
	KindPartial                 // 000000010000000000000001.partial, the end of a left timeline (9.5 on)
	KindHistory                 // 00000002.history
	KindBackup                  // 000000010000000000000001.00000028.backup
)

// String is the kind in a word.
func (k Kind) String() string {
	switch k {
	case KindSegment:
		return "segment"
	case KindPartial:
		return "partial"
	case KindHistory:
		return "history"
	case KindBackup:
		return "backup"
	}
	return "other"
}

// MarshalText makes a kind a word in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// FileName is a valid name of a file that PostgreSQL archives. It never holds
// a path separator, so it is safe to join to a directory.
type FileName string

// ParseFileName checks that s is the name of a file PostgreSQL archives, by
// the rules of IsXLogFileName and its siblings in xlog_internal.h.
func ParseFileName(s string) (FileName, error) {
	if kindOf(s) == 0 {
		return "", fmt.Errorf("%q is not the name of a WAL file (want 24 hexadecimal digits, or a .history, .backup or .partial name)", s)
	}
	return FileName(s), nil
}

// Kind says what sort of file the name stands for.
func (n FileName) Kind() Kind { return kindOf(string(n)) }

// Segment is the segment that the name is, begins with or belongs to. It is
// empty for a history file.
func (n FileName) Segment() SegmentName {
	if n.Kind() == KindHistory || len(n) < 24 {
		return ""
	}
	return SegmentName(n[:24])
}

// Timeline is the timeline in the name.
func (n FileName) Timeline() Timeline {
	if len(n) < 8 {
		return 0
	}
	return Timeline(parseHex(string(n[:8])))
}

func kindOf(s string) Kind {
	switch {
	case len(s) == 24 && isHex(s):
		return KindSegment
	case len(s) == 32 && isHex(s[:24]) && s[24:] == ".partial":
		return KindPartial
	case len(s) == 16 && isHex(s[:8]) && s[8:] == ".history":
		return KindHistory
	case len(s) == 40 && isHex(s[:24]) && s[24] == '.' && isHex(s[25:33]) && s[33:] == ".backup":
		return KindBackup
	}
	return 0
}

// SegmentName is the name of a whole segment: 24 upper-case hexadecimal
// digits, eight each of timeline, high and low part of the segment's number.
type SegmentName string

// ParseSegmentName refuses everything but the name of a whole segment.
func ParseSegmentName(s string) (SegmentName, error) {
	if kindOf(s) != KindSegment {
		return "", fmt.Errorf("%q is not the name of a WAL segment (want 24 hexadecimal digits)", s)
	}
	return SegmentName(s), nil
}

// MakeSegmentName names segment number of a timeline (XLogFileName in
// xlog_internal.h).
func MakeSegmentName(timeline Timeline, number uint64, size SegmentSize) SegmentName {
	perID := segmentsPerID(size)
	return SegmentName(fmt.Sprintf("%08X%08X%08X", uint32(timeline), number/perID, number%perID))
}

// SegmentAt names the segment that holds the byte at lsn.
func SegmentAt(timeline Timeline, lsn LSN, size SegmentSize) SegmentName {
	return MakeSegmentName(timeline, uint64(lsn)/uint64(size), size)
}

// Timeline is the timeline in the name.
func (n SegmentName) Timeline() Timeline { return FileName(n).Timeline() }

// Number is the segment's position in the WAL, counted in segments from 0.
func (n SegmentName) Number(size SegmentSize) uint64 {
	return uint64(parseHex(string(n[8:16])))*segmentsPerID(size) + uint64(parseHex(string(n[16:24])))
}

// Start is the LSN of the segment's first byte.
func (n SegmentName) Start(size SegmentSize) LSN { return LSN(n.Number(size) * uint64(size)) }

// End is the LSN just past the segment's last byte.
func (n SegmentName) End(size SegmentSize) LSN { return n.Start(size) + LSN(size) }

// Next is the segment that follows on the same timeline.
func (n SegmentName) Next(size SegmentSize) SegmentName {
	return MakeSegmentName(n.Timeline(), n.Number(size)+1, size)
}

// OnTimeline is the segment of the same position on another timeline.
func (n SegmentName) OnTimeline(t Timeline) SegmentName {
	return SegmentName(t.String()) + n[8:]
}

// Position is the name without its timeline: two segments of one cluster are
// ordered by it whatever timelines they are on.
func (n SegmentName) Position() string { return string(n[8:]) }

func segmentsPerID(size SegmentSize) uint64 { return (1 << 32) / uint64(size) }

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789ABCDEF") == "" }

func parseHex(s string) uint32 {
	v, _ := strconv.ParseUint(s, 16, 32) // callers pass digits that isHex has seen
	return uint32(v)
}
