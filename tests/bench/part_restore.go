package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/walcore"
)

// restoring is one way to get segments out of an archive of this node.
type restoring struct {
	who     string
	command string // restore_command, with %p and %f
	reset   func() error
}

// restorePart: restore_command, one call after the other, as a standby that is
// catching up makes them. Nobody flushes what it restores: the server can have
// it again.
func restorePart(ctx context.Context, b *bench) error {
	w, err := b.source(ctx)
	if err != nil {
		return err
	}
	standby, err := b.standbyDir(ctx, w)
	if err != nil {
		return err
	}
	peers, left, err := b.restorePeers(ctx, w, standby)
	if err != nil {
		return err
	}
	for _, l := range w.loads {
		rows := make([]row, len(peers))
		for i, p := range peers {
			rows[i] = row{Part: "restore", Load: l.title, Who: p.who, Unit: "calls/s", higher: true}
		}
		for round := range b.rounds(5, 2) {
			for _, i := range turns(len(peers), round) {
				if err := b.restoreTurn(ctx, w, standby, l, peers[i], &rows[i]); err != nil {
					return err
				}
			}
			b.note("restore %s, round %d", l.title, round+1)
		}
		b.print(fmt.Sprintf("restore from the local archive: %d segments of %s WAL in a row", b.batch(), l.title), rows)
	}
	if left != "" {
		b.say("%s", left)
	}
	return nil
}

// restorePeers fill one archive each with everything.
func (b *bench) restorePeers(ctx context.Context, w *walSource, standby string) (peers []restoring, left string, err error) {
	site, err := b.newSite(ctx, b.path("wrr"), w.pgdata, standby, "")
	if err != nil {
		return nil, "", err
	}
	repo, err := b.newBackrest(ctx, b.path("brr"), w.pgdata, standby)
	if err != nil {
		return nil, "", err
	}
	dir := b.path("plain")
	if err := emptyDir(dir); err != nil {
		return nil, "", err
	}
	for _, l := range w.loads {
		if err := w.ready(l.segments); err != nil {
			return nil, "", err
		}
		for _, name := range l.segments {
			into := &shipping{who: us, command: fmt.Sprintf("%s archive --to %s %%p %%f && ln %s/%%f %s/%%f", site.binary, site.archive, site.archive, dir)}
			if _, err := b.call(ctx, w, into, name); err != nil {
				return nil, "", err
			}
		}
		if err := w.ready(l.segments); err != nil {
			return nil, "", err
		}
		for _, name := range l.segments {
			if _, err := b.call(ctx, w, repo.shipping(), name); err != nil {
				return nil, "", err
			}
		}
	}
	none := func() error { return nil }
	peers = []restoring{
		{us, fmt.Sprintf("%s/bin/warmrun --home %s restore %%f %%p", site.homeB, site.homeB), none},
		{"cp", "cp " + dir + "/%f %p", none},
		{"pgbackrest archive-get", repo.restoreCommand(false), none},
		{"pgbackrest, async", repo.restoreCommand(true), repo.clearSpool},
	}
	program := pgStandby()
	if program == "" {
		return peers, "pg_standby is left out: no PostgreSQL before 14 is installed here", nil
	}
	return append(peers, restoring{"pg_standby -c", program + " -c " + dir + " %f %p", none}), "", nil
}

// pgStandby is the newest one installed; PostgreSQL 14 took it out.
func pgStandby() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_standby") // the pattern is well formed
	more, _ := filepath.Glob("/usr/pgsql-*/bin/pg_standby")
	found = append(found, more...)
	if len(found) == 0 {
		return ""
	}
	return slices.Max(found)
}

// standbyDir is the data directory of a standby that is being started: the
// source's without WAL.
func (b *bench) standbyDir(ctx context.Context, w *walSource) (string, error) {
	dir := b.path("standby", "data")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "pg_wal"), 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{"PG_VERSION", "global", "pg_stat_tmp", "postgresql.conf"} {
		if _, err := b.output(ctx, "cp", "-a", filepath.Join(w.pgdata, name), dir); err != nil {
			return "", err
		}
	}
	return dir, os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600)
}

func (b *bench) restoreTurn(ctx context.Context, w *walSource, standby string, l load, p restoring, r *row) error {
	if err := errors.Join(touchMemory(), p.reset()); err != nil {
		return err
	}
	var total float64
	for i, name := range l.segments {
		took, err := b.shell(ctx, standby, p.command, "pg_wal/RECOVERYXLOG", string(name), "")
		if err != nil {
			return fmt.Errorf("%s: %w", p.who, err)
		}
		if i > 0 { // the first one may start what the others use
			total += took.Seconds()
		}
		if err := w.verifyRestored(name, filepath.Join(standby, "pg_wal", "RECOVERYXLOG")); err != nil {
			return fmt.Errorf("%s: %w", p.who, err)
		}
	}
	r.Values = append(r.Values, float64(b.batch())/total)
	_, err := b.procs.settle(ctx)
	return err
}

// verifyRestored compares a restored file with what was written, and removes it.
func (w *walSource) verifyRestored(name walcore.SegmentName, path string) error {
	want, err := w.content(name)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.Join(fmt.Errorf("%s was restored with other content", name), os.Remove(path))
	}
	return os.Remove(path)
}
