package backups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Choice is a copy from which a recovery reaches its target.
type Choice struct {
	Copy     Copy
	Timeline walcore.Timeline
	walcore.Reach
}

// Choose finds the newest good copy from which a recovery reaches a target on a
// timeline, 0 for the newest in the archive, and proves that it does: the copy
// was complete before the target, its timeline leads there, and the archive has
// all WAL in between and a record behind it. With id only that copy will do.
func (s Store) Choose(ctx context.Context, target walcore.Target, timeline walcore.Timeline, id string) (Choice, error) {
	if err := target.Check(); err != nil {
		return Choice{}, err
	}
	good, err := s.candidates(id)
	if err != nil {
		return Choice{}, err
	}
	archive, err := s.archive()
	if err != nil {
		return Choice{}, err
	}
	route, err := archive.Route(timeline)
	if err != nil {
		return Choice{}, err
	}
	fits := slices.DeleteFunc(good, func(c Copy) bool { return !before(c, target) || !route.Passes(c.Timeline, c.StopLSN) })
	if len(fits) == 0 {
		return Choice{}, s.nothingFits(target, route.Timeline)
	}
	return s.prove(ctx, route, target, fits)
}

// candidates are the good copies, or the one that was named.
func (s Store) candidates(id string) ([]Copy, error) {
	if id != "" {
		c, err := s.Find(id)
		if err == nil && !c.Good() {
			err = hint.Wrap(fmt.Errorf("the base copy %s is not good", id), "warmrun backups show %s says what is wrong with it", id)
		}
		return []Copy{c}, err
	}
	good, err := s.Good()
	if err == nil && len(good) == 0 {
		err = hint.Wrap(fmt.Errorf("there is no base copy in %s", s.Dir), "take one: warmrun backup")
	}
	return good, err
}

// before reports whether a copy was complete before the target. For a
// transaction or a restore point only the WAL can tell.
func before(c Copy, t walcore.Target) bool {
	switch {
	case !t.Time.IsZero():
		return !c.Finished.After(t.Time)
	case t.LSN != 0:
		return c.StopLSN <= t.LSN
	}
	return true
}

func (s Store) nothingFits(target walcore.Target, timeline walcore.Timeline) error {
	err := fmt.Errorf("no base copy in %s was complete before %s on the way to timeline %d", s.Dir, target, uint32(timeline))
	good, listErr := s.Good()
	if listErr != nil || len(good) == 0 {
		return err
	}
	oldest := good[0]
	return hint.Wrap(err, "the oldest one, %s, was complete at %s (%s, timeline %d); for another history: --timeline",
		oldest.ID, oldest.Finished.UTC().Format(time.RFC3339), oldest.StopLSN, uint32(oldest.Timeline))
}

// prove tries the copies from the newest on. What a newer one has behind it need
// not be read again for an older one.
func (s Store) prove(ctx context.Context, route *walcore.Route, target walcore.Target, copies []Copy) (Choice, error) {
	var first error
	up := walcore.LSN(0)
	for _, c := range slices.Backward(copies) {
		if _, missing := route.Last(c.StartLSN); missing.Start(route.SegmentSize) < c.StopLSN {
			return Choice{}, hint.Wrap(fmt.Errorf("the base copy %s needs %s, which is not in %s", c.ID, missing, s.Archive), "bring the segment back, or name an older copy with --backup")
		}
		// One byte back: a copy that ends with a segment needs no later one.
		reach, err := route.Reach(ctx, target, c.StopLSN-1, up)
		if err == nil {
			return Choice{Copy: c, Timeline: route.Timeline, Reach: reach}, nil
		}
		first = errors.Join(first, err)
		if !errors.Is(err, walcore.ErrNotReached) || target.XID == 0 && target.Name == "" {
			return Choice{}, err
		}
		up = c.StopLSN
	}
	return Choice{}, first
}
