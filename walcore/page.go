package walcore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// PageHeader is what the first page of a segment says of the segment
// (XLogLongPageHeaderData in access/xlog_internal.h). Every page of WAL begins
// with a header of 24 bytes; the first one of a segment has 16 more.
type PageHeader struct {
	Magic       uint16      // version of the WAL format, 0xD110 in PostgreSQL 15
	Info        uint16      // flag bits
	Timeline    Timeline    // of the first record on the page
	Address     LSN         // of the page itself
	Remaining   uint32      // bytes still to come of a record begun on an earlier page
	SystemID    uint64      // of the cluster that wrote it, as in pg_control
	SegmentSize SegmentSize // in bytes
	BlockSize   uint32      // size of a page of WAL in bytes, 8192 unless built otherwise
}

// Sizes and flags of page headers (access/xlog_internal.h).
const (
	shortHeaderSize = 24
	longHeaderSize  = 40

	pageFirstIsContinued = 0x0001 // the page begins with the rest of a record
	pageLongHeader       = 0x0002
	pageOverwrite        = 0x0008 // the rest of that record never came; a new one stands here

	magicLayout93 = 0xD075 // 9.3: the header as it is today
	magicRecord95 = 0xD087 // 9.5: records as they are today
	magicNewest   = 0xD118 // 18, the newest that this package is tested with
	magicHighest  = 0xD1FF
)

// ErrZeroPage says that a segment begins with zeros: it was created but never
// written, or was cut off when it was copied.
var ErrZeroPage = errors.New("the first page is all zeros: nothing was ever written to this segment")

// ErrOldFormat says that WAL was written by a server before 9.5, whose records
// this package cannot read.
var ErrOldFormat = errors.New("written by a server before 9.5, whose WAL records have another format")

// ReadPageHeader reads the header of a segment's first page and checks that it
// can be one. The error says what is wrong: a file too short for a header
// (io.ErrUnexpectedEOF), zeros (ErrZeroPage), no WAL at all. Whether it is the
// right segment of the right cluster is for Check to say.
func ReadPageHeader(r io.ReaderAt) (PageHeader, error) {
	var buf [longHeaderSize]byte
	n, err := r.ReadAt(buf[:], 0)
	if n < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			return PageHeader{}, fmt.Errorf("%d bytes are too few for a WAL page header of %d: %w", n, longHeaderSize, io.ErrUnexpectedEOF)
		}
		return PageHeader{}, &readError{fmt.Errorf("read the WAL page header: %w", err)}
	}
	if buf == [longHeaderSize]byte{} {
		return PageHeader{}, ErrZeroPage
	}
	h := decodeHeader(buf[:])
	h.SystemID = binary.LittleEndian.Uint64(buf[24:])
	h.SegmentSize = SegmentSize(binary.LittleEndian.Uint32(buf[32:]))
	h.BlockSize = binary.LittleEndian.Uint32(buf[36:])
	return h, h.plausible()
}

// decodeHeader reads the 24 bytes that every page begins with.
func decodeHeader(b []byte) PageHeader {
	return PageHeader{
		Magic:     binary.LittleEndian.Uint16(b[0:]),
		Info:      binary.LittleEndian.Uint16(b[2:]),
		Timeline:  Timeline(binary.LittleEndian.Uint32(b[4:])),
		Address:   LSN(binary.LittleEndian.Uint64(b[8:])),
		Remaining: binary.LittleEndian.Uint32(b[16:]),
	}
}

