package walcore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

func firstPage() []byte {
	b := newWAL(0x105)
	b.page(b.base, 0, 0)
	return b.buf[:longHeaderSize]
}

func TestReadPageHeader(t *testing.T) {
	got, err := ReadPageHeader(bytes.NewReader(firstPage()))
	want := PageHeader{Magic: 0xD110, Info: pageLongHeader, Timeline: 1, Address: 0x10500000, SystemID: testSystemID, SegmentSize: 1 << 20, BlockSize: 8192}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if id := got.Identity(); id != testIdentity {
		t.Errorf("got identity %+v, want %+v", id, testIdentity)
	}
}

func TestReadPageHeaderRefuses(t *testing.T) {
	put16 := func(at int, v uint16) func([]byte) []byte {
		return func(p []byte) []byte { binary.LittleEndian.PutUint16(p[at:], v); return p }
	}
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(p []byte) []byte { binary.LittleEndian.PutUint32(p[at:], v); return p }
	}
	tests := []struct {
		name   string
		change func([]byte) []byte
		is     error
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, io.ErrUnexpectedEOF, "0 bytes are too few"},
		{"short", func(p []byte) []byte { return p[:39] }, io.ErrUnexpectedEOF, "39 bytes are too few"},
		{"zeros", func(p []byte) []byte { clear(p); return p }, ErrZeroPage, "all zeros"},
		{"no WAL", func(p []byte) []byte { return []byte(strings.Repeat("PGDMP", 20)) }, nil, "no WAL segment"},
		{"9.2", put16(0, 0xD071), ErrOldFormat, "before 9.5"},
		{"short header", put16(2, 0), nil, "its header is a short one"},
		{"unknown flag", put16(2, pageLongHeader|0x4000), nil, "unknown info bits 4002"},
		{"timeline 0", put32(4, 0), nil, "timeline 0"},
		{"segment size", put32(32, 3<<20), nil, "segment size of 3145728"},
		{"block size", put32(36, 100), nil, "block size of 100"},
		{"address", put32(8, 0x10500100), nil, "not the start of a segment"},
	}
	for _, tt := range tests {
		_, err := ReadPageHeader(bytes.NewReader(tt.change(firstPage())))
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestReadPageHeaderReadError(t *testing.T) {
	_, err := ReadPageHeader(failingReader{})
	if !errors.Is(err, errDisk) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want %v", err, errDisk)
	}
}

func TestPageHeaderCheck(t *testing.T) {
	h, err := ReadPageHeader(bytes.NewReader(firstPage()))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name SegmentName
		want Identity
		got  HeaderMismatch
	}{
		{"000000010000000000000105", Identity{}, 0},
		{"000000010000000000000105", testIdentity, 0},
		{"000000020000000000000105", testIdentity, 0}, // the header's timeline is older
		{"000000010000000000000106", testIdentity, HeaderAddress},
		{"000000010000000000000105", Identity{SystemID: 1}, HeaderCluster},
		{"000000010000000000000105", Identity{SegmentSize: 16 << 20}, HeaderSize},
		{"000000010000000000001105", testIdentity, HeaderAddress}, // no segment of 1 MB has this name
		{"000000000000000000000105", testIdentity, HeaderTimeline},
	}
	for _, tt := range tests {
		err := h.Check(tt.name, tt.want)
		var mismatch *HeaderError
		if errors.As(err, &mismatch) {
			if mismatch.Mismatch != tt.got {
				t.Errorf("%s %+v: got %v, want mismatch %d", tt.name, tt.want, err, tt.got)
			}
		} else if err != nil || tt.got != 0 {
			t.Errorf("%s %+v: got %v, want mismatch %d", tt.name, tt.want, err, tt.got)
		}
	}
	if err := h.Check("short", Identity{}); err == nil {
		t.Error("a name that is none: got no error")
	}
}

func FuzzReadPageHeader(f *testing.F) {
	f.Add(firstPage(), "000000010000000000000105")
	f.Add([]byte{}, "")
	f.Add(make([]byte, 40), "FFFFFFFFFFFFFFFFFFFFFFFF")
	f.Fuzz(func(t *testing.T, page []byte, name string) {
		h, err := ReadPageHeader(bytes.NewReader(page))
		if err != nil {
			return
		}
		if h.Check(SegmentName(name), h.Identity()) == nil && h.Address != SegmentName(name).Start(h.SegmentSize) {
			t.Errorf("%s passes for %q", h.Address, name)
		}
	})
}
