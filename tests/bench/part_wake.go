package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// wakePart: how long a segment lies in the archive before the standby has it.
// The server is one that asks again after 5 s by itself, so what is measured is
// the nudge; and one restore that waits.
func wakePart(ctx context.Context, b *bench) error {
	nudged, err := b.nudges(ctx)
	if err != nil {
		return err
	}
	waited, err := b.waits(ctx)
	if err != nil {
		return err
	}
	b.print("from the segment's name in the archive to restored (an upper bound of: from durable)", []row{nudged, waited})
	return nil
}

// nudges ships segment after segment from a primary to its standby over ssh,
// and takes the time from the name in the archive to the server's log line.
func (b *bench) nudges(ctx context.Context) (r row, err error) {
	p, err := b.pairAt(ctx, b.path("wake"))
	if err != nil {
		return r, err
	}
	site, err := b.newSite(ctx, b.path("wake"), p.primary.pgdata, p.standby.pgdata, "")
	if err != nil {
		return r, err
	}
	w, err := watchDir(site.archive)
	if err != nil {
		return r, err
	}
	restored := make(chan arrival, 1024)
	p.standby.onLine(func(line string, at time.Time) {
		if name, ok := restoredName(line); ok {
			restored <- arrival{name, at}
		}
	})
	defer func() { err = errors.Join(err, p.stop(ctx), w.close()) }()
	if err := p.start(ctx, site.archiveCommand(), site.restoreCommand(), "5s"); err != nil {
		return r, err
	}
	r = row{Part: "wake", Who: "server nudged, 5 s interval", Unit: "ms", withP99: true}
	// The first few find the standby still starting.
	for i := range b.rounds(103, 13) {
		if _, err := p.toPrimary.Exec(ctx, fmt.Sprintf("INSERT INTO seen VALUES (%d)", i)); err != nil {
			return r, err
		}
		if _, err := p.toPrimary.Exec(ctx, "SELECT pg_switch_wal()"); err != nil {
			return r, err
		}
		took, err := meet(ctx, w.seen, restored)
		if err != nil {
			return r, fmt.Errorf("%w; the standby said:\n%s", err, p.standby.lastLines())
		}
		if i >= 3 {
			r.Values = append(r.Values, ms(took))
		}
		b.note("nudge %d: %s", i, took)
		// Any phase of the server's own interval may be the one that is hit.
		if err := pause(ctx, time.Duration(50+rand.IntN(150))*time.Millisecond); err != nil {
			return r, err
		}
	}
	r.Cipher = site.link.cipher()
	return r, nil
}

// restoredName is the segment of the server's line that it has restored one
// (RestoreArchivedFile in xlogarchive.c).
func restoredName(line string) (string, bool) {
	_, rest, ok := strings.Cut(line, `restored log file "`)
	name, _, _ := strings.Cut(rest, `"`)
	_, err := walcore.ParseSegmentName(name)
	return name, ok && err == nil
}

// meet waits for the next segment to be restored and returns the time since it
// got its name.
func meet(ctx context.Context, seen, restored <-chan arrival) (time.Duration, error) {
	named := map[string]time.Time{}
	deadline := time.After(30 * time.Second)
	for {
		select {
		case a := <-seen:
			if named[a.name].IsZero() {
				named[a.name] = a.at
			}
		case r := <-restored:
			for named[r.name].IsZero() {
				// Both come through goroutines of their own: the name is on its way.
				select {
				case a := <-seen:
					named[a.name] = a.at
				case <-deadline:
					return 0, fmt.Errorf("%s was restored and never seen in the archive", r.name)
				}
			}
			return r.at.Sub(named[r.name]), nil
		case <-deadline:
			return 0, errors.New("no segment was restored within 30 s")
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// waits starts a restore that waits, archives its segment meanwhile, and takes
// the time from the name in the archive to the end of the restore.
func (b *bench) waits(ctx context.Context) (r row, err error) {
	w, err := b.source(ctx)
	if err != nil {
		return r, err
	}
	standby, err := b.standbyDir(ctx, w)
	if err != nil {
		return r, err
	}
	r = row{Part: "wake", Who: "restore --wait", Unit: "ms", withP99: true}
	for i := range b.rounds(100, 10) {
		name := w.loads[0].segments[i%len(w.loads[0].segments)]
		took, err := b.waitOnce(ctx, w, standby, name)
		if err != nil {
			return r, err
		}
		r.Values = append(r.Values, ms(took))
	}
	return r, nil
}

func (b *bench) waitOnce(ctx context.Context, w *walSource, standby string, name walcore.SegmentName) (took time.Duration, err error) {
	archive := b.path("waiting")
	if err := emptyDir(archive); err != nil {
		return 0, err
	}
	seen, err := watchDir(archive)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, seen.close()) }()
	restore := b.command(ctx, b.path("warmrun"), "restore", "--from", archive, "--wait", "--max-wait", "30s", string(name), "pg_wal/RECOVERYXLOG")
	restore.Dir, restore.Stdout, restore.Stderr = standby, b.log, b.log
	if err := b.procs.start(restore); err != nil {
		return 0, err
	}
	ended := make(chan time.Time, 1)
	failed := make(chan error, 1)
	go func() {
		err := b.procs.wait(restore)
		ended <- time.Now()
		failed <- err
	}()
	// It must be waiting by then, for which there is no sign but time.
	pauseErr := pause(ctx, time.Duration(60+rand.IntN(60))*time.Millisecond)
	_, putErr := b.timed(ctx, w.pgdata, b.path("warmrun"), "archive", "--to", archive, "pg_wal/"+string(name), string(name))
	at := <-ended
	if err := errors.Join(pauseErr, putErr, <-failed); err != nil {
		return 0, fmt.Errorf("restore --wait: %w", err)
	}
	for a := range seen.seen {
		if a.name == string(name) {
			return at.Sub(a.at), w.verifyRestored(name, filepath.Join(standby, "pg_wal", "RECOVERYXLOG"))
		}
	}
	return 0, errors.New("the segment was never seen in the archive")
}
