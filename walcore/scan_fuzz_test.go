package walcore

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzScanSegment feeds the scanner pages of its own making and broken ones.
// The pages are small, so that a few kilobytes hold many.
func FuzzScanSegment(f *testing.F) {
	seed := func(build func(b *walBuilder)) {
		b := newWAL(7)
		b.block = 1024
		build(b)
		f.Add(b.segment(0)[:min(int(b.size), int(b.at-b.base)+1024)])
	}
	seed(func(b *walBuilder) { b.other(3); b.other(3000); b.other(0); b.shutdown() })
	seed(func(b *walBuilder) { b.fill(8, false); b.other(100); b.other(100) })
	seed(func(b *walBuilder) {
		b.page(b.base, pageFirstIsContinued, 2000)
		b.at += 1024
		b.at += LSN(b.page(b.at, pageFirstIsContinued, 2000-(1024-longHeaderSize)))
		b.at += (2000 - (1024 - longHeaderSize) + 7) &^ 7
		b.other(10)
	})
	seed(func(b *walBuilder) { b.other(5); b.add(rmgrXLOG, 0x40, 0) })
	seed(func(b *walBuilder) {
		b.other(5000)
		b.at = (b.at + 1023) &^ 1023
		b.at += LSN(b.page(b.at, pageOverwrite, 0))
		b.other(5)
	})
	name := newWAL(7).name(0)
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := ScanSegment(bytes.NewReader(content), name, Identity{})
		if err != nil {
			return
		}
		h, err := ReadPageHeader(bytes.NewReader(content))
		if err != nil {
			t.Fatalf("scanned, but its header: %v", err)
		}
		start, end := name.Start(h.SegmentSize), name.End(h.SegmentSize)
		switch {
		case e.Start < start || e.Start > e.End || e.End > end || uint64(e.End)%recordAlignment != 0:
			t.Errorf("got %s to %s in a segment of %s to %s", e.Start, e.End, start, end)
		case e.Complete == (e.Stopped != ""):
			t.Errorf("got complete %v, stopped %q", e.Complete, e.Stopped)
		case (e.Records == 0) != (e.LastKind == RecordNone):
			t.Errorf("got %d records, the last %q", e.Records, e.LastKind)
		case e.Records > 0 && (e.LastRecord < e.Start || e.LastRecord+recordHeaderSize > e.End):
			t.Errorf("got the last record at %s in %s to %s", e.LastRecord, e.Start, e.End)
		}
		if e.Records == 0 || e.End == end || int(e.End-start) > len(content) {
			return
		}
		// What lies behind the end has no say in where it is.
		cut := make([]byte, len(content))
		copy(cut, content[:e.End-start])
		again, err := ScanSegment(bytes.NewReader(cut), name, Identity{})
		if err != nil || again.End != e.End || again.Records != e.Records || again.LastRecord != e.LastRecord {
			t.Errorf("got %+v, and %+v, %v with zeros behind", e, again, err)
		}
	})
}

// FuzzScanBuilt builds valid WAL from a program, one record of a given length
// after the other, and changes bytes of records: checksums keep a fuzzer that
// knows only bytes from getting far by itself.
func FuzzScanBuilt(f *testing.F) {
	f.Add([]byte{3, 0, 0, 4, 200, 12}, []byte{})
	f.Add([]byte{255, 255, 0, 0, 10, 0, 90, 0}, []byte{1, 0, 4, 16, 3, 200})
	f.Fuzz(func(t *testing.T, program, changes []byte) {
		b := newWAL(7)
		b.block, b.owner = 1024, map[LSN]LSN{}
		b.page(b.base, 0, 0)
		for ; len(program) >= 2 && b.at-b.base < 48<<10; program = program[2:] {
			b.other(int(binary.LittleEndian.Uint16(program) & 0x1FFF))
		}
		content := bytes.Clone(b.segment(0))
		for ; len(changes) >= 3; changes = changes[3:] {
			at := binary.LittleEndian.Uint16(changes)
			if _, ok := b.owner[b.base+LSN(at)]; ok {
				content[at] ^= changes[2]
			}
		}
		want := b.at
		for at, record := range b.owner {
			if content[at-b.base] != b.segment(0)[at-b.base] {
				want = min(want, record)
			}
		}
		got := mustScan(t, content, b.name(0))
		atPage := uint64(got.End)%uint64(b.block) == 0 && got.End < want && want-got.End <= longHeaderSize
		if got.End != want && !atPage {
			t.Errorf("got valid to %s (%s), want %s of %s", got.End, got.Stopped, want, b.at)
		}
	})
}
