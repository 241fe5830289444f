package health

import (
	"context"
	"fmt"
	"strings"

	"github.com/warmrun/warmrun/builtins/psql"
)

// askFacts asks the server. Each question stands alone: what one version or
// user cannot be told keeps nobody from the rest.
func (l *look) askFacts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*l.Timeout)
	defer cancel()
	conn, err := l.Examine.SQLIn(ctx, "")
	if err != nil {
		l.n.unknown(err, "settings", "prepared_transactions", "collations")
		return
	}
	defer conn.Close(ctx)
	l.askSettings(ctx, conn)
	l.askCollations(ctx, conn)
	if l.state.InRecovery {
		l.askReplay(ctx, conn)
		return
	}
	l.walRate()
	l.askPrimary(ctx, conn)
	l.askLoads(ctx, conn)
}

// rows runs a query and notes why it failed.
func (l *look) rows(ctx context.Context, conn *psql.Conn, field, query string) [][]any {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		l.n.unknown(err, field)
		return nil
	}
	return rows.Values
}

func (l *look) askSettings(ctx context.Context, conn *psql.Conn) {
	var names []string
	for name := range checkedSettings() {
		names = append(names, "'"+name+"'")
	}
	for _, row := range l.rows(ctx, conn, "settings", "SELECT name, setting FROM pg_settings WHERE name IN ("+strings.Join(names, ", ")+")") {
		l.n.Facts.Settings[fmt.Sprint(row[0])] = fmt.Sprint(row[1])
	}
}

// askPrimary finds what a change of state meets on a primary.
func (l *look) askPrimary(ctx context.Context, conn *psql.Conn) {
	f := l.n.Facts
	for _, row := range l.rows(ctx, conn, "prepared_transactions", "SELECT gid, extract(epoch FROM now() - prepared)::float8 FROM pg_prepared_xacts ORDER BY prepared") {
		f.Prepared = append(f.Prepared, Prepared{Name: fmt.Sprint(row[0]), Seconds: float(row[1])})
	}
	// A session in backup mode is idle between the two functions.
	backups := "SELECT count(*)::int FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ~ 'pg_(backup_start|start_backup) *[(]' AND query !~ 'stop'"
	if conn.Version() >= 130000 {
		backups = "SELECT (" + backups + ") + (SELECT count(*)::int FROM pg_stat_progress_basebackup)"
	}
	for _, row := range l.rows(ctx, conn, "running_backups", backups) {
		f.Backups = int(float(row[0]))
	}
	failover := "false"
	if conn.Version() >= 170000 {
		failover = "failover"
	}
	for _, row := range l.rows(ctx, conn, "logical_slots", "SELECT slot_name::text, "+failover+" FROM pg_replication_slots WHERE slot_type = 'logical' ORDER BY 1") {
		f.LogicalSlots = append(f.LogicalSlots, LogicalSlot{Name: fmt.Sprint(row[0]), Failover: row[1] == true})
	}
}

// askCollations finds what the libraries here sort otherwise than those did that
// the indexes were made with. Before 15 a database's own collation has no
// version on record.
func (l *look) askCollations(ctx context.Context, conn *psql.Conn) {
	queries := []string{"SELECT 'collation ' || collname, collversion, pg_collation_actual_version(oid) FROM pg_collation WHERE collversion <> pg_collation_actual_version(oid) ORDER BY 1 LIMIT 5"}
	if conn.Version() >= 150000 {
		queries = append(queries, "SELECT 'database ' || datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database WHERE datcollversion <> pg_database_collation_actual_version(oid) ORDER BY 1 LIMIT 5")
	}
	if conn.Version() < 100000 {
		return
	}
	for _, query := range queries {
		for _, row := range l.rows(ctx, conn, "collations", query) {
			l.n.Facts.Collations = append(l.n.Facts.Collations, fmt.Sprintf("%v was made with version %v, here it is %v", row[0], row[1], row[2]))
		}
	}
}

// askReplay finds what holds replay up on a hot standby.
func (l *look) askReplay(ctx context.Context, conn *psql.Conn) {
	if conn.Version() < 100000 {
		return
	}
	for _, row := range l.rows(ctx, conn, "startup_wait", "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event IS NOT NULL") {
		l.n.Facts.StartupWait = fmt.Sprint(row[0])
	}
	const oldest = "SELECT pid, coalesce(usename::text, ''), extract(epoch FROM now() - xact_start)::float8 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
	for _, row := range l.rows(ctx, conn, "oldest_query", oldest) {
		l.n.Facts.Oldest = &OpenQuery{PID: int64(float(row[0])), User: fmt.Sprint(row[1]), Seconds: float(row[2])}
	}
}

// mostDatabases bounds how many databases are looked into.
const mostDatabases = 50

// askLoads finds the modules that functions in the databases are from.
func (l *look) askLoads(ctx context.Context, conn *psql.Conn) {
	seen := map[string]bool{}
	for _, row := range l.rows(ctx, conn, "loads", fmt.Sprintf("SELECT datname::text FROM pg_database WHERE datallowconn ORDER BY datname LIMIT %d", mostDatabases)) {
		in, err := l.Examine.SQLIn(ctx, fmt.Sprint(row[0]))
		if err != nil {
			l.n.unknown(err, "loads")
			continue
		}
		for _, probin := range l.rows(ctx, in, "loads", "SELECT DISTINCT probin::text FROM pg_proc WHERE probin LIKE '$libdir/%' ESCAPE '~' ORDER BY 1") {
			name := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(probin[0]), "$libdir/"), ".so")
			if !seen[name] {
				seen[name] = true
				l.n.Facts.Loads = append(l.n.Facts.Loads, name)
			}
		}
		_ = in.Close(ctx)
	}
}

// leastWindow is how long ago the last checkpoint must be for a rate of WAL.
const leastWindow = 60 // seconds

// walRate is that of the WAL since the last checkpoint began.
func (l *look) walRate() {
	if l.control == nil || l.state.CurrentLSN <= l.control.Redo {
		return
	}
	if seconds := l.state.Now.Sub(l.control.CheckpointTime).Seconds(); seconds >= leastWindow {
		l.n.Facts.WALRate = float64(l.state.CurrentLSN-l.control.Redo) / seconds
	}
}

func float(v any) float64 {
	switch n := v.(type) {
	case float64:
		return n
	case int64:
		return float64(n)
	}
	return 0
}
