package backups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Begin makes the directory of a new copy and pins the WAL from the segment
// on that recovery of the source would begin in now: the copy will begin there
// or later. With seed it begins as a copy of the newest good one of the same
// cluster, so that only what differs has to be sent.
func (s Store) Begin(ctx context.Context, source string, system uint64, from walcore.SegmentName, seed bool, now time.Time) (Copy, error) {
	archive, err := s.archive()
	if err != nil {
		return Copy{}, err
	}
	if err := atomicfile.MkdirAll(s.Dir, 0o700); err != nil {
		return Copy{}, err
	}
	c, err := s.newDir(now)
	if err != nil {
		return Copy{}, err
	}
	c.Source, c.SystemID, c.Begun = source, system, now.UTC().Truncate(time.Second)
	err = archive.Pin(pinName(c.ID), from)
	if err == nil {
		err = s.Save(c)
	}
	if err == nil && seed {
		c, err = s.seed(ctx, c)
	}
	if err != nil {
		return Copy{}, errors.Join(err, s.discard(c))
	}
	return c, nil
}

// newDir makes a directory with a name of its own.
func (s Store) newDir(now time.Time) (Copy, error) {
	id := now.UTC().Format(idFormat)
	for n := 2; ; n++ {
		dir := filepath.Join(s.Dir, id)
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			return Copy{ID: id, Dir: dir}, atomicfile.SyncDir(s.Dir)
		}
		if !errors.Is(err, fs.ErrExist) {
			return Copy{}, err
		}
		id = fmt.Sprintf("%s-%d", now.UTC().Format(idFormat), n)
	}
}

// seed fills the directory from the newest good copy, where there is one.
func (s Store) seed(ctx context.Context, c Copy) (Copy, error) {
	good, err := s.Good()
	if err != nil {
		return c, err
	}
	for i := len(good) - 1; i >= 0; i-- {
		old := good[i]
		if old.SystemID != c.SystemID {
			continue
		}
		if err := Clone(ctx, old, c.Dir); err != nil {
			return c, fmt.Errorf("begin with the base copy %s: %w", old.ID, err)
		}
		c.Seed = old.ID
		return c, s.Save(c)
	}
	return c, nil
}

// Complete notes what the copy has become, and pins the WAL that it really
// needs. The archive must have all of it, from its start to its end.
func (s Store) Complete(c Copy) error {
	archive, err := s.archive()
	if err != nil {
		return err
	}
	missing, err := archive.FirstMissing(c.StartSegment, c.StopSegment)
	if err != nil {
		return err
	}
	if missing != "" {
		return hint.Wrap(fmt.Errorf("the base copy %s needs %s, which is not in %s", c.ID, missing, s.Archive), "the copy is not complete without it; warmrun status shows what arrives")
	}
	if err := s.Save(c); err != nil {
		return err
	}
	return archive.Pin(pinName(c.ID), c.StartSegment)
}

// Remove removes a copy and its pin. The last good one is refused without last.
func (s Store) Remove(id string, last bool) error {
	c, err := s.Find(id)
	if err != nil {
		return err
	}
	if c.Good() && !last {
		good, err := s.Good()
		if err != nil {
			return err
		}
		if len(good) == 1 {
			return hint.Wrap(fmt.Errorf("%s is the last good base copy in %s", id, s.Dir), "take another one first: warmrun backup; to remove it all the same: --last")
		}
	}
	return s.discard(c)
}

// discard removes the note first: what is left of a removal that was cut is no
// copy any more. The WAL is let go of last.
func (s Store) discard(c Copy) error {
	if err := atomicfile.Remove(filepath.Join(c.Dir, noteFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		return fmt.Errorf("remove the base copy %s: %w", c.ID, err)
	}
	if err := atomicfile.SyncDir(s.Dir); err != nil {
		return err
	}
	archive, err := s.archive()
	if errors.Is(err, walcore.ErrNoArchive) {
		return nil
	}
	if err != nil {
		return err
	}
	return archive.Unpin(pinName(c.ID))
}

// Sweep removes the copies that are not complete: their makers were cut. The caller
// has the store's lock, so none of them is being made.
func (s Store) Sweep() (removed []string, err error) {
	copies, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, c := range copies {
		if c.Complete() {
			continue
		}
		if err := s.discard(c); err != nil {
			return removed, err
		}
		removed = append(removed, c.ID)
	}
	return removed, nil
}
