package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
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
	// Parts are the keys of the runs within it that the node has journals of.
	Parts []string `json:"parts,omitempty"`
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
	parts, err := partsOf(s.site, o.ID)
	if err != nil {
		return runCopy{}, err
	}
	path := journalPath(s.site, o.ID)
	entries, err := journal.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return runCopy{Parts: parts}, nil
	}
	if err != nil {
		return runCopy{}, damagedHere(s.site, o.ID, err)
	}
	held, err := journal.Held(path)
	return runCopy{Lines: string(journal.Format(entries)), Held: held, Parts: parts}, err
}

// copiesPatience bounds the look at other nodes' copies.
const copiesPatience = 15 * time.Second

// gather brings this node's copy of a run up to what any node has that answers,
// and reads it. A copy that a process here writes is left alone, and one that is
// damaged makes way for another node's. The nodes in must are those that are known
// to have a copy, or may: where theirs cannot be read it is an error, for it may go
// further than any other.
func gather(ctx context.Context, s *session, id string, must ...cluster.NodeName) (runRecord, error) {
	copies, failed := copiesOf(ctx, s, id)
	return chooseCopy(s, id, copies, failed, must)
}

func chooseCopy(s *session, id string, copies map[cluster.NodeName]runCopy, failed map[cluster.NodeName]error, must []cluster.NodeName) (runRecord, error) {
	for _, node := range must {
		if err := failed[node]; err != nil {
			return runRecord{}, hint.Wrap(fmt.Errorf("the copy of run %s on %s cannot be read, and may go further than the others: %w", id, node, err), "mend that on %s and repeat", node)
		}
	}
	best, err := readRecord(s.site, id)
	damaged := err != nil && !errors.Is(err, fs.ErrNotExist)
	held, heldErr := journal.Held(journalPath(s.site, id))
	if heldErr != nil {
		return best, heldErr
	}
	if held {
		best.held = s.site.Self.Name
		return best, err
	}
	from := cluster.NodeName("")
	for _, n := range s.site.Nodes {
		if there, parseErr := parseCopy(copies[n.Name]); parseErr == nil && (err != nil || there.beyond(best)) {
			best, err, from = there, nil, n.Name
		}
	}
	if from != "" {
		if damaged {
			err = moveDamaged(s, id, from)
		}
		if err = errors.Join(err, replaceCopy(s.site, id, []byte(copies[from].Lines))); err != nil {
			return best, err
		}
	}
	best.note(s.site, copies)
	return best, err
}

// copiesOf asks the other nodes for their copies of a run, and says which could
// not be asked.
func copiesOf(ctx context.Context, s *session, id string) (map[cluster.NodeName]runCopy, map[cluster.NodeName]error) {
	ctx, cancel := context.WithTimeout(ctx, copiesPatience)
	defer cancel()
	copies, failed := map[cluster.NodeName]runCopy{}, map[cluster.NodeName]error{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, n := range s.site.Nodes {
		if s.site.IsSelf(n.Name) {
			continue
		}
		group.Go(func() {
			there, err := callOn(ctx, s, n.Name, "runs.journal", runOptions{ID: id}, journalHere)
			mu.Lock()
			defer mu.Unlock()
			copies[n.Name], failed[n.Name] = there, err
		})
	}
	group.Wait()
	return copies, failed
}

// note keeps of the copies who writes one, and which parts of the run are known.
func (r *runRecord) note(site *cluster.Site, copies map[cluster.NodeName]runCopy) {
	r.parts, _ = partsOf(site, r.Head.ID) // its pattern is a good one
	for node, c := range copies {
		if c.Held {
			r.held = node
		}
		r.parts = append(r.parts, c.Parts...)
	}
}

// moveDamaged puts the damaged journal of a run aside.
func moveDamaged(s *session, id string, from cluster.NodeName) error {
	path := journalPath(s.site, id)
	fmt.Fprintf(s.err, "warmrun: the journal of run %s here is damaged and lies in %s.damaged now; the copy of %s is used\n", id, path, from)
	return os.Rename(path, path+".damaged")
}

// partsOf lists the keys of the runs within a run that this node has journals of.
func partsOf(site *cluster.Site, id string) ([]string, error) {
	dirs, err := filepath.Glob(runDir(site, id) + ".*")
	var keys []string
	for _, dir := range dirs {
		key := strings.TrimPrefix(filepath.Base(dir), id+".")
		if end := strings.IndexAny(key, ".~"); end >= 0 {
			key = key[:end]
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// strayPart is a run within this one whose call is not in the journal: that ends
// too early then. What finally calls is never in it.
func (r runRecord) strayPart() string {
	called := map[string]bool{}
	for _, e := range r.plain {
		if e.Kind == engine.NestedCalled && e.Nested != nil {
			called[e.Nested.Key] = true
		}
	}
	for _, key := range r.parts {
		if !called[key] && key != "0" && !strings.HasPrefix(key, "0-") && !strings.HasPrefix(key, "f") {
			return key
		}
	}
	return ""
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
func unfinished(ctx context.Context, s *session, ids []string, must ...cluster.NodeName) ([]runRecord, error) {
	if err := mendOpen(ctx, s, must...); err != nil {
		return nil, err
	}
	open, _, err := inTheWay(s.site)
	if err != nil {
		return nil, err
	}
	ids = append(idsOf(open), ids...)
	slices.Sort(ids)
	var left []runRecord
	for _, id := range slices.Compact(ids) {
		r, err := gather(ctx, s, id, must...)
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

// mendOpen replaces the damaged journals of runs that may not have ended.
func mendOpen(ctx context.Context, s *session, must ...cluster.NodeName) error {
	marks, err := openMarks(s.site)
	if err != nil {
		return err
	}
	for _, id := range marks {
		if _, err := readRecord(s.site, id); err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := gather(ctx, s, id, must...); err != nil {
			return err
		}
	}
	return nil
}

// refuseUnfinished refuses a run that changes the cluster beside another one
// that was interrupted.
func refuseUnfinished(ctx context.Context, s *session, lock runLock) error {
	if lock.cluster == nil {
		return nil
	}
	left, err := unfinished(ctx, s, lock.cluster.unfinished, lock.nodes()...)
	if err != nil {
		return engine.NotBegun(err)
	}
	_, parts, err := inTheWay(s.site)
	if err != nil {
		return engine.NotBegun(err)
	}
	for _, r := range parts {
		return stillUnderWay(r)
	}
	switch {
	case len(left) == 0:
		return nil
	case left[0].held != "":
		return stillUnderWay(left[0])
	}
	return unfinishedError(left[0])
}

// validRunID reports whether a text can be the ID of a run, and so the name of a
// directory.
func validRunID(id string) bool {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == '~')
	}
	return id != "" && len(id) < 200 && id[0] != '.' && !bytes.ContainsFunc([]byte(id), odd)
}
