package tests

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// TestFetchFromPGWAL: what the primary cannot archive for the moment, the
// standby fetches out of the primary's pg_wal, up to the segment that is still
// being written and not beyond.
func TestFetchFromPGWAL(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	path := c.DB1.Path(filepath.Join(c.DB1.Home, "global", "cluster.toml"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "\n[archive]\nrequire = 'any'\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DB1.Must("copyToStandby", "--start")
	c.DB1.SQL("CREATE TABLE shipped AS SELECT 1 AS i")
	c.DB2.WaitReplay(c.DB1, time.Minute)

	c.DB1.SQL("ALTER SYSTEM SET archive_command = 'false'")
	c.DB1.SQL("ALTER SYSTEM SET archive_timeout = 0")
	c.DB1.SQL("SELECT pg_reload_conf()::text")
	c.DB1.SQL("SELECT pg_switch_wal()::text") // the one under way may still be archived
	for _, table := range []string{"one", "two", "three"} {
		c.DB1.SQL("CREATE TABLE " + table + " AS SELECT 1 AS i")
		c.DB1.SQL("SELECT pg_switch_wal()::text")
	}
	end := c.DB1.SQL("SELECT pg_current_wal_lsn()::text")
	c.DB1.SQL("CREATE TABLE unfinished AS SELECT 1 AS i")
	open := walcore.FileName(c.DB1.SQL("SELECT pg_walfile_name(pg_current_wal_lsn())"))
	start := time.Now()
	cluster.Eventually(t, 2*time.Minute, "the standby has replayed up to "+end, func() (bool, error) { return c.DB2.Replayed(end) })
	t.Logf("the standby has fetched three segments within %s", time.Since(start))
	if got := c.DB1.SQL("SELECT count(*)::text FROM pg_ls_dir('pg_wal/archive_status') WHERE pg_ls_dir LIKE '%.ready'"); got < "3" {
		t.Errorf("%s segments wait on the primary: they were archived after all", got)
	}
	if got := c.DB2.SQL("SELECT count(*)::text FROM pg_class WHERE relname IN ('one', 'two', 'three', 'unfinished')"); got != "3" {
		t.Errorf("the standby has %s of the 3 tables in finished segments", got)
	}
	archive, err := walcore.OpenArchive(c.DB2.Path(c.DB2.Archive()))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := archive.Open(open); err == nil {
		_ = f.Close()
		t.Errorf("%s was fetched while it was being written", open)
	}
	// The primary archives again, and finds it all there.
	c.DB1.SQL("ALTER SYSTEM RESET archive_command")
	c.DB1.SQL("SELECT pg_reload_conf()::text")
	c.DB1.SQL("SELECT pg_switch_wal()::text")
	cluster.Eventually(t, 2*time.Minute, "nothing waits on the primary", func() (bool, error) {
		return c.DB1.SQL("SELECT count(*)::text FROM pg_ls_dir('pg_wal/archive_status') WHERE pg_ls_dir LIKE '%.ready'") == "0", nil
	})
	c.DB2.WaitReplay(c.DB1, time.Minute)
}
