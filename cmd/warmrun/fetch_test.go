package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

func TestFetchDue(t *testing.T) {
	const segment, other = walcore.SegmentName("000000010000000000000007"), walcore.SegmentName("000000010000000000000008")
	tests := []struct {
		what     string
		likely   bool
		missing  time.Duration
		searched walcore.SegmentName // "": never
		ago      time.Duration
		want     bool
	}{
		{"a gap", true, 0, "", 0, true},
		{"a gap, just searched for", true, time.Hour, segment, 29 * time.Second, false},
		{"a gap, searched for a while ago", true, time.Hour, segment, 31 * time.Second, true},
		{"a new gap, just searched for", true, 10 * time.Second, segment, 4 * time.Second, false},
		{"a new gap, searched for a moment ago", true, 10 * time.Second, segment, 6 * time.Second, true},
		{"a gap, another was searched for", true, time.Hour, other, 0, true},
		{"the same on another timeline", true, time.Hour, segment.OnTimeline(2), 0, false},
		{"the next segment, asked for just now", false, time.Second, "", 0, false},
		{"the next segment, missing for long", false, time.Minute, "", 0, true},
		{"the next segment, for long, searched for", false, time.Minute, segment, 29 * time.Second, false},
		{"the pause grows", false, time.Hour, segment, 9 * time.Minute, false},
		{"and ends", false, 24 * time.Hour, segment, 11 * time.Minute, true},
		{"the clock went back", true, 0, segment, -time.Hour, true},
		{"the clock went back, no gap", false, -time.Hour, segment, 20 * time.Minute, true},
	}
	for _, tt := range tests {
		mark := filepath.Join(t.TempDir(), "mark")
		if tt.searched != "" {
			then := time.Now().Add(-tt.ago)
			if err := errors.Join(os.WriteFile(mark, []byte(tt.searched+"\n"), 0o600), os.Chtimes(mark, then, then)); err != nil {
				t.Fatal(err)
			}
		}
		if got := fetchDue(mark, segment, tt.likely, tt.missing); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.what, got, tt.want)
		}
	}
}

// TestOnlyNewsIsAFind: what is here already, though nobody can use it, must not
// be taken for what was looked for, or the search begins again at once.
func TestOnlyNewsIsAFind(t *testing.T) {
	own, err := walcore.CreateArchive(t.TempDir() + "/own")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := walcore.CreateArchive(t.TempDir() + "/theirs")
	if err != nil {
		t.Fatal(err)
	}
	const name = walcore.FileName("000000010000000000000004")
	writeFiles(t, map[string]string{filepath.Join(theirs.Dir(), string(name)): walSegment(4)})
	client, err := ship.Connect(t.Context(), agentHere(theirs.Dir(), false))
	if err != nil {
		t.Fatal(err)
	}
	w := &walSearch{session: &session{err: io.Discard}, own: own, name: name, client: client}
	writeFiles(t, map[string]string{filepath.Join(own.Dir(), string(name)): "cut off"})
	if found, err := w.archived(t.Context()); found || err != nil {
		t.Errorf("a file of that name is here: found %v, %v, want nothing", found, err)
	}
	if err := os.Remove(filepath.Join(own.Dir(), string(name))); err != nil {
		t.Fatal(err)
	}
	if found, err := w.archived(t.Context()); !found || err != nil {
		t.Errorf("it is only there: found %v, %v, want it", found, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestPromotionEndsASearch(t *testing.T) {
	dir := t.TempDir()
	self := cluster.Node{PGData: dir, Trigger: filepath.Join(dir, "trigger")}
	if err := os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"trigger", "promote"} {
		ctx, stop := untilOpening(t.Context(), self)
		select {
		case <-ctx.Done():
			t.Fatalf("cancelled before anything happened: %v", context.Cause(ctx))
		case <-time.After(250 * time.Millisecond):
		}
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s does not end a search", file)
		}
		if !errors.Is(context.Cause(ctx), errOpening) {
			t.Errorf("%s: got %v, want %v", file, context.Cause(ctx), errOpening)
		}
		stop()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
