package psql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// LogicalSlot is a slot of logical replication.
type LogicalSlot struct {
	Name string `json:"name"`
	// Failover: the primary has it kept on standbys, too (17 and later).
	Failover bool `json:"failover"`
	// Kept: this standby keeps it in step, and it can be used here after a
	// promotion.
	Kept bool `json:"kept,omitempty"`
}

// LogicalSlots are the server's logical slots that outlive their session.
func (c *Conn) LogicalSlots(ctx context.Context) ([]LogicalSlot, error) {
	failover, kept := "false", "false"
	if c.version >= 170000 {
		failover, kept = "failover", "synced AND invalidation_reason IS NULL"
	}
	rows, err := c.Query(ctx, "SELECT slot_name::text, "+failover+", "+kept+" FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT temporary ORDER BY 1")
	if err != nil {
		return nil, err
	}
	var slots []LogicalSlot
	for _, row := range rows.Values {
		slots = append(slots, LogicalSlot{Name: text(row[0]), Failover: row[1] == true, Kept: row[2] == true})
	}
	return slots, nil
}

// RunningBackups counts the base backups of the server that are under way, over
// the replication protocol, by a session that is in backup mode, or in the
// exclusive mode of old. A session in backup mode is idle between the two
// functions.
func (c *Conn) RunningBackups(ctx context.Context) (int64, error) {
	query := "SELECT (SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ~ 'pg_(backup_start|start_backup) *[(]' AND query !~ 'stop')"
	if c.version >= 130000 {
		query += " + (SELECT count(*) FROM pg_stat_progress_basebackup)"
	} else {
		query += " + (SELECT count(*) FROM pg_stat_replication WHERE state = 'backup')"
	}
	if c.version < 150000 {
		query += " + pg_is_in_backup()::int"
	}
	value, err := c.Value(ctx, query)
	return number(value), err
}

// Survey is what a look into every database of a server has shown.
type Survey struct {
	// Modules are those that functions are from, without "$libdir/" and ".so".
	Modules []string `json:"modules,omitempty"`
	// Stale are the collations that the libraries here sort otherwise than the
	// indexes were made with, in words.
	Stale []string `json:"stale,omitempty"`
	// Closed are the databases that the server itself cannot open, each with its
	// reason: as a rule this host lacks their locale.
	Closed []string `json:"closed,omitempty"`
}

// mostDatabases bounds how many databases are looked into.
const mostDatabases = 50

// Survey looks into every database that sessions are let into, each but this one's by
// a session that open opens. A database that this user may not enter is passed over.
func (c *Conn) Survey(ctx context.Context, open func(ctx context.Context, database string) (*Conn, error)) (Survey, error) {
	var found Survey
	databases, err := c.Query(ctx, fmt.Sprintf("SELECT datname::text, datname = current_database() FROM pg_database WHERE datallowconn ORDER BY datname LIMIT %d", mostDatabases))
	if err != nil {
		return found, err
	}
	for _, row := range databases.Values {
		name := text(row[0])
		if row[1] == true {
			if err := c.survey(ctx, name, &found); err != nil {
				return found, fmt.Errorf("database %s: %w", name, err)
			}
			continue
		}
		in, err := open(ctx, name)
		switch state := sqlState(err); {
		case state == stateInternalError:
			found.Closed = append(found.Closed, fmt.Sprintf("%s: %s", name, said(err)))
			continue
		case state != "" && ctx.Err() == nil:
			continue
		case err != nil:
			return found, err
		}
		err = in.survey(ctx, name, &found)
		_ = in.Close(ctx) // it has told what it was asked
		if err != nil {
			return found, fmt.Errorf("database %s: %w", name, err)
		}
	}
	return found, nil
}

// survey adds what one database shows.
func (c *Conn) survey(ctx context.Context, name string, found *Survey) error {
	modules, err := c.Query(ctx, "SELECT DISTINCT probin::text FROM pg_proc WHERE probin LIKE '$libdir/%' ESCAPE '~' ORDER BY 1")
	if err != nil {
		return err
	}
	for _, row := range modules.Values {
		found.Modules = add(found.Modules, strings.TrimSuffix(strings.TrimPrefix(text(row[0]), "$libdir/"), ".so"))
	}
	for _, query := range staleQueries(c.version) {
		rows, err := c.Query(ctx, query)
		if err != nil && sqlState(err) == "" {
			return err
		}
		if err != nil {
			// A locale that is not on this host has no version.
			found.Stale = add(found.Stale, fmt.Sprintf("database %s: %s", name, said(err)))
		}
		for _, row := range rows.Values {
			found.Stale = add(found.Stale, fmt.Sprintf("%v was made with version %v, here it is %v", row[0], row[1], row[2]))
		}
	}
	return nil
}

// staleQueries ask a database for collations that have another version here than
// the one on record. Before 15 a database's own collation has none there. Only those
// are looked at that something depends on: a server with ICU has several hundred, each
// of which its library has to open. What depends on a pinned one is not on record
// (recordMultipleDependencies in pg_depend.c; its OID is below FirstUnpinnedObjectId).
func staleQueries(version int) []string {
	var queries []string
	if version >= 100000 {
		queries = append(queries, `SELECT 'collation ' || collname, collversion, pg_collation_actual_version(oid)
			FROM (SELECT oid, collname, collversion FROM pg_collation AS c WHERE collversion IS NOT NULL AND (oid < 12000
				OR EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_collation'::regclass AND refobjid = c.oid)) OFFSET 0) AS used
			WHERE collversion <> pg_collation_actual_version(oid) ORDER BY 1 LIMIT 5`)
	}
	if version >= 150000 {
		queries = append(queries, "SELECT 'database ' || datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)")
	}
	return queries
}

// said is what the server itself says in an error.
func said(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return err.Error()
	}
	return server.Message
}

// add appends what is not there yet.
func add(list []string, one string) []string {
	if slices.Contains(list, one) {
		return list
	}
	return append(list, one)
}
