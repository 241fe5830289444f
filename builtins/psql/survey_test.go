package psql

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// TestSurvey finds in each database what its functions load and what is sorted
// otherwise here, and which databases the server cannot open.
func TestSurvey(t *testing.T) {
	t.Parallel()
	s, conn := running(t, "wal_level = logical", "max_replication_slots = 4")
	ctx := timeout(t)
	open := func(ctx context.Context, database string) (*Conn, error) {
		target := s.target()
		target.Database = database
		return Connect(ctx, target)
	}
	before, err := conn.Survey(ctx, open)
	if err != nil || !slices.Contains(before.Modules, "plpgsql") || slices.Contains(before.Modules, "absent") || len(before.Stale)+len(before.Closed) != 0 {
		t.Fatalf("got %+v, %v; want plpgsql and what else a new cluster has", before, err)
	}
	for _, statement := range []string{
		"CREATE DATABASE closed", "CREATE DATABASE private",
		"UPDATE pg_database SET datcollate = 'xx_XX.UTF-8' WHERE datname = 'closed'",
		"UPDATE pg_database SET datallowconn = false WHERE datname = 'private'",
		"CREATE COLLATION german (provider = icu, locale = 'de')", "CREATE TABLE names (name text COLLATE german)",
		"UPDATE pg_collation SET collversion = '1.0' WHERE collname IN ('german', 'fr-x-icu')",
		"CREATE FUNCTION absent() RETURNS int LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'",
		"UPDATE pg_proc SET probin = '$libdir/absent' WHERE proname = 'absent'",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	found, err := conn.Survey(ctx, open)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(found.Modules, "absent") || len(found.Modules) != len(before.Modules)+1 {
		t.Errorf("got the modules %q, want absent beside what was there", found.Modules)
	}
	if len(found.Stale) != 1 || !strings.HasPrefix(found.Stale[0], "collation german was made with version 1.0, here it is ") {
		t.Errorf("got %q, want the collation german", found.Stale)
	}
	if len(found.Closed) != 1 || !strings.HasPrefix(found.Closed[0], "closed: database locale is incompatible") {
		t.Errorf("got %q, want the database closed and why", found.Closed)
	}
}

// TestSlotsAndBackups finds a logical slot, and a backup that a session has
// begun, until it has ended it.
func TestSlotsAndBackups(t *testing.T) {
	t.Parallel()
	s, conn := running(t, "wal_level = logical", "max_replication_slots = 4")
	ctx := timeout(t)
	if _, err := conn.Exec(ctx, "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput'), pg_create_physical_replication_slot('db2')"); err != nil {
		t.Fatal(err)
	}
	if slots, err := conn.LogicalSlots(ctx); err != nil || len(slots) != 1 || slots[0] != (LogicalSlot{Name: "cdc"}) {
		t.Errorf("got %v, %v; want the slot cdc alone", slots, err)
	}
	backup := ready(t, s.target())
	defer backup.Close(ctx) //nolint:errcheck // it has been asked all it was for
	begin, end := "SELECT pg_backup_start('x', true)", "SELECT pg_backup_stop(false)"
	if conn.Version() < 150000 {
		begin, end = "SELECT pg_start_backup('x', true, false)", "SELECT pg_stop_backup(false, false)"
	}
	for _, step := range []struct {
		statement string
		want      int64
	}{{"SELECT 1", 0}, {begin, 1}, {end, 0}} {
		if _, err := backup.Exec(ctx, step.statement); err != nil {
			t.Fatal(err)
		}
		if got, err := conn.RunningBackups(ctx); err != nil || got != step.want {
			t.Errorf("after %s: got %d backups, %v; want %d", step.statement, got, err, step.want)
		}
	}
}
