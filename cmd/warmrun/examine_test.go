package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/warmrun/warmrun/engine"
)

// The time of a promotion is that of the innermost step past the line of no
// return, if it ended well.
func TestPromotionIn(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2026, 3, 1, 12, 0, seconds, 0, time.UTC) }
	event := func(kind engine.EventKind, seconds int, runbook, step string) engine.Event {
		return engine.Event{Kind: kind, At: at(seconds), Runbook: runbook, Step: step, Outcome: engine.Done}
	}
	nested := []engine.Event{
		event(engine.NoReturnPassed, 1, "switchover", "promote"), event(engine.NoReturnPassed, 2, "switchover/promote/triggerStandby", "trigger"),
		event(engine.StepEnded, 5, "switchover/promote/triggerStandby", "trigger"), event(engine.StepEnded, 9, "switchover", "promote"),
	}
	if got := promotionIn(nested); got == nil || got.Seconds != 3 || !got.At.Equal(at(5)) {
		t.Errorf("got %+v, want 3 s", got)
	}
	failed := slices.Clone(nested)
	failed[2].Outcome, failed[3].Outcome = engine.Failed, engine.Failed
	for name, events := range map[string][]engine.Event{"none": nil, "never passed": nested[2:], "failed": failed, "not ended": nested[:2]} {
		if got := promotionIn(events); got != nil {
			t.Errorf("%s: got %+v, want none", name, got)
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
