package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
)

// pastRun writes the journal of a run that was done: an event every so many
// seconds.
func pastRun(t *testing.T, s *session, id, runbook string, began time.Time, every time.Duration, events ...engine.Event) {
	t.Helper()
	outermost := "run-1"
	if id[:5] != outermost {
		outermost = id
	}
	if err := markOpen(s.site, id); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Create(journalPath(s.site, id))
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{s: s, id: id, j: j, book: &engine.Runbook{Name: runbook}}
	entries := []runEntry{{Head: &runHead{ID: id, Outermost: outermost, Runbook: runbook, Began: began}}}
	for i, e := range events {
		e.At, e.Runbook = began.Add(time.Duration(i)*every), runbook
		line := fmt.Sprintf(`{"event":%q,"at":%q,"runbook":%q,"step":%q,"outcome":%q`, e.Kind, e.At.Format(time.RFC3339Nano), e.Runbook, e.Step, e.Outcome)
		if e.Nested != nil {
			line += fmt.Sprintf(`,"nested":{"key":%q,"node":%q,"runbook":%q}`, e.Nested.Key, e.Nested.Node, e.Nested.Runbook)
		}
		entries = append(entries, runEntry{Event: []byte(line + "}")})
	}
	if err := rec.write(entries...); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPastOutages: the time between two steps of runs within a run is counted by
// the clock of each alone, for they may be on other nodes.
func TestPastOutages(t *testing.T) {
	s := recorded(t)
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	step := func(kind engine.EventKind, name string) engine.Event {
		e := engine.Event{Kind: kind, Step: name}
		if kind == engine.StepEnded {
			e.Outcome = engine.Done
		}
		return e
	}
	calls := func(name, key string) engine.Event {
		return engine.Event{Kind: engine.NestedCalled, Step: name, Nested: &engine.NestedRun{Key: key, Node: "db1", Runbook: "part"}}
	}
	ended := engine.Event{Kind: engine.RunEnded, Outcome: engine.Done}
	// 10 s from one event to the next.
	pastRun(t, s, "run-1", "demo", at, 10*time.Second, engine.Event{Kind: engine.RunBegan},
		step(engine.StepBegan, "flush"), calls("flush", "1"), step(engine.StepEnded, "flush"),
		step(engine.StepBegan, "promote"), calls("promote", "2"), step(engine.StepEnded, "promote"), ended)
	// The clocks of the others are a day ahead, and a day behind.
	pastRun(t, s, "run-1.1", "part", at.Add(24*time.Hour), time.Second, engine.Event{Kind: engine.RunBegan},
		step(engine.StepBegan, "drain"), step(engine.StepEnded, "drain"), step(engine.StepBegan, "stop"), step(engine.StepEnded, "stop"), ended)
	pastRun(t, s, "run-1.2", "part", at.Add(-24*time.Hour), time.Second, engine.Event{Kind: engine.RunBegan},
		step(engine.StepBegan, "verify"), step(engine.StepEnded, "verify"), step(engine.StepBegan, "after"), step(engine.StepEnded, "after"), ended)
	for _, test := range []struct {
		begins, ends []string
		want         string
	}{
		// From 3 s behind the call at 20 s to 3 s before the end at 60 s.
		{[]string{"flush", "stop"}, []string{"promote", "verify"}, "[{run-1 34}]"},
		{[]string{"flush"}, []string{"promote"}, "[{run-1 50}]"},
		{nil, []string{"promote", "verify"}, "[{run-1 47}]"},
		{[]string{"promote", "after"}, nil, "[{run-1 17}]"},
		{[]string{"flush", "nothing"}, []string{"promote"}, "[]"},
		{[]string{"gone"}, nil, "[]"},
	} {
		got := fmt.Sprint(pastOutages(t.Context(), s, &engine.Outage{Begins: test.begins, Ends: test.ends}, "demo"))
		if got != test.want {
			t.Errorf("%v to %v: got %s, want %s", test.begins, test.ends, got, test.want)
		}
	}
	if got := pastOutages(t.Context(), s, &engine.Outage{}, "part"); len(got) > 0 {
		t.Errorf("parts of a run are taken for runs: %v", got)
	}
}