func (h PageHeader) plausible() error {
	switch {
	case h.Magic>>8 == 0xD0 && h.Magic < magicLayout93:
		return ErrOldFormat
	case h.Magic < magicLayout93 || h.Magic > magicHighest:
		return fmt.Errorf("no WAL segment: it begins with the magic number %04X", h.Magic)
	case h.Info&pageLongHeader == 0:
		return fmt.Errorf("no first page of a segment: its header is a short one (info bits %04X)", h.Info)
	case h.Info&^flagsOf(h.Magic) != 0:
		return fmt.Errorf("the page header has unknown info bits %04X", h.Info)
	case h.Timeline == 0:
		return errors.New("the page header has timeline 0")
	case !h.SegmentSize.Valid():
		return fmt.Errorf("the page header gives a segment size of %d bytes, which no server accepts", h.SegmentSize)
	case h.BlockSize < 1<<10 || h.BlockSize > 64<<10 || h.BlockSize&(h.BlockSize-1) != 0:
		return fmt.Errorf("the page header gives a WAL block size of %d bytes, which no server is built with", h.BlockSize)
	case uint64(h.Address)%uint64(h.SegmentSize) != 0:
		return fmt.Errorf("the page header's address %s is not the start of a segment of %d bytes", h.Address, h.SegmentSize)
	}
	return nil
}

// flagsOf is the set of flag bits that servers of this magic number know.
func flagsOf(magic uint16) uint16 {
	if magic > magicNewest {
		return 0xFFFF
	}
	return 0x000F
}

// overwriteFlag is the bit that stands for XLP_FIRST_IS_OVERWRITE_CONTRECORD:
// 0x0008 through 18; 19 gave it the bit of a flag that it dropped.
func overwriteFlag(magic uint16) uint16 {
	if magic > magicNewest {
		return 0x0004
	}
	return pageOverwrite
}

// Identity says which cluster WAL belongs to. A zero field is unknown and
// matches everything.
type Identity struct {
	SystemID    uint64      `json:"system_identifier,string"`
	SegmentSize SegmentSize `json:"segment_size"`
}

// Identity is the identity of the cluster that wrote the page.
func (h PageHeader) Identity() Identity {
	return Identity{SystemID: h.SystemID, SegmentSize: h.SegmentSize}
}

// Check compares a segment's header with the name the segment has and the
// cluster it should be of. The timeline in the header may be older than the
// one in the name, because a new timeline's first segment starts as a copy of
// the old one's; it is never newer. A mismatch is a *HeaderError.
func (h PageHeader) Check(name SegmentName, want Identity) error {
	if kindOf(string(name)) != KindSegment {
		return fmt.Errorf("%q is not the name of a WAL segment", string(name))
	}
	switch {
	case want.SystemID != 0 && h.SystemID != want.SystemID:
		return &HeaderError{name, HeaderCluster, fmt.Sprintf("it is of the cluster with system identifier %d, not of %d", h.SystemID, want.SystemID)}
	case want.SegmentSize != 0 && h.SegmentSize != want.SegmentSize:
		return &HeaderError{name, HeaderSize, fmt.Sprintf("its header says segments of %d bytes, this cluster's have %d", h.SegmentSize, want.SegmentSize)}
	case name != MakeSegmentName(name.Timeline(), name.Number(h.SegmentSize), h.SegmentSize):
		return &HeaderError{name, HeaderAddress, fmt.Sprintf("with segments of %d bytes there is no such name", h.SegmentSize)}
	case h.Address != name.Start(h.SegmentSize):
		return &HeaderError{name, HeaderAddress, fmt.Sprintf("its first page has the address %s, the name stands for %s", h.Address, name.Start(h.SegmentSize))}
	case h.Timeline > name.Timeline():
		return &HeaderError{name, HeaderTimeline, fmt.Sprintf("its first page is of timeline %d, the name of timeline %d", uint32(h.Timeline), uint32(name.Timeline()))}
	}
	return nil
}

// HeaderMismatch says in what a segment's header and its name disagree.
type HeaderMismatch int

// What a header can disagree in. HeaderAddress is also what a recycled segment
// shows that has not been written again yet.
const (
	HeaderCluster HeaderMismatch = iota + 1
	HeaderSize
	HeaderAddress
	HeaderTimeline
)

// HeaderError says that a file is not the segment its name stands for.
type HeaderError struct {
	Name     SegmentName
	Mismatch HeaderMismatch
	Detail   string
}

// Error is one line without the path of the file.
func (e *HeaderError) Error() string {
	return fmt.Sprintf("%s is not the segment of that name: %s", e.Name, e.Detail)
}
