package walcore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
)

const testSystemID = 7711277144032224006

// walBuilder writes WAL as a server does: pages with headers, records over
// page and segment boundaries.
type walBuilder struct {
	size     SegmentSize
	block    uint32
	magic    uint16
	timeline Timeline
	base     LSN // of buf
	buf      []byte
	at       LSN         // where the next record begins
	prev     LSN         // where the last one began
	owner    map[LSN]LSN // byte of a record to where that record begins; nil: not kept
}

func newWAL(first uint64) *walBuilder {
	b := &walBuilder{size: 1 << 20, block: 8192, magic: 0xD110, timeline: 1}
	b.base = LSN(first * uint64(b.size))
	b.at, b.prev = b.base, b.base-64
	return b
}

// page writes the header of the page that begins at at.
func (b *walBuilder) page(at LSN, info uint16, rest uint32) int {
	for int(at-b.base) >= len(b.buf) {
		b.buf = append(b.buf, make([]byte, b.size)...)
	}
	p := b.buf[at-b.base:]
	length := shortHeaderSize
	if uint64(at)%uint64(b.size) == 0 {
		length = longHeaderSize
		info |= pageLongHeader
		binary.LittleEndian.PutUint64(p[24:], testSystemID)
		binary.LittleEndian.PutUint32(p[32:], uint32(b.size))
		binary.LittleEndian.PutUint32(p[36:], b.block)
	}
	binary.LittleEndian.PutUint16(p[0:], b.magic)
	binary.LittleEndian.PutUint16(p[2:], info)
	binary.LittleEndian.PutUint32(p[4:], uint32(b.timeline))
	binary.LittleEndian.PutUint64(p[8:], uint64(at))
	binary.LittleEndian.PutUint32(p[16:], rest)
	return length
}

// room is what is left of the page at at.
func (b *walBuilder) room(at LSN) int { return int(b.block) - int(uint64(at)%uint64(b.block)) }

// add appends a record with a body of n bytes and returns where it begins.
func (b *walBuilder) add(rmgr, info byte, n int) LSN {
	body := make([]byte, n)
	for i := range n {
		body[i] = byte(i*7 + n)
	}
	return b.addBody(rmgr, info, 0, body)
}

// addBody appends a record with a body, of a transaction.
func (b *walBuilder) addBody(rmgr, info byte, xid uint32, body []byte) LSN {
	rec := append(make([]byte, recordHeaderSize), body...)
	binary.LittleEndian.PutUint32(rec[recordXIDAt:], xid)
	if uint64(b.at)%uint64(b.block) == 0 {
		b.at += LSN(b.page(b.at, 0, 0))
	}
	binary.LittleEndian.PutUint32(rec[0:], uint32(len(rec)))
	binary.LittleEndian.PutUint64(rec[recordPrevAt:], uint64(b.prev))
	rec[recordInfoAt], rec[recordRmgrAt] = info, rmgr
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(crc32.Checksum(rec[recordHeaderSize:], table), table, rec[:recordCRCAt])
	binary.LittleEndian.PutUint32(rec[recordCRCAt:], crc)

	start := b.at
	for {
		k := copy(b.buf[b.at-b.base:][:b.room(b.at)], rec)
		for i := range LSN(k) {
			if b.owner != nil {
				b.owner[b.at+i] = start
			}
		}
		rec = rec[k:]
		b.at += LSN(k)
		if len(rec) == 0 {
			break
		}
		b.at += LSN(b.page(b.at, pageFirstIsContinued, uint32(len(rec))))
	}
	b.at = (b.at + 7) &^ 7
	b.prev = start
	return start
}

func (b *walBuilder) other(n int) LSN { return b.add(10, 0x20, n) }
func (b *walBuilder) shutdown() LSN   { return b.add(rmgrXLOG, 0x00, 90) }

// fill adds records until one begins with exactly left bytes of room in its
// page, which must be the last of its segment with lastPage.
func (b *walBuilder) fill(left int, lastPage bool) {
	for {
		inLast := !lastPage || (uint64(b.at)+uint64(b.room(b.at)))%uint64(b.size) == 0
		room := b.room(b.at)
		switch {
		case inLast && room == left:
			return
		case inLast && room >= left+recordHeaderSize && room < int(b.block):
			b.other(room - left - recordHeaderSize)
		default:
			b.other(min(400, max(0, room-recordHeaderSize)))
		}
	}
}

// switchSegment adds an XLOG_SWITCH and goes to the next segment.
func (b *walBuilder) switchSegment() LSN {
	at := b.add(rmgrXLOG, 0x40, 0)
	b.at = b.base + (b.at-b.base+LSN(b.size)-1)&^(LSN(b.size)-1)
	return at
}

func (b *walBuilder) name(i int) SegmentName {
	return MakeSegmentName(b.timeline, uint64(b.base)/uint64(b.size)+uint64(i), b.size)
}

func (b *walBuilder) segment(i int) []byte {
	return b.buf[i*int(b.size) : (i+1)*int(b.size)]
}

func (b *walBuilder) segments() int { return len(b.buf) / int(b.size) }

// save writes all segments into a new directory.
func (b *walBuilder) save(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range b.segments() {
		writeFile(t, filepath.Join(dir, string(b.name(i))), b.segment(i))
	}
	return dir
}

func (b *walBuilder) control(checkpoint LSN, state ControlState) ControlFile {
	return ControlFile{
		SystemID: testSystemID, SegmentSize: b.size, State: state,
		Checkpoint: checkpoint, Redo: checkpoint, Timeline: b.timeline,
	}
}

// open serves the builder's segments to RecordEnd.
func (b *walBuilder) open(name SegmentName) (io.ReaderAt, error) {
	for i := range b.segments() {
		if b.name(i) == name {
			return bytes.NewReader(b.segment(i)), nil
		}
	}
	return nil, os.ErrNotExist
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
