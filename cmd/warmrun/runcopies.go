package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// A run's journal lies on the node that drives it, and copies of it on those
// that were locked for it. A node that could not be reached for a while has a
// copy that ends early: what counts is the one that goes furthest.

// runOptions say which run.
type runOptions struct {
	ID string `json:"id"`
}

// runCopy is a node's copy of a run's journal.
type runCopy struct {
	// Lines is the whole of it; empty where the node has none.
	Lines string `json:"lines,omitempty"`
	// Held: a process on the node writes it.
	Held bool `json:"held,omitempty"`
}

func runsOperations() []operation {
	return []operation{
		onNode("runs", "unfinished", engine.Read, "the IDs of the runs that have not ended, as far as the node knows", unfinishedHere),
		onNode("runs", "facts", engine.Read, "what a plan rests on at the node: its part, timeline, system identifier, and the site's own runbooks there", factsHere),
		onNode("runs", "journal", engine.Read, "the node's copy of a run's journal", journalHere),
	}
}

func unfinishedHere(_ context.Context, s *session, _ none) ([]string, error) {
	open, _, err := inTheWay(s.site)
	return idsOf(open), err
}

func journalHere(_ context.Context, s *session, o runOptions) (runCopy, error) {
	if !validRunID(o.ID) {
		return runCopy{}, fmt.Errorf("%q is not the ID of a run", o.ID)
	}
	path := journalPath(s.site, o.ID)
	entries, err := journal.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return runCopy{}, nil
	}
	if err != nil {
		return runCopy{}, err
	}
	held, err := journal.Held(path)
	return runCopy{Lines: string(journal.Format(entries)), Held: held}, err
}

// copiesPatience bounds the look at other nodes' copies.
const copiesPatience = 15 * time.Second

// gather brings this node's copy of a run up to what any node has that answers,
// and reads it. A copy that a process here writes is left alone.
func gather(ctx context.Context, s *session, id string) (runRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, copiesPatience)
	defer cancel()
	copies := make([]runCopy, len(s.site.Nodes))
	var group sync.WaitGroup
	for i, n := range s.site.Nodes {
		if !s.site.IsSelf(n.Name) {
			group.Go(func() { copies[i], _ = callOn(ctx, s, n.Name, "runs.journal", runOptions{ID: id}, journalHere) })
		}
	}
	group.Wait()
	best, err := readRecord(s.site, id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return best, err
	}
	held, heldErr := journal.Held(journalPath(s.site, id))
	if held || heldErr != nil {
		return best, heldErr
	}
	for _, c := range copies {
		there, parseErr := parseCopy(c)
		if parseErr != nil || err == nil && !there.beyond(best) {
			continue
		}
		if err = replaceCopy(s.site, id, []byte(c.Lines)); err != nil {
			return there, err
		}
		best = there
	}
	return best, err
}

func parseCopy(c runCopy) (runRecord, error) {
	entries, err := journal.Parse([]byte(c.Lines))
	if err != nil {
		return runRecord{}, err
	}
	return parseRecord(entries)
}

func replaceCopy(site *cluster.Site, id string, lines []byte) error {
	if err := markOpen(site, id); err != nil {
		return err
	}
	j, err := journal.WriteCopy(journalPath(site, id), lines)
	if err != nil {
		return err
	}
	return j.Close()
}

// unfinished lists the runs that have not ended, as far as this node and those
// in ids know, each at its latest. What turns out to have ended is history.
func unfinished(ctx context.Context, s *session, ids []string) ([]runRecord, error) {
	open, _, err := inTheWay(s.site)
	if err != nil {
		return nil, err
	}
	ids = append(idsOf(open), ids...)
	slices.Sort(ids)
	var left []runRecord
	for _, id := range slices.Compact(ids) {
		r, err := gather(ctx, s, id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case r.open():
			left = append(left, r)
		default:
			if err := unmarkOpen(s.site, id); err != nil {
				return nil, err
			}
		}
	}
	return left, nil
}

// refuseUnfinished refuses a run that changes the cluster beside another one
// that was interrupted.
func refuseUnfinished(ctx context.Context, s *session, lock runLock) error {
	if lock.cluster == nil {
		return nil
	}
	_, parts, err := inTheWay(s.site)
	if err != nil {
		return engine.NotBegun(err)
	}
	for _, r := range parts {
		return stillUnderWay(r)
	}
	left, err := unfinished(ctx, s, lock.cluster.unfinished)
	if err != nil {
		return engine.NotBegun(err)
	}
	for _, r := range left {
		return unfinishedError(r)
	}
	return nil
}

// validRunID reports whether a text can be the ID of a run, and so the name of a
// directory.
func validRunID(id string) bool {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == '~')
	}
	return id != "" && len(id) < 200 && id[0] != '.' && !bytes.ContainsFunc([]byte(id), odd)
}
