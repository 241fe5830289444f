package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/builtins/psql"
)

// database is a running server that nobody uses, to be copied. All that is
// committed is in its files, whose names and bytes stay as they are from one
// checkpoint to the next.
type database struct {
	*server
	title string
	tree  *tree
	rows  int // of pgbench_accounts
}

// startDatabase makes a server that can be copied over its socket and over TCP,
// and lets fill write into it.
func (b *bench) startDatabase(ctx context.Context, dir, title string, fill func(*database, *psql.Conn) error) (*database, error) {
	s, err := b.initServer(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	// Nothing is archived: pg_basebackup would wait for it, in steps of a second.
	if err := s.configure("listen_addresses = '127.0.0.1'", "max_wal_size = 1GB"); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	b.note("filling the database %s", title)
	d := &database{server: s, title: title}
	err = d.do(ctx, func(conn *psql.Conn) error { return fill(d, conn) })
	if err != nil {
		return nil, err
	}
	d.tree, err = newTree(s.pgdata, notCompared)
	b.note("filled, %s", size(d.tree.bytes))
	return d, err
}

// do works on the database and leaves everything in its files.
func (d *database) do(ctx context.Context, work func(*psql.Conn) error) error {
	conn, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := work(conn); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return err
}

// compared are the parts of a data directory that hold what users have written.
// The rest is empty in a copy, or tells what it is a copy of.
var compared = map[string]bool{"base": true, "global": true, "pg_xact": true, "pg_multixact": true, "PG_VERSION": true}

func notCompared(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	last := path.Base(name)
	return !compared[top] || last == "pg_internal.init" || last == "pg_control" || strings.HasPrefix(last, "pgsql_tmp")
}

// fillFactor leaves room in each page, so that a row is changed within its page.
const fillFactor = 90

const (
	rowsInScale = 100_000
	rowsInPage  = 61 * fillFactor / 100
	// One in so many of the table's pages is one in a hundred of all: the rest
	// is the index.
	pagesApart = 80
)

// pgbenchDatabase has 3 GB and some, or a twentieth of it.
func (b *bench) pgbenchDatabase(ctx context.Context, dir string) (*database, error) {
	scale := b.rounds(200, 10)
	return b.startDatabase(ctx, dir, "pgbench", func(d *database, _ *psql.Conn) error {
		d.rows = scale * rowsInScale
		_, err := b.output(ctx, "pgbench", "-q", "-p", strconv.Itoa(d.port), "-i", "-s", strconv.Itoa(scale), "-F", strconv.Itoa(fillFactor))
		return err
	})
}

// noiseDatabase has 1 GB of random bytes.
func (b *bench) noiseDatabase(ctx context.Context, dir string) (*database, error) {
	return b.startDatabase(ctx, dir, "incompressible", func(_ *database, conn *psql.Conn) error {
		random, err := randomRows(b.path("random.rows"))
		if err != nil {
			return err
		}
		defer os.Remove(random)
		statements := []string{"CREATE TABLE noise (bytes bytea)", "ALTER TABLE noise ALTER bytes SET STORAGE EXTERNAL"}
		for range b.rounds(48, 3) {
			statements = append(statements, "COPY noise FROM '"+random+"'")
		}
		// Whatever else a table needs is made at its first VACUUM.
		for _, statement := range append(statements, "VACUUM noise") {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// changePages changes a row in 1 % of the pages, other pages with each number.
// It goes by the index, so that no page is touched that does not change.
func (d *database) changePages(ctx context.Context, number int) error {
	first := 1 + (number*7*rowsInPage)%(pagesApart*rowsInPage)
	return d.do(ctx, func(conn *psql.Conn) error {
		for _, statement := range []string{
			"SET enable_hashjoin = off", "SET enable_mergejoin = off", "SET enable_seqscan = off",
			fmt.Sprintf("UPDATE pgbench_accounts SET abalance = abalance + 1 FROM generate_series(%d, %d, %d) AS changed WHERE aid = changed",
				first, d.rows, pagesApart*rowsInPage),
		} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}
