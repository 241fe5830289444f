package walcore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

var testIdentity = Identity{SystemID: testSystemID, SegmentSize: 1 << 20}

func mustScan(t *testing.T, segment []byte, name SegmentName) Extent {
	t.Helper()
	e, err := ScanSegment(bytes.NewReader(segment), name, testIdentity)
	if err != nil {
		t.Fatalf("ScanSegment(%s): %v", name, err)
	}
	return e
}

func TestScanSegmentEnds(t *testing.T) {
	tests := []struct {
		name    string
		build   func(b *walBuilder) (end LSN)
		last    RecordKind
		records int
		done    bool
		stopped string
	}{
		{"a few records", func(b *walBuilder) LSN {
			b.other(10)
			b.other(0)
			b.other(5000)
			return b.at
		}, RecordOther, 3, false, "a record of length 0"},
		{"over three pages", func(b *walBuilder) LSN {
			b.other(20000)
			return b.at
		}, RecordOther, 1, false, "a record of length 0"},
		{"header split after 8 bytes", func(b *walBuilder) LSN {
			b.fill(8, false)
			b.other(100)
			return b.at
		}, RecordOther, 20, false, "a record of length 0"},
		{"header split after 16 bytes", func(b *walBuilder) LSN {
			b.fill(16, false)
			b.other(100)
			return b.at
		}, RecordOther, 20, false, "a record of length 0"},
		{"header alone on its page", func(b *walBuilder) LSN {
			b.fill(24, false)
			b.other(100)
			return b.at
		}, RecordOther, 20, false, "a record of length 0"},
		{"ends with its page", func(b *walBuilder) LSN {
			b.fill(64, false)
			b.other(64 - recordHeaderSize)
			return b.at
		}, RecordOther, 20, false, "a page with magic number 0000"},
		{"a switch", func(b *walBuilder) LSN {
			b.other(10)
			at := b.switchSegment()
			return at + recordHeaderSize
		}, RecordSwitch, 2, true, ""},
		{"shutdown checkpoint", func(b *walBuilder) LSN {
			b.other(10)
			b.shutdown()
			return b.at
		}, RecordShutdownCheckpoint, 2, false, "a record of length 0"},
		{"ends with the segment", func(b *walBuilder) LSN {
			b.fill(64, true)
			b.other(64 - recordHeaderSize)
			return b.at
		}, RecordOther, -1, true, ""},
		{"runs on into the next segment", func(b *walBuilder) LSN {
			b.fill(64, true)
			b.other(30000)
			return b.name(0).End(b.size)
		}, RecordOther, -1, true, ""},
		{"runs on, header split", func(b *walBuilder) LSN {
			b.fill(8, true)
			b.other(300)
			return b.name(0).End(b.size)
		}, RecordOther, -1, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newWAL(5)
			end := tt.build(b)
			got := mustScan(t, b.segment(0), b.name(0))
			if got.End != end || got.Complete != tt.done || got.LastKind != tt.last {
				t.Errorf("got end %s complete %v last %q, want %s %v %q", got.End, got.Complete, got.LastKind, end, tt.done, tt.last)
			}
			if got.Start != b.base+longHeaderSize {
				t.Errorf("got start %s, want %s", got.Start, b.base+longHeaderSize)
			}
			if tt.records >= 0 && tt.records <= 3 && got.Records != tt.records {
				t.Errorf("got %d records, want %d", got.Records, tt.records)
			}
			if !strings.Contains(got.Stopped, tt.stopped) || (tt.stopped == "") != (got.Stopped == "") {
				t.Errorf("got stopped %q, want %q", got.Stopped, tt.stopped)
			}
			if got.Timeline != 1 {
				t.Errorf("got timeline %d, want 1", got.Timeline)
			}
		})
	}
}

func TestScanSegmentContinued(t *testing.T) {
	b := newWAL(5)
	b.other(10)
	b.other(2<<20 + 20000) // segments 5, 6 and 7
	endOfLong := b.at
	last := b.other(10)

	tests := []struct {
		segment int
		want    Extent
	}{
		{0, Extent{Start: b.base + longHeaderSize, End: b.name(0).End(b.size), LastRecord: b.base + longHeaderSize, LastKind: RecordOther, Complete: true, RunsOn: true, Records: 1, Timeline: 1}},
		{1, Extent{Start: b.name(1).End(b.size), End: b.name(1).End(b.size), Complete: true, Timeline: 1}},
		{2, Extent{Start: endOfLong, End: b.at, LastRecord: last, LastKind: RecordOther, Records: 1, Timeline: 1}},
	}
	for _, tt := range tests {
		got := mustScan(t, b.segment(tt.segment), b.name(tt.segment))
		got.Stopped = ""
		if got != tt.want {
			t.Errorf("segment %d:\n got %+v\nwant %+v", tt.segment, got, tt.want)
		}
	}
	// The first page of the last segment must agree with the pages after it.
	for _, rest := range []uint32{0, binary.LittleEndian.Uint32(b.segment(2)[16:]) + 8, 1 << 31} {
		broken := bytes.Clone(b.segment(2))
		binary.LittleEndian.PutUint32(broken[16:], rest)
		if got := mustScan(t, broken, b.name(2)); got.Records != 0 || got.End != b.name(2).Start(b.size) {
			t.Errorf("%d bytes remaining: got %+v, want nothing valid", rest, got)
		}
	}
}

