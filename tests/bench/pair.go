package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/builtins/psql"
)

// pair is a running primary and its hot standby, which get WAL from one to the
// other through an archive only: no streaming.
type pair struct {
	primary, standby   *server
	toPrimary, toStand *psql.Conn
}

// template is a stopped server that pairs are copied from, made the first time.
func (b *bench) template(ctx context.Context) (*server, error) {
	pgdata := b.path("template", "data")
	if _, err := os.Stat(pgdata); err == nil {
		return b.serverAt(pgdata), nil
	}
	s, err := b.initServer(ctx, pgdata)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.configure(), s.start(ctx)); err != nil {
		return nil, err
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "CREATE TABLE seen (id int)")
	return s, errors.Join(err, conn.Close(ctx), s.stop(ctx))
}

// pairAt copies the two data directories below dir, so that the commands that
// name them can be made before anything runs.
func (b *bench) pairAt(ctx context.Context, dir string) (*pair, error) {
	t, err := b.template(ctx)
	if err != nil {
		return nil, err
	}
	p := &pair{}
	if p.primary, err = t.copyTo(ctx, filepath.Join(dir, "p", "data")); err != nil {
		return nil, err
	}
	if p.standby, err = t.copyTo(ctx, filepath.Join(dir, "s", "data")); err != nil {
		return nil, err
	}
	return p, os.WriteFile(filepath.Join(p.standby.pgdata, "standby.signal"), nil, 0o600)
}

// start configures and starts both. interval is wal_retrieve_retry_interval.
func (p *pair) start(ctx context.Context, archive, restore, interval string) error {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	if err := errors.Join(
		p.primary.configure("archive_mode = on", "archive_command = "+quote(archive)),
		p.standby.configure("restore_command = "+quote(restore), "wal_retrieve_retry_interval = "+interval, "recovery_target_timeline = 'latest'"),
		p.primary.start(ctx), p.standby.start(ctx)); err != nil {
		return err
	}
	var err error
	if p.toPrimary, err = p.primary.connect(ctx); err != nil {
		return err
	}
	p.toStand, err = p.standby.connect(ctx)
	return err
}

func (p *pair) stop(ctx context.Context) error {
	var err error
	for _, conn := range []*psql.Conn{p.toPrimary, p.toStand} {
		if conn != nil {
			err = errors.Join(err, conn.Close(ctx))
		}
	}
	return errors.Join(err, p.primary.stop(ctx), p.standby.stop(ctx))
}
