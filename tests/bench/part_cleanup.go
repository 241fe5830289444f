package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
)

// cleanupPart: restore with %r, which removes one old segment in each call, in
// an archive of few and in one of very many segments. The first call in each
// may list the archive and is not among the medians; it is shown beside them.
func cleanupPart(ctx context.Context, b *bench) error {
	w, err := b.source(ctx)
	if err != nil {
		return err
	}
	const few = 100
	many := b.rounds(200_000, 20_000)
	rows := []row{
		{Part: "cleanup", Who: fmt.Sprintf("warmrun, %d segments", many), Unit: "ms"},
		{Part: "cleanup", Who: fmt.Sprintf("warmrun, %d segments", few), Unit: "ms"},
	}
	var archives []*grown
	for i, count := range []int{many, few} {
		g, err := b.grow(ctx, w, b.path(fmt.Sprintf("grown%d", i)), count)
		if err != nil {
			return err
		}
		archives = append(archives, g)
	}
	calls := min(b.rounds(40, 15), archives[0].older())
	var first [2]float64
	for call := range calls + 1 {
		for _, i := range turns(2, call) {
			took, err := archives[i].restore(ctx, call)
			if err != nil {
				return err
			}
			if call == 0 {
				first[i] = took
			} else {
				rows[i].Values = append(rows[i].Values, took)
			}
		}
	}
	for _, g := range archives {
		if err := g.check(calls); err != nil {
			return err
		}
	}
	b.print("restore with %r, which removes one segment in each call, by the size of the archive", rows)
	b.say("the large one takes %.2fx the time; the very first calls, which list the archive, took %.1f and %.1f ms",
		median(ratios(rows[0].Values, rows[1].Values)), first[0], first[1])
	return nil
}

// grown is an archive with many segments below the one that is restored. All
// but that one are links to a few files: nobody reads them.
type grown struct {
	b       *bench
	w       *walSource
	dir     string
	standby string
	last    walcore.SegmentName
}

// linksPerFile stays below what ext4 allows (65,000).
const linksPerFile = 50_000

func (b *bench) grow(ctx context.Context, w *walSource, dir string, count int) (*grown, error) {
	standby, err := b.standbyDir(ctx, w)
	if err != nil {
		return nil, err
	}
	// One standby for each, as each keeps its state; the file system is spared.
	own := dir + "-standby"
	if _, err := b.output(ctx, "cp", "-a", standby, own); err != nil {
		return nil, err
	}
	g := &grown{b: b, w: w, dir: dir, standby: own, last: w.loads[len(w.loads)-1].segments[b.batch()]}
	if err := emptyDir(dir); err != nil {
		return nil, err
	}
	into := &shipping{who: us, command: fmt.Sprintf("%s archive --to %s %%p %%f", b.path("warmrun"), dir)}
	if err := w.ready([]walcore.SegmentName{g.last}); err != nil {
		return nil, err
	}
	if _, err := b.call(ctx, w, into, g.last); err != nil {
		return nil, err
	}
	return g, g.fill(count)
}

// fill links so many segments, from the first of the timeline on. A few dozen
// are older than the one that is restored, and can be removed; the rest are
// newer.
func (g *grown) fill(count int) error {
	own := g.last.Number(g.w.size)
	var source string
	number := uint64(1)
	for i := 0; i < count; number++ {
		if number == own {
			continue
		}
		path := filepath.Join(g.dir, string(walcore.MakeSegmentName(1, number, g.w.size)))
		if i%linksPerFile == 0 {
			f, err := os.Create(path)
			if err != nil {
				return err
			}
			if err := errors.Join(f.Truncate(int64(g.w.size)), f.Close()); err != nil {
				return err
			}
			source = path
		} else if err := os.Link(source, path); err != nil {
			return err
		}
		i++
	}
	return nil
}

// older is how many segments can be removed one by one.
func (g *grown) older() int { return int(g.last.Number(g.w.size)) - 2 }

// restore restores the last segment again, with a %r that is one further than
// the time before.
func (g *grown) restore(ctx context.Context, call int) (float64, error) {
	redo := walcore.MakeSegmentName(1, 1+uint64(call), g.w.size)
	took, err := g.b.timed(ctx, g.standby, g.b.path("warmrun"), "restore", "--from", g.dir, string(g.last), "pg_wal/RECOVERYXLOG", string(redo))
	if err != nil {
		return 0, err
	}
	return ms(took), g.w.verifyRestored(g.last, filepath.Join(g.standby, "pg_wal", "RECOVERYXLOG"))
}

// check: what the last %r allowed to remove is gone, and the next is not.
func (g *grown) check(calls int) error {
	for number, want := range map[uint64]bool{uint64(calls): false, uint64(calls) + 1: true} {
		name := walcore.MakeSegmentName(1, number, g.w.size)
		_, err := os.Lstat(filepath.Join(g.dir, string(name)))
		if got := err == nil; got != want {
			return fmt.Errorf("%s is in the archive: %v, want %v", name, got, want)
		}
	}
	return nil
}
