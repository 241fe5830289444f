package main

import (
	"os"
	"path/filepath"
	"testing"
)

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
