package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWarmMemory: all is touched, and given back but for a page of each stretch.
func TestWarmMemory(t *testing.T) {
	const n = 16 << 20
	page := int64(os.Getpagesize())
	before, faults := resident(t), minorFaults(t)
	release, err := warmMemory(n)
	if err != nil {
		t.Fatal(err)
	}
	if touched := minorFaults(t) - faults; touched < n/page {
		t.Errorf("%d pages were touched, want %d", touched, n/page)
	}
	if kept := resident(t) - before; kept > n/2 {
		t.Errorf("%d bytes of %d are kept", kept, n)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// TestToWarm: some more than is moved, and never all that is free.
func TestToWarm(t *testing.T) {
	for _, c := range []struct{ n, free, want int64 }{{100, 1000, 125}, {1000, 1000, 750}, {100, 0, 1}} {
		if got := toWarm(c.n, c.free); got != c.want {
			t.Errorf("for %d bytes with %d free: %d, want %d", c.n, c.free, got, c.want)
		}
	}
}

// minorFaults is how many pages this process has been given (getrusage(2)).
func minorFaults(t *testing.T) int64 {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return usage.Minflt
}

// resident is how much memory this process has, in bytes (proc(5), statm).
func resident(t *testing.T) int64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestDiscard: what is discarded takes no room, and its name can be used again.
func TestDiscard(t *testing.T) {
	b := &bench{dir: t.TempDir()}
	name := b.path("copy")
	for round := range 2 {
		if err := write(filepath.Join(name, "deep", "file"), "content", 0o600); err != nil {
			t.Fatal(err)
		}
		if err := b.discard(name); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(name); err == nil {
			t.Fatalf("round %d: the copy is still there", round)
		}
		left, err := filepath.Glob(b.path("aside", "*", "deep", "file"))
		if err != nil || len(left) != round+1 {
			t.Fatalf("round %d: got %v put aside (%v)", round, left, err)
		}
		for _, path := range left {
			if info, err := os.Stat(path); err != nil || info.Size() != 0 {
				t.Errorf("%s has %d bytes (%v), want none", path, info.Size(), err)
			}
		}
	}
	if err := b.discard(name); err != nil {
		t.Errorf("of what is not there: %v", err)
	}
}
