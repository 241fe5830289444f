package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// lookAhead is how long pgbackrest may take to ship a batch by itself once its
// first segment was asked for.
const lookAhead = 20 * time.Second

// deliveredPart: archive_command for a segment that was shipped before it was
// asked for. Contestants take turns from call to call.
func deliveredPart(ctx context.Context, b *bench) error {
	w, err := b.source(ctx)
	if err != nil {
		return err
	}
	site, err := b.newSite(ctx, b.path("wrd"), w.pgdata, b.path("none"), "")
	if err != nil {
		return err
	}
	repo, err := b.newBackrest(ctx, b.path("brd"), w.pgdata, w.pgdata)
	if err != nil {
		return err
	}
	l := w.loads[0]
	rows := []row{
		{Part: "delivered", Who: us}, {Part: "delivered", Who: "pgbackrest async"}, {Part: "delivered", Who: "empty Go program"},
	}
	for range b.rounds(6, 2) {
		if err := b.deliver(ctx, w, l, site, repo); err != nil {
			return err
		}
		if err := b.deliveredCalls(ctx, w, l, site, repo, rows); err != nil {
			return err
		}
	}
	b.print("a call whose segment was delivered already", rows)
	return nil
}

// deliver makes both ship a whole batch. pgbackrest needs to be asked for one
// segment only. warmrun looks a few segments ahead and is asked for each; its
// shipper remembers what it has delivered.
func (b *bench) deliver(ctx context.Context, w *walSource, l load, site *site, repo *backrest) error {
	ours, theirs := site.shipping(""), repo.shipping()
	if err := b.warm(ctx, w, ours, l); err != nil {
		return err
	}
	for _, name := range l.segments[1:] {
		if _, err := b.call(ctx, w, ours, name); err != nil {
			return err
		}
	}
	if err := b.warm(ctx, w, theirs, l); err != nil {
		return err
	}
	if _, err := b.call(ctx, w, theirs, l.segments[1]); err != nil {
		return err
	}
	err := await(ctx, lookAhead, "the rest of the batch", func() (bool, error) { return repo.has(l.segments[1:]), nil })
	if err != nil {
		return fmt.Errorf("%s: %w", theirs.who, err)
	}
	// pgbackrest took the same .ready files, so they must be there again.
	return w.ready(l.segments[1:])
}

// has reports whether pgbackrest's asynchronous process has acknowledged them.
func (r *backrest) has(names []walcore.SegmentName) bool {
	for _, name := range names[1:] { // the first was asked for, and its mark is gone
		found, err := filepath.Glob(filepath.Join(r.dir, "spool-db", "archive", stanza, "out", string(name)+".ok"))
		if err != nil || len(found) == 0 {
			return false
		}
	}
	return true
}

// deliveredCalls times the calls. They are executed without a shell, which
// would cost all three the same.
func (b *bench) deliveredCalls(ctx context.Context, w *walSource, l load, site *site, repo *backrest, rows []row) error {
	for i, name := range l.segments[2:] {
		path := "pg_wal/" + string(name)
		calls := [][]string{
			strings.Fields(expand(site.archiveCommand(), path, string(name), "")),
			strings.Fields(expand(repo.archiveCommand(), path, string(name), "")),
			{b.path("empty")},
		}
		for _, k := range turns(len(calls), i) {
			took, err := b.timed(ctx, w.pgdata, calls[k]...)
			if err != nil {
				return err
			}
			rows[k].Unit, rows[k].Values = "ms", append(rows[k].Values, ms(took))
		}
		if err := w.done(name); err != nil {
			return err
		}
	}
	return w.verify(ctx, site.shipping(""), l.segments[1:])
}
