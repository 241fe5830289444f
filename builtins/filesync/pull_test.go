package filesync

import (
	"bytes"
	"testing"
)

// TestRequestWaits: a file that was too large while others were under way is asked
// for once these have come, also where they come just then.
func TestRequestWaits(t *testing.T) {
	t.Parallel()
	source := newCatalog()
	source.add(Entry{Path: ".", Kind: Dir})
	source.add(Entry{Path: "next", Kind: File, Size: 100_000})
	plan := rules{}.compare(source, false).finish()
	lane := newQueue(&plan, 1).lane()
	w := newWindow()
	underWay := job{id: 7, entry: &Entry{Path: "before", Kind: File}, to: mostAhead - 10}
	w.add(underWay)
	take := func(room int64) (job, bool) {
		j, ok := lane.take(room)
		if room < anySize {
			w.done(underWay.id)
		}
		if ok {
			underWay = j
		}
		return j, ok
	}
	var sent bytes.Buffer
	s := &stream{c: newConn(&sent)}
	if err := new(pull).request(t.Context(), s, take, w); err != nil {
		t.Fatal(err)
	}
	for _, want := range []frameType{frameFetch, frameSync} {
		if got, _, err := s.c.read(); got != want || err != nil {
			t.Errorf("got a frame of type %d (%v), want %d", got, err, want)
		}
	}
}
