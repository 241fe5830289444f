package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
)

// walSource is a stopped server's data directory, whose pg_wal holds segments
// of every load. It is made once for a run and never changed, but for
// pg_wal/archive_status.
type walSource struct {
	pgdata string
	size   walcore.SegmentSize
	loads  []load
}

// load is a run of segments of one kind, each following the other.
type load struct {
	title    string
	segments []walcore.SegmentName // the first one is for warming up, the batch follows
}

// batch is how many segments are archived in one go, and measured.
func (b *bench) batch() int { return b.rounds(24, 6) }

// source makes the WAL the first time it is asked for.
func (b *bench) source(ctx context.Context) (*walSource, error) {
	if b.wal != nil {
		return b.wal, nil
	}
	s, err := b.initServer(ctx, b.path("src", "data"))
	if err != nil {
		return nil, err
	}
	// An empty archive_command keeps every segment, with its .ready file.
	if err := s.configure("archive_mode = on", "archive_command = ''", "fsync = off", "synchronous_commit = off"); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	b.note("making WAL")
	w, err := b.makeLoads(ctx, s)
	if err := errors.Join(err, s.stop(ctx)); err != nil {
		return nil, err
	}
	b.wal = w
	b.note("WAL made")
	return w, nil
}

func (b *bench) makeLoads(ctx context.Context, s *server) (*walSource, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	control, err := walcore.ReadControlFile(s.pgdata)
	if err != nil {
		return nil, err
	}
	w := &walSource{pgdata: s.pgdata, size: control.SegmentSize}
	port := strconv.Itoa(s.port)
	if _, err := b.output(ctx, "pgbench", "-q", "-p", port, "-i", "-s", "10"); err != nil {
		return nil, err
	}
	random, err := randomRows(b.path("random.rows"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(random)
	for _, statement := range []string{
		"CREATE TABLE noise (bytes bytea)", "ALTER TABLE noise ALTER bytes SET STORAGE EXTERNAL", "CREATE TABLE little (id int)",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	for _, kind := range []struct {
		title string
		write func() error
	}{
		{"pgbench", func() error {
			// A checkpoint first, so that pages are logged whole again, as
			// after each of a busy server's checkpoints.
			_, checkpoint := conn.Exec(ctx, "CHECKPOINT")
			_, bench := b.output(ctx, "pgbench", "-n", "-p", port, "-c", "4", "-j", "2", "-t", "1000")
			return errors.Join(checkpoint, bench)
		}},
		{"mostly empty", func() error {
			_, insert := conn.Exec(ctx, "INSERT INTO little VALUES (1)")
			_, end := conn.Exec(ctx, "SELECT pg_switch_wal()")
			return errors.Join(insert, end)
		}},
		{"incompressible", func() error {
			_, err := conn.Exec(ctx, "COPY noise FROM '"+random+"'")
			return err
		}},
	} {
		l, err := w.makeLoad(ctx, conn, kind.title, b.batch(), kind.write)
		if err != nil {
			return nil, fmt.Errorf("WAL of %s: %w", kind.title, err)
		}
		w.loads = append(w.loads, l)
	}
	return w, nil
}

// makeLoad writes until a batch and one more segment are full.
func (w *walSource) makeLoad(ctx context.Context, conn *psql.Conn, title string, batch int, write func() error) (load, error) {
	if _, err := conn.Exec(ctx, "SELECT pg_switch_wal()"); err != nil {
		return load{}, err
	}
	lsn, err := insertLSN(ctx, conn)
	if err != nil {
		return load{}, err
	}
	first := walcore.SegmentAt(1, lsn, w.size)
	l := load{title: title}
	for ; len(l.segments) <= batch; first = first.Next(w.size) {
		l.segments = append(l.segments, first)
	}
	for lsn < first.Start(w.size) {
		if err := write(); err != nil {
			return load{}, err
		}
		if lsn, err = insertLSN(ctx, conn); err != nil {
			return load{}, err
		}
	}
	return l, nil
}

func insertLSN(ctx context.Context, conn *psql.Conn) (walcore.LSN, error) {
	value, err := conn.Value(ctx, "SELECT pg_current_wal_insert_lsn()::text")
	if err != nil {
		return 0, err
	}
	return walcore.ParseLSN(fmt.Sprint(value))
}

// randomRows writes 20 MB of random bytes as COPY reads them. One round of
// them is longer than a segment, so none holds the same bytes twice.
func randomRows(path string) (string, error) {
	var text strings.Builder
	bytes := make([]byte, 8000)
	for range 2500 {
		if _, err := rand.Read(bytes); err != nil {
			return "", err
		}
		text.WriteString(`\\x` + hex.EncodeToString(bytes) + "\n")
	}
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

// content is a segment's bytes.
func (w *walSource) content(name walcore.SegmentName) ([]byte, error) {
	return os.ReadFile(filepath.Join(w.pgdata, "pg_wal", string(name)))
}

// ready makes archive_status say that exactly these segments wait.
func (w *walSource) ready(names []walcore.SegmentName) error {
	status := filepath.Join(w.pgdata, "pg_wal", "archive_status")
	if err := emptyDir(status); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(status, string(name)+".ready"), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// done is what the server's archiver does after a success.
func (w *walSource) done(name walcore.SegmentName) error {
	status := filepath.Join(w.pgdata, "pg_wal", "archive_status", string(name))
	return os.Rename(status+".ready", status+".done")
}
