package health

import (
	"context"
	"fmt"
	"os"
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
	l.survey(ctx, conn)
	if l.state.InRecovery {
		l.askReplay(ctx, conn)
		return
	}
	l.walRate()
	l.askPrimary(ctx, conn)
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
	backups, err := conn.RunningBackups(ctx)
	if err != nil {
		l.n.unknown(err, "running_backups")
	}
	f.Backups = int(backups)
	if f.LogicalSlots, err = conn.LogicalSlots(ctx); err != nil {
		l.n.unknown(err, "logical_slots")
	}
}

// survey looks into the databases: what their functions load, and what the
// libraries here sort otherwise than those did that the indexes were made with.
func (l *look) survey(ctx context.Context, conn *psql.Conn) {
	found, err := conn.Survey(ctx, l.Examine.SQLIn)
	if err != nil {
		l.n.unknown(err, "loads", "collations")
	}
	l.n.Facts.Collations, l.n.Facts.Closed = found.Stale, found.Closed
	if !l.state.InRecovery {
		l.n.Facts.Loads = found.Modules
	}
}

// askReplay finds what holds replay up on a hot standby.
func (l *look) askReplay(ctx context.Context, conn *psql.Conn) {
	if conn.Version() < 100000 {
		return
	}
	for _, row := range l.rows(ctx, conn, "startup_wait", "SELECT pid, coalesce(wait_event_type, ''), coalesce(wait_event, '') FROM pg_stat_activity WHERE backend_type = 'startup'") {
		l.n.Facts.StartupWait = startupWait(int(float(row[0])), fmt.Sprint(row[1]), fmt.Sprint(row[2]))
	}
	const oldest = "SELECT pid, coalesce(usename::text, ''), extract(epoch FROM now() - xact_start)::float8 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
	for _, row := range l.rows(ctx, conn, "oldest_query", oldest) {
		l.n.Facts.Oldest = &OpenQuery{PID: int64(float(row[0])), User: fmt.Sprint(row[1]), Seconds: float(row[2])}
	}
}

// What a startup process waits for where the server has no name of its own for it:
// lockWait and pinWait come before what is locked.
const (
	lockWait  = "Lock "
	pinWait   = "BufferPin "
	titleWait = "its title ends with \"waiting\""
)

// startupWait names what the startup process waits for. The wait for a query that
// needs old row versions has an event from 13 on (standby.c); before, the title of
// the process alone tells.
func startupWait(pid int, kind, event string) string {
	switch {
	case kind == strings.TrimSpace(lockWait) || kind == strings.TrimSpace(pinWait):
		return kind + " " + event
	case event != "":
		return event
	}
	title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && strings.HasSuffix(strings.TrimRight(string(title), "\x00 "), " waiting") {
		return titleWait
	}
	return ""
}

// inConflict reports whether replay waits for a query.
func inConflict(wait string) bool {
	for _, prefix := range []string{"RecoveryConflict", lockWait, pinWait, titleWait} {
		if strings.HasPrefix(wait, prefix) {
			return true
		}
	}
	return false
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