// TestScanSegmentDamage flips a bit in many records: valid WAL must end where
// the record begins that it hits.
func TestScanSegmentDamage(t *testing.T) {
	b := newWAL(3)
	b.owner = map[LSN]LSN{}
	for i := range 300 {
		b.other(i * 3)
	}
	damaged := b.segment(0)
	for offset := longHeaderSize; offset < int(b.at-b.base); offset += 349 {
		want, ok := b.owner[b.base+LSN(offset)]
		if !ok {
			continue // padding or a page header
		}
		damaged[offset] ^= 0x10
		got := mustScan(t, damaged, b.name(0))
		damaged[offset] ^= 0x10
		atPage := uint64(got.End)%uint64(b.block) == 0 && want-got.End <= longHeaderSize // the header lies between
		if got.End != want && !atPage {
			t.Errorf("bit flipped at %s: got valid to %s (%s), want %s", b.base+LSN(offset), got.End, got.Stopped, want)
		}
	}
}

// TestScanSegmentDamagedHeader flips a bit in each byte of the header of a page
// that goes on with a record.
func TestScanSegmentDamagedHeader(t *testing.T) {
	b := newWAL(3)
	b.other(100)
	want := b.at
	b.other(20000)
	for i := range 20 {
		for _, bit := range []byte{0x01, 0x10} {
			damaged := bytes.Clone(b.segment(0))
			damaged[int(b.block)+i] ^= bit
			if got := mustScan(t, damaged, b.name(0)); got.End != want {
				t.Errorf("header byte %d bit %02x: got valid to %s (%s), want %s", i, bit, got.End, got.Stopped, want)
			}
		}
	}
}

// TestScanSegmentStrayContinuation has a page that claims to go on with a
// record where the one before it was finished.
func TestScanSegmentStrayContinuation(t *testing.T) {
	b := newWAL(3)
	b.fill(64, false)
	b.other(64 - recordHeaderSize)
	want := b.at
	b.other(10)
	stray := bytes.Clone(b.segment(0))
	stray[int(want-b.base)+2] |= pageFirstIsContinued
	if got := mustScan(t, stray, b.name(0)); got.End != want || !strings.Contains(got.Stopped, "the rest of an earlier record") {
		t.Errorf("got valid to %s (%s), want %s", got.End, got.Stopped, want)
	}
}

// TestScanSegmentHugeRecord has a record of a length that no server writes,
// with page headers that agree to the segment's end.
func TestScanSegmentHugeRecord(t *testing.T) {
	for _, total := range []uint32{recordMaxSize, recordMaxSize + 1, 1<<32 - 1} {
		b := newWAL(3)
		b.other(40)
		at := b.at
		binary.LittleEndian.PutUint32(b.buf[at-b.base:], total)
		binary.LittleEndian.PutUint64(b.buf[at-b.base+recordPrevAt:], uint64(b.prev))
		rest := total - uint32(b.room(at))
		for page := b.base + LSN(b.block); page < b.name(0).End(b.size); page += LSN(b.block) {
			b.page(page, pageFirstIsContinued, rest)
			rest -= b.block - shortHeaderSize
		}
		got := mustScan(t, b.segment(0), b.name(0))
		if want := total <= recordMaxSize; got.Complete != want || !want && got.End != at {
			t.Errorf("%d bytes: got %+v, want complete %v", total, got, want)
		}
	}
}

func TestScanSegmentRecycled(t *testing.T) {
	old := newWAL(3)
	for range 9000 {
		old.other(90)
	}
	b := newWAL(9)
	for range 50 {
		b.other(100)
	}
	end := b.at
	// The file of segment 3 was renamed to segment 9 and is written again.
	recycled := bytes.Clone(old.segment(0))
	page := int(uint64(end-b.base)) / int(b.block) * int(b.block)
	copy(recycled[:page+int(b.block)], b.segment(0))
	if got := mustScan(t, recycled, b.name(0)); got.End != end || got.Complete {
		t.Errorf("got end %s complete %v, want %s false", got.End, got.Complete, end)
	}
	// Not written again at all.
	_, err := ScanSegment(bytes.NewReader(old.segment(0)), b.name(0), testIdentity)
	var wrong *HeaderError
	if !errors.As(err, &wrong) || wrong.Mismatch != HeaderAddress {
		t.Errorf("got %v, want a HeaderError on the address", err)
	}
}

