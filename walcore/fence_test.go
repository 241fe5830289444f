package walcore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/storetest"
)

func TestFence(t *testing.T) {
	cut := func(epoch uint64, timeline walcore.Timeline, lsn walcore.LSN) walcore.Cut {
		return walcore.Cut{Epoch: epoch, Timeline: timeline, LSN: lsn, By: "db2"}
	}
	a := newArchive(t)
	steps := []struct {
		name  string
		do    func() error
		fails string // part of the error
		epoch uint64
		lsn   walcore.LSN // of the cut of timeline 1, 0 for none
	}{
		{"raise", func() error { return a.RaiseFence(cut(3, 1, 500)) }, "", 3, 500},
		{"the same again", func() error { return a.RaiseFence(cut(3, 1, 500)) }, "", 3, 500},
		{"higher", func() error { return a.RaiseFence(cut(3, 1, 600)) }, "already cut at 0/1F4", 3, 500},
		{"higher in a new epoch", func() error { return a.RaiseFence(cut(4, 1, 600)) }, "already cut at 0/1F4", 3, 500},
		{"lower in the same epoch", func() error { return a.RaiseFence(cut(3, 1, 450)) }, "", 3, 450},
		{"lower in a new epoch", func() error { return a.RaiseFence(cut(5, 1, 400)) }, "", 5, 400},
		{"an old epoch", func() error { return a.RaiseFence(cut(4, 2, 900)) }, "is at epoch 5", 5, 400},
		{"another timeline, next epoch", func() error { return a.RaiseFence(cut(0, 2, 900)) }, "", 6, 400},
		{"undo", func() error { return a.LowerFence(5) }, "", 6, 450},
		{"undo of nothing", func() error { return a.LowerFence(77) }, "", 6, 450},
		{"undo of the first", func() error { return a.LowerFence(3) }, "", 6, 0},
		{"after the undo", func() error { return a.RaiseFence(cut(7, 1, 600)) }, "", 7, 600},
		{"no timeline", func() error { return a.RaiseFence(cut(8, 0, 600)) }, "needs a timeline", 7, 600},
		{"no LSN", func() error { return a.RaiseFence(cut(8, 1, 0)) }, "needs a timeline", 7, 600},
	}
	for _, step := range steps {
		err := step.do()
		if (err == nil) != (step.fails == "") || err != nil && !strings.Contains(err.Error(), step.fails) {
			t.Errorf("%s: got error %v, want %q", step.name, err, step.fails)
		}
		fence, err := a.Fence()
		if err != nil {
			t.Fatal(err)
		}
		got, ok := fence.Cut(1)
		if fence.Epoch != step.epoch || ok != (step.lsn != 0) || got.LSN != step.lsn {
			t.Errorf("%s: got epoch %d, cut %v at %s, want epoch %d, cut at %s", step.name, fence.Epoch, ok, got.LSN, step.epoch, step.lsn)
		}
	}
}

func TestDamagedFenceAcceptsNothing(t *testing.T) {
	a := newArchive(t)
	data := segment(storetest.Segment{Name: seg1})
	mustPut(t, a, walcore.FileName(seg1), data, 0)
	if err := os.WriteFile(filepath.Join(a.Dir(), ".warmrun", "fence"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := a.Put(t.Context(), request(walcore.FileName(seg2), segment(storetest.Segment{Name: seg2}), 0))
	if err == nil || hint.Of(err) == "" {
		t.Errorf("got error %v with hint %q, want both", err, hint.Of(err))
	}
	if got := mustPut(t, a, walcore.FileName(seg1), data, 0); !got.Identical {
		t.Errorf("the same bytes again: got %+v, want identical", got)
	}
}

func TestFenceWithoutArchive(t *testing.T) {
	a := newArchive(t)
	if err := os.RemoveAll(a.Dir()); err != nil {
		t.Fatal(err)
	}
	checkNoArchive(t, a)
}

// TestHistoryEndsATimeline: an archive that no fence was raised in, because it could
// not be reached, takes no WAL of the old primary past the place where the new one's
// history says that it left the timeline.
func TestHistoryEndsATimeline(t *testing.T) {
	seg3 := walcore.SegmentName("000000010000000000000003")
	whole := func(name walcore.SegmentName) []byte { return segment(storetest.Segment{Name: name}) }
	ended, end := storetest.Segment{Name: seg2, Ending: storetest.Shutdown}.Build()
	past, _ := storetest.Continue(seg2, ended, end, storetest.Switch)
	history := func(forks ...string) []byte { return []byte(strings.Join(forks, "\tby hand\n") + "\tby hand\n") }

	steps := []struct {
		name   string
		file   walcore.FileName
		data   []byte
		reason string // that it is refused for
	}{
		{"before", walcore.FileName(seg1), whole(seg1), ""},
		{"the new timeline's history", "00000002.history", history("1\t" + end.String()), ""},
		{"identical, before the end", walcore.FileName(seg1), whole(seg1), ""},
		{"WAL past the end", walcore.FileName(seg2), past, walcore.ReasonLeft},
		{"a segment past the end", walcore.FileName(seg3), whole(seg3), walcore.ReasonLeft},
		{"WAL up to the end", walcore.FileName(seg2), ended, ""},
		{"the new timeline's own", "000000020000000000000003", whole("000000020000000000000003"), ""},
		{"a timeline that does not come from it", "00000003.history", history("1\t" + end.String()), ""},
		{"the one that was passed by", "000000020000000000000004", whole("000000020000000000000004"), ""},
	}
	a := newArchive(t)
	for _, step := range steps {
		_, err := a.Put(t.Context(), request(step.file, step.data, 0))
		var refused *walcore.RefusedError
		if errors.As(err, &refused) {
			if refused.Reason != step.reason || !strings.Contains(err.Error(), "00000002.history in "+a.Dir()) || hint.Of(err) == "" {
				t.Errorf("%s: got %v, hint %q, want it refused as %q, with the history and a hint", step.name, err, hint.Of(err), step.reason)
			}
		} else if err != nil || step.reason != "" {
			t.Errorf("%s: got %v, want %q", step.name, err, step.reason)
		}
	}
}
