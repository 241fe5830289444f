package filesync

import (
	"bytes"
	"testing"
	"time"
)

// TestRequestWaits: a file that was too large while others were under way is asked
// for once these have come.
func TestRequestWaits(t *testing.T) {
	t.Parallel()
	source := newCatalog()
	source.add(Entry{Path: ".", Kind: Dir})
	source.add(Entry{Path: "next", Kind: File, Size: 100_000})
	plan := rules{}.compare(source, false).finish()
	q := newQueue(&plan, 1)
	w := newWindow()
	w.add(job{id: 7, entry: &Entry{Path: "before", Kind: File}, to: mostAhead - 10})
	var sent bytes.Buffer
	s := &stream{c: newConn(&sent)}
	done := make(chan error, 1)
	q.mu.Lock()
	go func() { done <- new(pull).request(t.Context(), s, q.lane(), w) }()
	time.Sleep(50 * time.Millisecond) // by now it knows how much room there is
	w.done(7)
	q.mu.Unlock()
	for next := false; !next; time.Sleep(time.Millisecond) {
		select {
		case err := <-done:
			t.Fatalf("it ended before it had asked for all: %v", err)
		default:
		}
		_, err := w.job(0)
		next = err == nil
	}
	w.done(0)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, want := range []frameType{frameFetch, frameSync} {
		if got, _, err := s.c.read(); got != want || err != nil {
			t.Errorf("got a frame of type %d (%v), want %d", got, err, want)
		}
	}
}
