package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// visible is one pair of servers and how WAL gets from one to the other.
type visible struct {
	row
	pair             *pair
	archive, restore string
	interval         string
	link             *link
}

// commitPart: from an acknowledged commit and a WAL switch to the row's being
// seen by a query on the hot standby. Every contestant has servers of its own.
func commitPart(ctx context.Context, b *bench) (err error) {
	all, err := b.commitPeers(ctx)
	defer func() {
		for _, v := range all {
			err = errors.Join(err, v.pair.stop(ctx))
		}
	}()
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := v.pair.start(ctx, v.archive, v.restore, v.interval); err != nil {
			return fmt.Errorf("%s: %w", v.Who, err)
		}
	}
	// The first round finds the servers still starting and is not counted.
	rounds := b.rounds(16, 4)
	for round := range rounds {
		for _, i := range turns(len(all), round) {
			wire := all[i].link.wire()
			took, err := all[i].once(ctx, round)
			if err != nil {
				return fmt.Errorf("%s: %w", all[i].Who, err)
			}
			b.note("commit, round %d: %s %s", round, all[i].Who, took)
			if round > 0 {
				all[i].Values = append(all[i].Values, ms(took))
				all[i].Wire = all[i].link.wire() - wire
			}
		}
	}
	rows := make([]row, len(all))
	for i, v := range all {
		v.Cipher = v.link.cipher()
		rows[i] = v.row
	}
	b.print("commit and WAL switch to visible on the hot standby, no streaming; with the server's retry interval", rows)
	return nil
}

// commitPeers: cp has no network to cross, which makes it the hardest peer.
func (b *bench) commitPeers(ctx context.Context) (all []*visible, err error) {
	add := func(dir, who, fsync, interval string, set func(*visible) error) {
		if err != nil {
			return
		}
		v := &visible{row: row{Part: "commit", Who: who, Fsync: fsync, Unit: "ms"}, interval: interval}
		if v.pair, err = b.pairAt(ctx, b.path(dir)); err == nil {
			all = append(all, v)
			err = set(v)
		}
	}
	add("c1", us, "file, dir", "5s", func(v *visible) error {
		s, err := b.newSite(ctx, b.path("c1"), v.pair.primary.pgdata, v.pair.standby.pgdata, "")
		if err == nil {
			v.archive, v.restore, v.link = s.archiveCommand(), s.restoreCommand(), s.link
		}
		return err
	})
	for dir, interval := range map[string]string{"c2": "5s", "c3": "100ms"} {
		add(dir, "cp, "+interval, "file, dir", interval, func(v *visible) error {
			archive := b.path(dir, "archive")
			v.archive, v.restore = copying(archive).command, "cp "+archive+"/%f %p"
			return os.MkdirAll(archive, 0o700)
		})
	}
	add("c4", "2warm: rsync -cz, 1s", "none", "1s", func(v *visible) error {
		archive := b.path("c4", "archive")
		s, err := b.twoWarm(ctx, archive)
		if err == nil {
			v.archive, v.restore, v.link = s.command, "cp "+archive+"/%f %p", s.link
		}
		return errors.Join(err, os.MkdirAll(archive, 0o700))
	})
	add("c5", "pgbackrest async, 5s", "file, dir", "5s", func(v *visible) error {
		r, err := b.newBackrest(ctx, b.path("c5", "br"), v.pair.primary.pgdata, v.pair.standby.pgdata)
		if err == nil {
			v.archive, v.restore, v.link = r.archiveCommand(), r.restoreCommand(false), r.link
		}
		return err
	})
	return all, err
}

// once commits a row, ends the segment, and asks the standby for the row until
// it is there.
func (v *visible) once(ctx context.Context, id int) (time.Duration, error) {
	// Any phase of the server's retry interval may be the one that is hit.
	if err := pause(ctx, time.Duration(rand.IntN(200))*time.Millisecond); err != nil {
		return 0, err
	}
	if _, err := v.pair.toPrimary.Exec(ctx, fmt.Sprintf("INSERT INTO seen VALUES (%d)", id)); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := v.pair.toPrimary.Exec(ctx, "SELECT pg_switch_wal()"); err != nil {
		return 0, err
	}
	err := await(ctx, time.Minute, "the row on the standby", func() (bool, error) {
		got, err := v.pair.toStand.Value(ctx, fmt.Sprintf("SELECT count(*)::text FROM seen WHERE id = %d", id))
		return fmt.Sprint(got) == "1", err
	})
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("%w; the primary said:\n%s\nthe standby said:\n%s", err, v.pair.primary.lastLines(), v.pair.standby.lastLines())
	}
	return took, v.verify(ctx)
}

// verify: the standby replays the primary's WAL, so the position of what it has
// replayed is a position of the primary's.
func (v *visible) verify(ctx context.Context) error {
	ours, err := insertLSN(ctx, v.pair.toPrimary)
	if err != nil {
		return err
	}
	value, err := v.pair.toStand.Value(ctx, "SELECT pg_last_wal_replay_lsn()::text")
	if err != nil {
		return err
	}
	theirs, err := walcore.ParseLSN(fmt.Sprint(value))
	if err == nil && theirs > ours {
		err = fmt.Errorf("the standby has replayed %s, the primary is at %s", theirs, ours)
	}
	return err
}
