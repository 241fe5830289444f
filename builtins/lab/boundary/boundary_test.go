package boundary

import (
	"os"
	"slices"
	"sync"
	"testing"
)

// TestPass: whoever listens is told, holds the run, and knows its process; with
// nobody there a run goes on.
func TestPass(t *testing.T) {
	dir := t.TempDir()
	first := Moment{Node: "db1", Runbook: "flushPrimary", Step: "stop", Event: "step ended", Outcome: "done", Before: true}
	Pass(dir, first)

	var mu sync.Mutex
	var heard []Moment
	passed := false
	watch, err := Listen(t.Context(), dir, func(m Moment) {
		mu.Lock()
		defer mu.Unlock()
		if passed {
			t.Error("the run had passed before it was let go")
		}
		heard = append(heard, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	Pass(dir, first)
	mu.Lock()
	passed = true
	first.PID = os.Getpid()
	if !slices.Equal(heard, []Moment{first}) {
		t.Errorf("heard %+v, want %+v once", heard, first)
	}
	mu.Unlock()
	if err := watch.Close(); err != nil {
		t.Fatal(err)
	}
	Pass(dir, first)
	if len(heard) != 1 {
		t.Errorf("heard %+v after the end", heard[1:])
	}
}
