package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/scratch"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// A scratch directory whose maker died before it wrote its note is swept, and no
// time is made up for it.
func TestSweepScratchWithoutNote(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scratch")
	left := filepath.Join(dir, "drill-20260101T000000Z")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	self := cluster.Node{Name: "dr", Scratch: dir}
	var out bytes.Buffer
	s := newSession(&cluster.Site{Self: self, Nodes: []cluster.Node{self}}, io.Discard, &out)
	s.serving = true
	if _, err := sweepScratch(t.Context(), s, scratchKindOption{Kind: scratch.Drill}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", left, err)
	}
	if want := "left over from an earlier run"; !strings.Contains(out.String(), want) {
		t.Errorf("got %q, want %q in it", out.String(), want)
	}
}
