package tests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore/fault"
)

// TestRestoreKilled kills restore_command at each of its steps. PostgreSQL takes
// every signal but SIGTERM for a reason to give up (RestoreArchivedFile in
// xlogarchive.c), so the standby goes down. Started again it goes on as if
// nothing had been.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{Tags: "faults"})
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DB1.Must("copyToStandby", "--start")
	c.DB1.SQL("CREATE TABLE survivors (step text)")
	c.DB2.WaitReplay(c.DB1, catchUp)
	deaths := &deaths{T: t, notes: filepath.Join(c.DB1.Dir, "deaths")}
	want := 0
	for _, step := range fault.Steps() {
		if !strings.HasPrefix(string(step), "restore:") {
			continue
		}
		deaths.plan(c.DB2, map[fault.Step]float64{step: 1})
		c.DB1.SQL("INSERT INTO survivors VALUES ('" + string(step) + "')")
		c.DB1.SQL("SELECT pg_switch_wal()")
		want++
		cluster.Eventually(t, time.Minute, "the standby has gone down", func() (bool, error) {
			_, err := c.DB2.TrySQL("SELECT 1")
			counts, _ := deaths.count()
			return err != nil && counts[step] > 0 && !c.DB2.Exists(filepath.Join(c.DB2.PGData, "postmaster.pid")), nil
		})
		deaths.end(c.DB2)
		c.DB2.StartServer()
		c.DB2.WaitReplay(c.DB1, catchUp)
		if got := c.DB2.SQL("SELECT count(*)::int FROM survivors"); got != fmt.Sprint(want) {
			t.Errorf("after a death at %q: the standby has %s rows, want %d", step, got, want)
		}
		if in := c.DB2.SQL("SELECT pg_is_in_recovery()::text"); in != "true" {
			t.Fatalf("after a death at %q the standby has opened", step)
		}
	}
}
