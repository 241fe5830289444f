package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// shipping is one way to bring segments from a data directory into an archive.
type shipping struct {
	who      string
	fsync    string // what is flushed there before success is reported
	compress string
	link     *link  // nil: the archive is on this node
	command  string // archive_command, with %p and %f
	// reset empties the archive and forgets what was delivered.
	reset func(context.Context) error
	// fetch reads a segment back, as plain WAL.
	fetch func(context.Context, walcore.SegmentName) ([]byte, error)
}

// row begins the contestant's row of a table.
func (s *shipping) row(part, load, unit string) row {
	return row{Part: part, Load: load, Who: s.who, Fsync: s.fsync, Cipher: s.link.cipher(), Compress: s.compress, Unit: unit}
}

// call archives one segment as the server's archiver does, and marks it done.
func (b *bench) call(ctx context.Context, w *walSource, s *shipping, name walcore.SegmentName) (time.Duration, error) {
	took, err := b.shell(ctx, w.pgdata, s.command, "pg_wal/"+string(name), string(name), "")
	if err != nil {
		return took, fmt.Errorf("%s: %w", s.who, err)
	}
	return took, w.done(name)
}

// warm begins a turn: an empty archive, and one segment through whatever
// connections the contestant keeps, which is not measured. Then the rest of the
// load is ready.
func (b *bench) warm(ctx context.Context, w *walSource, s *shipping, l load) error {
	if err := s.reset(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.who, err)
	}
	if err := w.ready(l.segments[:1]); err != nil {
		return err
	}
	if _, err := b.call(ctx, w, s, l.segments[0]); err != nil {
		return err
	}
	return w.ready(l.segments[1:])
}

// verify compares what the archive has with what was written.
func (w *walSource) verify(ctx context.Context, s *shipping, names []walcore.SegmentName) error {
	for _, name := range names {
		want, err := w.content(name)
		if err != nil {
			return err
		}
		got, err := s.fetch(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: read %s back: %w", s.who, name, err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s: %s in the archive differs from what was written", s.who, name)
		}
	}
	return nil
}

// plain reads segments of a directory that holds them as they are.
func plain(dir string) func(context.Context, walcore.SegmentName) ([]byte, error) {
	return func(_ context.Context, name walcore.SegmentName) ([]byte, error) {
		return os.ReadFile(filepath.Join(dir, string(name)))
	}
}

// twoWarm is 2warm's archiveWALFile: a new ssh connection for each segment,
// with OpenSSH's defaults.
func (b *bench) twoWarm(ctx context.Context, dir string) (*shipping, error) {
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	return &shipping{
		who: "2warm: rsync -cz", fsync: "none", compress: "wire zlib", link: l,
		command: fmt.Sprintf("rsync -cz -e 'ssh -F %s' %%p peer:%s/%%f", l.clientConfig(), dir),
		reset:   func(context.Context) error { return emptyDir(dir) },
		fetch:   plain(dir),
	}, nil
}

// heldRsync gives rsync what it is best with: one connection that is held open,
// the fastest cipher, lz4, and no comparison with what is not there.
func (b *bench) heldRsync(ctx context.Context, dir string) (*shipping, error) {
	l, err := b.newLink(ctx)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(l.dir, "held")
	if err := write(l.clientConfig(), l.config(bestSettings+"\nControlPath "+socket), 0o600); err != nil {
		return nil, err
	}
	if err := b.daemon(ctx, filepath.Join(l.dir, "held.log"), b.dir, "ssh", "-F", l.clientConfig(), "-M", "-N", "peer"); err != nil {
		return nil, err
	}
	for range 500 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return &shipping{
		who: "rsync, held ssh", fsync: "none", compress: "wire lz4", link: l,
		command: fmt.Sprintf("rsync --whole-file -z --compress-choice=lz4 -e 'ssh -F %s' %%p peer:%s/%%f", l.clientConfig(), dir),
		reset:   func(context.Context) error { return emptyDir(dir) },
		fetch:   plain(dir),
	}, nil
}

// copying is the least that makes a segment durable on this node: no network
// at all.
func copying(dir string) *shipping {
	return &shipping{
		who: "cp, sync, mv, sync", fsync: "file, dir", compress: "none",
		command: fmt.Sprintf("cp %%p %[1]s/%%f.tmp && sync %[1]s/%%f.tmp && mv %[1]s/%%f.tmp %[1]s/%%f && sync %[1]s", dir),
		reset:   func(context.Context) error { return emptyDir(dir) },
		fetch:   plain(dir),
	}
}

// await polls until done, or says what was waited for in vain.
func await(ctx context.Context, patience time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return errors.Join(fmt.Errorf("waited %s in vain for %s", patience, what), err)
		}
	}
}
