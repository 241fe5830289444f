package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// lookAhead is how long a contestant may take to ship a batch by itself once
// its first segment was asked for.
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
	ahead := true
	for range b.rounds(6, 2) {
		shipped, err := b.deliver(ctx, w, l, site, repo)
		if err != nil {
			return err
		}
		ahead = ahead && shipped
		if err := b.deliveredCalls(ctx, w, l, site, repo, rows); err != nil {
			return err
		}
	}
	b.print("a call whose segment was delivered already", rows)
	if !ahead {
		b.say("warmrun shipped nothing ahead of the call: its figure is that of sending a segment again")
	}
	return nil
}

// deliver makes both ship a whole batch, and reports whether warmrun did so
// without being asked for each.
func (b *bench) deliver(ctx context.Context, w *walSource, l load, site *site, repo *backrest) (bool, error) {
	ahead := true
	for _, s := range []*shipping{site.shipping(""), repo.shipping()} {
		if err := b.warm(ctx, w, s, l); err != nil {
			return false, err
		}
		if _, err := b.call(ctx, w, s, l.segments[1]); err != nil {
			return false, err
		}
		there := func() (bool, error) { return site.has(l.segments[1:]), nil }
		if s.who != us {
			there = func() (bool, error) { return repo.has(l.segments[1:]), nil }
		}
		patience := lookAhead
		if s.who == us && len(b.procs.running(site.binary)) == 0 {
			patience = 0 // nothing is left that could ship
		}
		switch err := await(ctx, patience, "the rest of the batch", there); {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err == nil:
		case s.who != us:
			return false, fmt.Errorf("%s: %w", s.who, err)
		default:
			ahead = false
			for _, name := range l.segments[2:] {
				if _, err := b.call(ctx, w, s, name); err != nil {
					return false, err
				}
			}
		}
	}
	// pgbackrest took the same .ready files, so they must be there again.
	return ahead, w.ready(l.segments[1:])
}

// has reports whether b's archive has all of the segments.
func (s *site) has(names []walcore.SegmentName) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(s.archive, string(name))); err != nil {
			return false
		}
	}
	return true
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
