package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// TestLastPromotion: the time of a promotion is from the request to the first
// write that the server would take, by the node's own clock, whoever has asked. A
// note that is torn says nothing.
func TestLastPromotion(t *testing.T) {
	site := &cluster.Site{Home: t.TempDir()}
	if err := os.MkdirAll(site.Local(), 0o755); err != nil {
		t.Fatal(err)
	}
	none := func(when string) {
		t.Helper()
		if got := lastPromotion(site); got != nil {
			t.Errorf("%s: got %+v, want none", when, got)
		}
	}
	none("before any")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	noteMoments(site, func(m *moments) { m.StopAsked, m.Stopped = at, at.Add(time.Second) })
	none("after a stop")
	noteMoments(site, func(m *moments) { m.PromotionAsked, m.Opened = at, at.Add(300*time.Millisecond) })
	noteMoments(site, func(m *moments) { m.StopAsked, m.Stopped = at.Add(time.Hour), at.Add(time.Hour+time.Second) })
	if got := lastPromotion(site); got == nil || got.Seconds != 0.3 || !got.At.Equal(at.Add(300*time.Millisecond)) {
		t.Errorf("got %+v, want 0.3 s", got)
	}
	if err := os.WriteFile(site.Local("moments"), []byte(`{"promotion_as`), 0o600); err != nil {
		t.Fatal(err)
	}
	none("torn")
}

// TestLastStopSite: the newest one that was done counts, however many runs of
// others there are.
func TestLastStopSite(t *testing.T) {
	s := recorded(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	done, failed := engine.Event{Kind: engine.RunEnded, Outcome: engine.Done}, engine.Event{Kind: engine.RunEnded, Outcome: engine.Failed}
	began := engine.Event{Kind: engine.RunBegan}
	if got := lastStopSite(s.site); got != nil {
		t.Errorf("without a run: got %+v", got)
	}
	run := func(hour int, book string, events ...engine.Event) {
		t.Helper()
		began := at.Add(time.Duration(hour) * time.Hour)
		pastRun(t, s, newRunID(book, "db1", began), book, began, time.Second, events...)
	}
	run(1, "stopSite", began, done)
	run(2, "stopSite", began, began, done)
	run(3, "stopSite", began, failed)
	run(4, "stopSite", began)
	run(5, "startSite", began, done)
	want := at.Add(2 * time.Hour)
	if got := lastStopSite(s.site); got == nil || !got.Began.Equal(want) || !got.Ended.Equal(want.Add(2*time.Second)) {
		t.Errorf("got %+v, want the one of %s", got, want)
	}
}

// TestIsOver: a node that was out of reach when a run ended has a copy without its
// end, which makes nobody think that it is unfinished.
func TestIsOver(t *testing.T) {
	copyOf := func(last engine.EventKind, step string) runCopy {
		t.Helper()
		s := recorded(t)
		begun(t, s, "run", last, step)
		there, err := journalHere(t.Context(), s, runOptions{ID: "run"})
		if err != nil {
			t.Fatal(err)
		}
		return there
	}
	cut, ended := copyOf(engine.StepEnded, "one"), copyOf(engine.RunEnded, "")
	driven := cut
	driven.Held = true
	for name, test := range map[string]struct {
		copies map[cluster.NodeName]runCopy
		want   bool
	}{
		"nobody knows its end":   {map[cluster.NodeName]runCopy{"db1": cut, "db2": cut, "dr": {}}, false},
		"another node does":      {map[cluster.NodeName]runCopy{"db1": ended, "db2": cut}, true},
		"another node drives it": {map[cluster.NodeName]runCopy{"db1": driven, "db2": cut}, true},
		"no copy can be read":    {map[cluster.NodeName]runCopy{"db1": {Lines: "?"}}, false},
	} {
		if got := isOver(test.copies); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// TestRefusedBesideRuns: status, check and why know which commands are refused while
// a run is unfinished.
func TestRefusedBesideRuns(t *testing.T) {
	s := newSession(nil, nil, nil)
	names, err := runbookNames(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		book, err := loadRunbook(t.Context(), s, s.setting(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := health.Refused("warmrun "+name), book.Lock == "cluster"; got != want {
			t.Errorf("%s locks %s, and that it is refused beside another run is thought to be %v", name, book.Lock, got)
		}
	}
}

// A segment that is being written is nowhere to be had yet.
func TestFinishedHere(t *testing.T) {
	pgdata := t.TempDir()
	for _, name := range []string{"000000010000000000000006", "archive_status/000000010000000000000006.done", "000000010000000000000007", "00000002.history", "archive_status/000000010000000000000005.done"} {
		path := filepath.Join(pgdata, "pg_wal", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"000000010000000000000005": false, "000000010000000000000006": true, "000000010000000000000007": false, "00000002.history": true} {
		if got := finishedHere(pgdata, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
