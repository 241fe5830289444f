package backups

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

const segment = walcore.SegmentName("000000010000000000000003")

// newStore is a store with an archive that has one segment.
func newStore(t *testing.T) (Store, *walcore.Archive) {
	t.Helper()
	dir := t.TempDir()
	archive, err := walcore.CreateArchive(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(archive.Dir(), string(segment)), "WAL")
	write(t, filepath.Join(archive.Dir(), ".warmrun", "stamp"), `{"system_identifier": "77", "segment_size": 16777216}`)
	return Store{Dir: filepath.Join(dir, "backups"), Archive: archive.Dir()}, archive
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// made is a copy that is complete at a time.
func made(t *testing.T, s Store, at time.Time) Copy {
	t.Helper()
	c, err := s.Begin(context.Background(), "db1", 77, segment, true, at)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(c.PGData(), "pg_tblspc", ".keep"), "")
	c.Finished, c.StartSegment, c.StopSegment, c.Timeline = at, segment, segment, 1
	if err := s.Complete(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func ids(copies []Copy) string {
	var names []string
	for _, c := range copies {
		names = append(names, c.ID)
	}
	return strings.Join(names, " ")
}

// TestStore leads copies through their lives: begun, complete, made from another,
// left over, removed; the WAL is pinned meanwhile.
func TestStore(t *testing.T) {
	s, archive := newStore(t)
	pins := func() int {
		t.Helper()
		pins, err := archive.Pins()
		if err != nil {
			t.Fatal(err)
		}
		return len(pins)
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Fatalf("got %v, %v; want none", all, err)
	}
	first, err := s.Begin(context.Background(), "db1", 77, segment, true, noon)
	if err != nil {
		t.Fatal(err)
	}
	if good, err := s.Good(); err != nil || len(good) != 0 || pins() != 1 {
		t.Errorf("one that is being made: got %v, %v and %d pins; want it not good, and its WAL kept", good, err, pins())
	}
	first.StartSegment, first.StopSegment, first.Finished = segment, "000000010000000000000004", noon
	if err := s.Complete(first); err == nil || !strings.Contains(err.Error(), "000000010000000000000004") {
		t.Errorf("complete without its last segment: got %v", err)
	}
	write(t, filepath.Join(first.PGData(), "base", "1"), "content")
	write(t, filepath.Join(first.PGData(), "pg_tblspc", ".keep"), "")
	first.StopSegment = segment
	if err := s.Complete(first); err != nil {
		t.Fatal(err)
	}
	second, err := s.Begin(context.Background(), "db1", 77, segment, true, noon)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(second.PGData(), "base", "1")); string(text) != "content" || second.Seed != first.ID || second.ID == first.ID {
		t.Errorf("made from %q: got %q, %v; want what %s has", second.Seed, text, err, first.ID)
	}
	if other, err := s.Begin(context.Background(), "db1", 78, segment, true, noon); err != nil || other.Seed != "" {
		t.Errorf("one of another cluster: got %+v, %v; want it begun with nothing", other, err)
	}
	if removed, err := s.Sweep(); err != nil || len(removed) != 2 || pins() != 1 {
		t.Errorf("swept: got %v, %v and %d pins; want the two that were not completed", removed, err, pins())
	}
	if err := s.Remove(first.ID, false); err == nil || !strings.Contains(err.Error(), "the last good base copy") {
		t.Errorf("the last one: got %v, want it refused", err)
	}
	if err := s.Remove(first.ID, true); err != nil || pins() != 0 {
		t.Errorf("the last one all the same: got %v and %d pins", err, pins())
	}
	if _, err := os.Stat(first.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", first.Dir, err)
	}
	for _, id := range []string{"", "..", "20240501T120000/../x", "20240501"} {
		if _, err := s.Find(id); err == nil {
			t.Errorf("%q was taken for an ID", id)
		}
	}
}

func TestRetention(t *testing.T) {
	var copies []Copy
	for day := range 6 {
		at := noon.AddDate(0, 0, day)
		copies = append(copies, Copy{ID: string(rune('a' + day)), Finished: at})
	}
	now := noon.AddDate(0, 0, 5).Add(time.Hour)
	damaged := slices.Clone(copies)
	damaged[5].Damaged = "1 finding"
	for _, test := range []struct {
		what   string
		r      Retention
		copies []Copy
		want   string
	}{
		{"nothing asked for", Retention{}, copies, ""},
		{"by number", Retention{Keep: 2}, copies, "a b c d"},
		{"by a number larger than there are", Retention{Keep: 9}, copies, ""},
		{"by time: the one before it stays too", Retention{For: 50 * time.Hour}, copies, "a b"},
		{"by a time that goes back before all", Retention{For: 1000 * time.Hour}, copies, ""},
		{"by a short time: the newest stays", Retention{For: time.Minute}, copies, "a b c d e"},
		{"by both: what either asks for", Retention{Keep: 5, For: 50 * time.Hour}, copies, "a"},
		{"by both, the time goes further back", Retention{Keep: 1, For: 50 * time.Hour}, copies, "a b"},
		{"a damaged one does not count, and stays", Retention{Keep: 1}, damaged, "a b c d"},
		{"one that is not complete", Retention{Keep: 1}, []Copy{{ID: "x"}}, ""},
		{"none", Retention{Keep: 1}, nil, ""},
	} {
		if got := ids(test.r.Expired(test.copies, now)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, got, test.want)
		}
	}
}

// TestExpire removes what is old, with its pin.
func TestExpire(t *testing.T) {
	s, archive := newStore(t)
	old, young := made(t, s, noon), made(t, s, noon.Add(time.Hour))
	removed, err := s.Expire(Retention{Keep: 1}, noon.Add(2*time.Hour))
	if err != nil || len(removed) != 1 || removed[0] != old.ID {
		t.Fatalf("got %v, %v; want %s removed", removed, err, old.ID)
	}
	pins, err := archive.Pins()
	if _, kept := pins[pinName(young.ID)]; err != nil || !kept || len(pins) != 1 {
		t.Errorf("got pins %v, %v; want that of %s", pins, err, young.ID)
	}
}

// TestBefore: a copy will do for a target that lies behind its end.
func TestBefore(t *testing.T) {
	c := Copy{Finished: noon, StopLSN: 100}
	for _, test := range []struct {
		target walcore.Target
		want   bool
	}{
		{walcore.Target{Time: noon}, true},
		{walcore.Target{Time: noon.Add(-time.Second)}, false},
		{walcore.Target{LSN: 100}, true},
		{walcore.Target{LSN: 99}, false},
		{walcore.Target{XID: 5}, true},
		{walcore.Target{}, true},
	} {
		if got := before(c, test.target); got != test.want {
			t.Errorf("%s: got %v, want %v", test.target, got, test.want)
		}
	}
}
