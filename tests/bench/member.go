package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
)

// member is one of two servers that change places, started and stopped as an
// operator does it.
type member struct {
	b      *bench
	dir    string // everything of it is below
	pgdata string
	home   string // warmrun's, where it has one
	port   int
	server pgctl.Server
}

func (b *bench) newMember(dir string) *member {
	b.ports++
	m := &member{b: b, dir: dir, pgdata: filepath.Join(dir, "data"), home: filepath.Join(dir, "warmrun"), port: 54600 + b.ports}
	m.server = pgctl.Server{PGData: m.pgdata, BinDir: b.pgBin}
	return m
}

// conf is postgresql.conf. TCP is for streaming.
func (m *member) conf(lines ...string) string {
	return strings.Join(append([]string{
		"listen_addresses = '127.0.0.1'", fmt.Sprintf("port = %d", m.port), "unix_socket_directories = '" + m.b.dir + "'",
		"shared_buffers = 64MB", "max_connections = 40", "wal_level = replica", "hot_standby = on", "max_wal_senders = 10", "max_replication_slots = 10",
		"max_wal_size = 1GB", "checkpoint_timeout = 5min", "autovacuum = off", "wal_log_hints = on",
	}, lines...), "\n") + "\n"
}

const memberHBA = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"

// initPrimary makes the data directory and starts the server.
func (m *member) initPrimary(ctx context.Context, conf string) error {
	_, err := m.b.output(ctx, filepath.Join(m.b.pgBin, "initdb"), "-D", m.pgdata, "-U", sqlUser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	return errors.Join(err,
		write(filepath.Join(m.pgdata, "postgresql.conf"), conf, 0o600),
		write(filepath.Join(m.pgdata, "pg_hba.conf"), memberHBA, 0o600),
		m.start(ctx))
}

func (m *member) log() string { return filepath.Join(m.dir, "server.log") }

func (m *member) start(ctx context.Context) error {
	return m.server.Start(ctx, pgctl.StartOptions{LogFile: m.log()})
}

// stop ends the server, where there is one.
func (m *member) stop(ctx context.Context) error {
	if _, err := os.Stat(m.pgdata); err != nil {
		return nil
	}
	return m.server.Stop(ctx, pgctl.StopOptions{Timeout: time.Minute})
}

// kill is what a crash of the server is.
func (m *member) kill(ctx context.Context) error {
	status, err := m.server.StatusNow()
	if err != nil {
		return err
	}
	if err := unix.Kill(status.PID, unix.SIGKILL); err != nil {
		return err
	}
	return await(ctx, time.Minute, "the server to be gone", func() (bool, error) {
		status, err := m.server.StatusNow()
		return !status.Running, err
	})
}

func (m *member) target() psql.Target {
	return psql.Target{SocketDir: m.b.dir, Port: m.port, User: sqlUser, Database: "postgres", ApplicationName: "bench"}
}

// conninfo is how the other one reaches this one.
func (m *member) conninfo() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s", m.port, sqlUser)
}

func (m *member) warmrun(ctx context.Context, args ...string) error {
	_, err := m.b.timed(ctx, m.dir, append([]string{filepath.Join(m.home, "bin", "warmrun"), "--home", m.home}, args...)...)
	return err
}

// catchUp waits until this standby has replayed what the primary has written.
func (m *member) catchUp(ctx context.Context, primary *member) error {
	lsn, err := ask(ctx, primary.target(), "SELECT pg_switch_wal()::text")
	if err != nil {
		return err
	}
	return await(ctx, 2*time.Minute, m.dir+" to catch up", func() (bool, error) {
		got, err := ask(ctx, m.target(), "SELECT (pg_last_wal_replay_lsn() >= '"+lsn+"')::text")
		return got == "true", err
	})
}

// ask is one query's one value.
func ask(ctx context.Context, target psql.Target, query string) (string, error) {
	conn, err := psql.Connect(ctx, target)
	if err != nil {
		return "", err
	}
	value, err := conn.Value(ctx, query)
	return fmt.Sprint(value), errors.Join(err, conn.Close(ctx))
}
