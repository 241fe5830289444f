package main

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// TestGapAt: a missing segment is one that later segments have come after,
// however many are missing with it.
func TestGapAt(t *testing.T) {
	archive, err := walcore.CreateArchive(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	segment := func(n int) walcore.SegmentName {
		return walcore.SegmentName(fmt.Sprintf("0000000100000000%08X", n))
	}
	put := func(name walcore.FileName, data []byte) {
		t.Helper()
		if _, err := archive.Put(t.Context(), walcore.PutRequest{Name: name, Size: int64(len(data)), Body: bytes.NewReader(data)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := 100; n < 140; n++ {
		data, _ := storetest.Segment{Name: segment(n)}.Build()
		put(walcore.FileName(segment(n)), data)
	}
	s := &session{site: &cluster.Site{Self: cluster.Node{Archive: archive.Dir()}}}
	for n, want := range map[int]bool{61: true, 85: true, 92: true, 99: true, 138: true, 139: false, 140: false, 200: false} {
		if got := s.gapAt(segment(n)); got != want {
			t.Errorf("segment %d of an archive with 100 to 139: a gap %v, want %v", n, got, want)
		}
	}

	// A later timeline has gone on behind what is missing.
	data, _ := storetest.Segment{Name: "000000020000000000000090"}.Build()
	put("00000002.history", []byte("1\t0/8F000000\tno recovery target specified\n"))
	put("000000020000000000000090", data)
	for n, want := range map[int]bool{0x8E: true, 0x8F: true, 0x90: false} {
		if got := s.gapAt(segment(n)); got != want {
			t.Errorf("segment %d of timeline 1, with segment %d of timeline 2: a gap %v, want %v", n, 0x90, got, want)
		}
	}
}
