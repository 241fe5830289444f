package walcore_test

import (
	"errors"
	"os"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// TestFirstMissing: the last segment of a range says nothing about those before
// it, which may arrive later.
func TestFirstMissing(t *testing.T) {
	t.Parallel()
	const seg3, seg4 walcore.SegmentName = "000000010000000000000003", "000000010000000000000004"
	a := newArchive(t)
	check := func(from, to, want walcore.SegmentName) {
		t.Helper()
		if got, err := a.FirstMissing(from, to); err != nil || got != want {
			t.Errorf("%s to %s: got %q, %v, want %q", from, to, got, err, want)
		}
	}
	put := func(name walcore.SegmentName) {
		mustPut(t, a, walcore.FileName(name), segment(storetest.Segment{Name: name}), 0)
	}
	check(seg1, seg3, seg1)
	put(seg3)
	check(seg1, seg3, seg1)
	check(seg3, seg3, "")
	put(seg1)
	check(seg1, seg3, seg2)
	put(seg2)
	check(seg1, seg3, "")
	check(seg1, seg4, seg4)
	if _, err := a.FirstMissing(seg3, seg1); err == nil {
		t.Error("got no error for a range that runs backwards")
	}
	if _, err := a.FirstMissing(seg1, "000000020000000000000003"); err == nil {
		t.Error("got no error for a range over two timelines")
	}
	if err := os.RemoveAll(a.Dir()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.FirstMissing(seg1, seg3); !errors.Is(err, walcore.ErrNoArchive) {
		t.Errorf("got %v, want ErrNoArchive", err)
	}
}
