package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/builtins/psql"
)

const sqlUser = "bench"

// server is a PostgreSQL server of the bench, started directly, without pg_ctl,
// so that what it logs can be read as it is said.
type server struct {
	b      *bench
	pgdata string
	port   int
	ended  chan struct{}
	pid    int

	mu   sync.Mutex
	said []string
	hear func(line string, at time.Time)
}

// initServer makes a data directory. Clients come through the socket in the
// bench's directory, which is closed to others.
func (b *bench) initServer(ctx context.Context, pgdata string) (*server, error) {
	_, err := b.output(ctx, filepath.Join(b.pgBin, "initdb"), "-D", pgdata, "-U", sqlUser, "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-sync")
	return b.serverAt(pgdata), err
}

func (b *bench) serverAt(pgdata string) *server {
	b.ports++
	return &server{b: b, pgdata: pgdata, port: 54500 + b.ports}
}

// configure writes postgresql.conf anew.
func (s *server) configure(lines ...string) error {
	all := append([]string{
		"listen_addresses = ''", fmt.Sprintf("port = %d", s.port), "unix_socket_directories = '" + s.b.dir + "'",
		"shared_buffers = 64MB", "max_connections = 20", "wal_level = replica", "hot_standby = on",
		"max_wal_size = 16GB", "checkpoint_timeout = 1h", "autovacuum = off",
		"log_line_prefix = ''", "logging_collector = off",
	}, lines...)
	return write(filepath.Join(s.pgdata, "postgresql.conf"), strings.Join(all, "\n")+"\n", 0o600)
}

// start returns when the server answers.
func (s *server) start(ctx context.Context) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := s.b.command(ctx, filepath.Join(s.b.pgBin, "postgres"), "-D", s.pgdata)
	cmd.Stdout, cmd.Stderr = in, in
	// Killing a postmaster leaves its children behind: ask for a fast shutdown.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGINT) }
	err = errors.Join(s.b.procs.start(cmd), in.Close())
	if err != nil {
		return errors.Join(err, out.Close())
	}
	s.pid, s.ended = cmd.Process.Pid, make(chan struct{})
	go func() {
		defer close(s.ended)
		s.listen(out)
		_ = s.b.procs.wait(cmd) // its log says why it ended
	}()
	for {
		conn, err := s.connect(ctx)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server in %s ended:\n%s", s.pgdata, s.lastLines())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) listen(out *os.File) {
	defer out.Close()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		at := time.Now()
		s.mu.Lock()
		s.said = append(s.said[max(0, len(s.said)-29):], lines.Text())
		hear := s.hear
		s.mu.Unlock()
		if hear != nil {
			hear(lines.Text(), at)
		}
	}
}

// onLine makes hear get every line that the server logs from now on.
func (s *server) onLine(hear func(line string, at time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hear = hear
}

func (s *server) lastLines() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n")
}

// stop is a fast shutdown.
func (s *server) stop(ctx context.Context) error {
	if s.ended == nil {
		return nil
	}
	if err := unix.Kill(s.pid, unix.SIGINT); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return fmt.Errorf("the server in %s does not stop:\n%s", s.pgdata, s.lastLines())
	}
}

func (s *server) connect(ctx context.Context) (*psql.Conn, error) {
	return psql.Connect(ctx, psql.Target{SocketDir: s.b.dir, Port: s.port, User: sqlUser, Database: "postgres", ApplicationName: "bench"})
}

// copyTo makes another data directory of this one, whose server is stopped.
func (s *server) copyTo(ctx context.Context, pgdata string) (*server, error) {
	if err := os.MkdirAll(filepath.Dir(pgdata), 0o700); err != nil {
		return nil, err
	}
	_, err := s.b.output(ctx, "cp", "-a", s.pgdata, pgdata)
	return s.b.serverAt(pgdata), err
}
