package main

import (
	"context"
	"slices"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// pastLooked is how many former runs of a runbook a plan looks at.
const pastLooked = 5

// pastOutages is how long the outage of a plan took in former runs that were
// done, the last one first. A run that was interrupted says nothing of it, nor one
// of which a part is not known here or on a node that answers.
func pastOutages(ctx context.Context, s *session, o *engine.Outage, book string) []engine.PastOutage {
	all, err := allRuns(s)
	if o == nil || err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusAnswer)
	defer cancel()
	var past []engine.PastOutage
	for _, r := range all {
		if r.Head.Runbook != book || r.Head.ID != r.Head.Outermost || len(r.Taken) > 0 || r.summary().State != engine.Succeeded {
			continue
		}
		begins, known := beginOf(ctx, s, r, o.Begins)
		ends, alsoKnown := endOf(ctx, s, r, o.Ends)
		if known && alsoKnown && ends.After(begins) {
			past = append(past, engine.PastOutage{Run: r.Head.ID, Seconds: ends.Sub(begins).Seconds()})
		}
		if len(past) == pastLooked {
			break
		}
	}
	return past
}

// beginOf is when a step of a run began, by the clock of the node that drove the
// run: a step within another counts from the call of its runbook. No path is the
// run's first step.
func beginOf(ctx context.Context, s *session, r runRecord, path []string) (time.Time, bool) {
	if len(path) == 0 {
		e, ok := r.find(func(e engine.Event) bool { return e.Kind == engine.StepBegan })
		return e.At, ok
	}
	if len(path) == 1 {
		e, ok := r.find(func(e engine.Event) bool { return e.Kind == engine.StepBegan && e.Step == path[0] })
		return e.At, ok
	}
	call, inner, ok := partAt(ctx, s, r, path[0])
	if !ok {
		return time.Time{}, false
	}
	at, ok := beginOf(ctx, s, inner, path[1:])
	return call.At.Add(at.Sub(inner.plain[0].At)), ok
}

// endOf is when a step of a run ended, by the same clock: a step within another
// counts back from the end of that. No path is the end of the run.
func endOf(ctx context.Context, s *session, r runRecord, path []string) (time.Time, bool) {
	last := r.plain[len(r.plain)-1]
	if len(path) == 0 {
		return last.At, true
	}
	ended, ok := r.find(func(e engine.Event) bool {
		return e.Kind == engine.StepEnded && e.Step == path[0] && e.Outcome == engine.Done
	})
	if !ok || len(path) == 1 {
		return ended.At, ok
	}
	_, inner, ok := partAt(ctx, s, r, path[0])
	if !ok {
		return time.Time{}, false
	}
	at, ok := endOf(ctx, s, inner, path[1:])
	return ended.At.Add(at.Sub(inner.plain[len(inner.plain)-1].At)), ok
}

// partAt is the run that a step of another has called last, and that was done.
func partAt(ctx context.Context, s *session, r runRecord, step string) (call engine.Event, inner runRecord, ok bool) {
	for _, e := range slices.Backward(r.plain) {
		if e.Kind == engine.NestedCalled && e.Step == step && e.Nested != nil && !e.Nested.Undo {
			inner, ok = recordOn(ctx, s, cluster.NodeName(e.Nested.Node), r.Head.ID+"."+e.Nested.Key)
			return e, inner, ok && inner.summary().State == engine.Succeeded
		}
	}
	return engine.Event{}, runRecord{}, false
}

// recordOn reads a run on a node.
func recordOn(ctx context.Context, s *session, node cluster.NodeName, id string) (runRecord, bool) {
	there, err := callOn(ctx, s, node, "runs.journal", runOptions{ID: id}, journalHere)
	if err != nil {
		return runRecord{}, false
	}
	r, err := parseCopy(there)
	return r, err == nil && len(r.plain) > 0
}

// find is the first event of the run itself that a test picks.
func (r runRecord) find(picks func(engine.Event) bool) (engine.Event, bool) {
	i := slices.IndexFunc(r.plain, func(e engine.Event) bool { return e.Runbook == r.plain[0].Runbook && picks(e) })
	if i < 0 {
		return engine.Event{}, false
	}
	return r.plain[i], true
}