// TestScanSegmentStaleRecord has an old record that is whole and stands exactly
// where the next one would begin: only its back pointer gives it away.
func TestScanSegmentStaleRecord(t *testing.T) {
	b := newWAL(3)
	b.other(40)
	b.other(40)
	end := b.at
	b.prev -= 8
	b.other(40)
	if got := mustScan(t, b.segment(0), b.name(0)); got.End != end || !strings.Contains(got.Stopped, "points back") {
		t.Errorf("got end %s (%s), want %s for its back pointer", got.End, got.Stopped, end)
	}
}

// TestScanSegmentGivenUp has a record whose rest was never written: the server
// goes on at the next page with XLP_FIRST_IS_OVERWRITE_CONTRECORD.
func TestScanSegmentGivenUp(t *testing.T) {
	for _, magic := range []uint16{0xD110, 0xD121} {
		b := newWAL(3)
		b.magic = magic
		b.other(40)
		b.fill(72, false)
		kept := b.prev
		b.other(5000)
		next := (b.at - 1) &^ LSN(b.block-1)
		clear(b.buf[next-b.base:])
		b.prev, b.at = kept, next
		b.at += LSN(b.page(next, overwriteFlag(magic), 0))
		b.add(rmgrXLOG, 0xD0, 16)
		b.other(10)
		if got := mustScan(t, b.segment(0), b.name(0)); got.End != b.at || got.LastRecord != b.prev {
			t.Errorf("magic %04X: got end %s last %s (%s), want %s %s", magic, got.End, got.LastRecord, got.Stopped, b.at, b.prev)
		}
	}
}

func TestScanSegmentTimelines(t *testing.T) {
	b := newWAL(3)
	for range 100 {
		b.other(300)
	}
	b.timeline = 2
	for range 100 {
		b.other(300)
	}
	if got := mustScan(t, b.segment(0), b.name(0)); got.End != b.at || got.Timeline != 2 {
		t.Errorf("got end %s timeline %d, want %s 2", got.End, got.Timeline, b.at)
	}
	// The same under the old timeline's name: the new pages are none of it.
	b.timeline = 1
	if got := mustScan(t, b.segment(0), b.name(0)); got.End >= b.at || got.Timeline != 1 {
		t.Errorf("got end %s timeline %d, want less than %s and 1", got.End, got.Timeline, b.at)
	}
}

// TestScanSegmentTimelineGoesBack has a page of an older timeline behind one of
// a newer.
func TestScanSegmentTimelineGoesBack(t *testing.T) {
	b := newWAL(3)
	b.timeline = 2
	for range 100 {
		b.other(300)
	}
	back := bytes.Clone(b.segment(0))
	binary.LittleEndian.PutUint32(back[2*int(b.block)+4:], 1)
	if got := mustScan(t, back, b.name(0)); got.End > b.base+LSN(2*b.block) || !strings.Contains(got.Stopped, "timeline 1 after timeline 2") {
		t.Errorf("got valid to %s (%s), want an end before the third page", got.End, got.Stopped)
	}
}

func TestScanSegmentShortFile(t *testing.T) {
	b := newWAL(3)
	for range 300 {
		b.other(100)
	}
	got := mustScan(t, b.segment(0)[:3*8192+100], b.name(0))
	if got.Complete || !strings.Contains(got.Stopped, "too short") || got.End > b.base+3*8192 {
		t.Errorf("got %+v, want an end before the third page", got)
	}
}

type failingReader struct {
	io.ReaderAt
	limit int64
}

var errDisk = errors.New("disk failure")

func (f failingReader) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.limit {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, at)
}

func TestScanSegmentReadError(t *testing.T) {
	b := newWAL(3)
	b.other(10)
	if _, err := ScanSegment(failingReader{bytes.NewReader(b.segment(0)), 100000}, b.name(0), testIdentity); !errors.Is(err, errDisk) {
		t.Errorf("got %v, want the read's error and no extent", err)
	}
}

func BenchmarkScanSegment(b *testing.B) {
	w := &walBuilder{size: 16 << 20, block: 8192, magic: 0xD110, timeline: 1, base: 16 << 20, at: 16 << 20, prev: 100}
	for w.at < 2*16<<20 {
		w.other(60)
	}
	id := Identity{SystemID: testSystemID, SegmentSize: w.size}
	b.SetBytes(int64(w.size))
	b.ReportAllocs()
	for b.Loop() {
		if e, err := ScanSegment(bytes.NewReader(w.segment(0)), w.name(0), id); err != nil || !e.Complete {
			b.Fatal(e, err)
		}
	}
}
