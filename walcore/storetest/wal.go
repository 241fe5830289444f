package storetest

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/warmrun/warmrun/walcore"
)

// SystemID is the cluster of a Segment that names none.
const SystemID = 7301234567890123456

// Small is the smallest size of a segment, which keeps tests fast.
const Small walcore.SegmentSize = 1 << 20

// Ending is how the records of a Segment end.
type Ending int

// The endings.
const (
	Full     Ending = iota // records to the last byte
	Switch                 // an XLOG_SWITCH at Until, zeros beyond
	Shutdown               // a shutdown checkpoint at Until, zeros beyond
	Cut                    // an ordinary record at Until, zeros beyond
)

// Segment describes a WAL segment to be made up, in the format of PostgreSQL
// 15: pages with headers, and records whose checksums are right.
type Segment struct {
	Name     walcore.SegmentName
	Size     walcore.SegmentSize // 0 means Small
	SystemID uint64              // 0 means SystemID
	Timeline walcore.Timeline    // in the page headers; 0 means the name's
	Ending   Ending
	// Until is about how many bytes the records take, but for a Full one; 0
	// means half the segment.
	Until int
	// Seed makes the content of the records; another seed, other records.
	Seed byte
	// SameUntil gives the records that begin in the first SameUntil bytes the
	// content of seed 0, so that two segments share their beginning.
	SameUntil int
	// Tail fills what lies beyond the end, as a recycled segment would.
	Tail byte
}

const pageSize = 8192

// Build is the segment's bytes, and the LSN at which its records end.
func (s Segment) Build() ([]byte, walcore.LSN) {
	if s.Size == 0 {
		s.Size = Small
	}
	if s.SystemID == 0 {
		s.SystemID = SystemID
	}
	if s.Timeline == 0 {
		s.Timeline = s.Name.Timeline()
	}
	if s.Until == 0 {
		s.Until = int(s.Size) / 2
	}
	w := &writer{Segment: s, start: s.Name.Start(s.Size), buf: make([]byte, s.Size)}
	w.prev = w.start - 64
	end := w.write()
	for i := end; i < len(w.buf); i++ {
		w.buf[i] = s.Tail
	}
	return w.buf, w.start + walcore.LSN(end)
}

// Chain makes segments of size Small whose records follow each other from one
// to the next, all full but the last, which has the ending. The names are of
// consecutive segments; where the timeline changes, it does so between two of
// them.
func Chain(names []walcore.SegmentName, ending Ending) [][]byte {
	var segments [][]byte
	prev := walcore.LSN(0)
	for i, name := range names {
		s := Segment{Name: name, Size: Small, SystemID: SystemID, Timeline: name.Timeline(), Until: int(Small) / 2}
		if i == len(names)-1 {
			s.Ending = ending
		}
		w := &writer{Segment: s, start: name.Start(Small), prev: prev, buf: make([]byte, Small)}
		w.write()
		prev = w.prev
		segments = append(segments, w.buf)
	}
	return segments
}

// Continue is a segment of size Small after its server was started again: what
// Build made up to end, which a shutdown checkpoint is before, then other
// records, to the ending some 100 kB further on.
func Continue(name walcore.SegmentName, segment []byte, end walcore.LSN, ending Ending) ([]byte, walcore.LSN) {
	start := name.Start(Small)
	used := int(end - start)
	w := &writer{start: start, prev: end - shutdownLength, buf: make([]byte, Small), at: used}
	w.Segment = Segment{Timeline: name.Timeline(), Ending: ending, Until: used + 100_000, Seed: 3}
	copy(w.buf, segment[:used])
	return w.buf, start + walcore.LSN(w.write())
}

// shutdownLength is what a shutdown checkpoint takes, aligned.
const shutdownLength = 120

type writer struct {
	Segment
	start walcore.LSN
	prev  walcore.LSN
	buf   []byte
	at    int
	ramp  []byte // 0, 1, 2 and so on, to take the content of records from
}

// write fills the segment with records that never cross a page, and returns
// the offset at which they end.
func (w *writer) write() int {
	w.ramp = make([]byte, 512)
	for i := range w.ramp {
		w.ramp[i] = byte(i)
	}
	for w.at < len(w.buf) {
		if w.at%pageSize == 0 {
			w.page()
		}
		last := w.Ending != Full && w.at >= w.Until
		room := pageSize - w.at%pageSize
		switch {
		case last && w.Ending == Switch:
			w.record(0x40, 24)
			return w.at
		case last && w.Ending == Shutdown && (room == shutdownLength || room >= shutdownLength+24):
			w.record(0x00, shutdownLength)
			return w.at
		}
		length := 48 + 8*((w.at/8+int(w.seed()))%24)
		if room-length < 24 {
			length = room
		}
		w.record(0x20, length)
		if last && w.Ending == Cut {
			return w.at
		}
	}
	return w.at
}

func (w *writer) page() {
	b := w.buf[w.at:]
	header, info := 24, uint16(0)
	if w.at == 0 {
		header, info = 40, 0x0002
		binary.LittleEndian.PutUint64(b[24:], w.SystemID)
		binary.LittleEndian.PutUint32(b[32:], uint32(w.Size))
		binary.LittleEndian.PutUint32(b[36:], pageSize)
	}
	binary.LittleEndian.PutUint16(b[0:], 0xD110)
	binary.LittleEndian.PutUint16(b[2:], info)
	binary.LittleEndian.PutUint32(b[4:], uint32(w.Timeline))
	binary.LittleEndian.PutUint64(b[8:], uint64(w.start)+uint64(w.at))
	w.at += header
}

func (w *writer) seed() byte {
	if w.at < w.SameUntil {
		return 0
	}
	return w.Seed
}

// record writes a record of resource manager XLOG, length bytes in all.
func (w *writer) record(info byte, length int) {
	b := w.buf[w.at : w.at+length]
	binary.LittleEndian.PutUint32(b[0:], uint32(length))
	binary.LittleEndian.PutUint64(b[8:], uint64(w.prev))
	b[16] = info
	if data := b[24:]; len(data) > 0 {
		copy(data, w.ramp[w.seed()+byte(w.at>>3):])
		data[0] = 255 // main data, length in one byte
		data[1] = byte(len(data) - 2)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(b[24:], table), table, b[:20])
	binary.LittleEndian.PutUint32(b[20:], sum)
	w.prev = w.start + walcore.LSN(w.at)
	w.at += length
}
