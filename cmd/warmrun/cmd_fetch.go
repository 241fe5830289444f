package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

// fetchDeadline ends a search: a node may answer, and its network stand still.
const fetchDeadline = 10 * time.Minute

// errOpening ends a search for WAL: the server is not to get any more.
var errOpening = errors.New("the standby is to open its database")

// fetchCommand looks for a segment in the other nodes' archives, and in the
// pg_wal of the servers there, and puts it into this node's archive. restore
// starts it in the background.
type fetchCommand struct {
	Name string `arg:""`
}

// Run ends with the first node that has the segment. A promotion cancels it.
func (c *fetchCommand) Run(ctx context.Context, p *process, g *globals) error {
	name, err := walcore.ParseFileName(c.Name)
	if err != nil {
		return usageError{err}
	}
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	own, err := s.ownArchive()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchDeadline)
	defer cancel()
	ctx, stop := untilOpening(ctx, s.site.Self)
	defer stop()
	w := &walSearch{session: s, own: own, name: name}
	if err := w.anywhere(ctx); err != nil {
		return err
	}
	// The next one may be searched for at once: the pause is for what is
	// nowhere.
	return errors.Join(atomicfile.Remove(s.site.Local(fetchMark)), own.Nudge(ctx, name))
}

// untilOpening is a context that ends with errOpening once the standby is to
// open its database.
func untilOpening(ctx context.Context, self cluster.Node) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for !walcore.OpeningAsked(self.PGData, self.Trigger) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		cancel(errOpening)
	}()
	return ctx, func() { cancel(nil); <-done }
}

// walSearch is the search for one segment.
type walSearch struct {
	*session
	own    *walcore.Archive
	name   walcore.FileName
	client *ship.Client // the agent on the node that is being asked
}

// anywhere asks one node after the other.
func (w *walSearch) anywhere(ctx context.Context) error {
	var failures []error
	for _, n := range w.site.Nodes {
		if w.site.IsSelf(n.Name) {
			continue
		}
		err := w.from(ctx, n.Name)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the search for %s was given up: %w", w.name, context.Cause(ctx))
		}
		failures = append(failures, fmt.Errorf("%s: %w", n.Name, err))
	}
	return fmt.Errorf("no other node has %s: %w", w.name, errors.Join(failures...))
}

// from fetches what another node has at the position of the segment, on any
// timeline, and the histories that are missing here: the server asks for one
// timeline after the other, and each search takes its time.
func (w *walSearch) from(ctx context.Context, node cluster.NodeName) (err error) {
	if w.client, err = w.shipTo(ctx, node); err != nil {
		return err
	}
	defer w.client.Close()
	if w.name.Kind() == walcore.KindHistory {
		_, err = w.fetch(ctx, w.name)
		return err
	}
	found, err := w.archived(ctx)
	if err == nil && !found {
		found, err = w.unarchived(ctx)
	}
	if err == nil && !found {
		err = fmt.Errorf("%s: %w", w.name, walcore.ErrNotArchived)
	}
	return err
}

// archived fetches from the other node's archive.
func (w *walSearch) archived(ctx context.Context) (found bool, err error) {
	theirs, err := w.client.List(ctx)
	if err != nil {
		return false, err
	}
	for _, file := range theirs {
		here := file.Kind() == walcore.KindSegment && file.Segment().Position() == w.name.Segment().Position()
		if !here && file.Kind() != walcore.KindHistory {
			continue
		}
		fetched, err := w.fetch(ctx, file)
		if err != nil {
			return false, err
		}
		found = found || here && fetched
	}
	return found, nil
}

// unarchived fetches what the agent finds in the pg_wal of the server there,
// where its archive lacks it: the histories that come next, then the segment on
// each timeline that a server here has asked for, and on theirs.
func (w *walSearch) unarchived(ctx context.Context) (found bool, err error) {
	timelines, err := w.asked()
	if err != nil {
		return false, err
	}
	for next := slices.Max(timelines) + 1; ; next++ {
		_, err := w.fetch(ctx, next.HistoryName())
		if errors.Is(err, walcore.ErrNotArchived) {
			break
		}
		if err != nil {
			return false, err
		}
		timelines = append(timelines, next)
	}
	for _, timeline := range timelines {
		fetched, err := w.fetch(ctx, walcore.FileName(w.name.Segment().OnTimeline(timeline)))
		if err != nil && !errors.Is(err, walcore.ErrNotArchived) {
			return found, err
		}
		found = found || fetched
	}
	return found, nil
}

// asked is the timelines on which servers here have asked for the segment.
func (w *walSearch) asked() ([]walcore.Timeline, error) {
	timelines := []walcore.Timeline{w.name.Timeline()}
	all, err := w.own.Wanted()
	if err != nil {
		return nil, err
	}
	for _, server := range all {
		for _, asked := range server.Names {
			if asked.Kind() == walcore.KindSegment && asked.Segment().Position() == w.name.Segment().Position() {
				timelines = append(timelines, asked.Timeline())
			}
		}
	}
	slices.Sort(timelines)
	return slices.Compact(timelines), nil
}

// fetch brings a file here unless it is here already. Only what is new is a
// find: the server has been shown the rest.
func (w *walSearch) fetch(ctx context.Context, file walcore.FileName) (fetched bool, err error) {
	if there, err := w.own.Has(file); err == nil && there {
		return false, nil
	}
	if err := w.client.Fetch(ctx, w.own, file); err != nil {
		return false, err
	}
	_, err = fmt.Fprintf(w.err, "warmrun: fetched %s\n", file)
	return true, err
}
