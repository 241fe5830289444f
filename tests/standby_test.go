package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestStandbyStopsAndGoesOn: `pg_ctl stop -m fast` on a standby is clean and
// immediate, whether restore_command answers at once or waits inside the
// server, and after `pg_ctl start` the standby goes on where it was.
func TestStandbyStopsAndGoesOn(t *testing.T) {
	for _, test := range []struct {
		name    string
		layout  cluster.Layout
		waiting bool // restore_command waits
	}{
		{"answering", cluster.TOML, false},
		{"waiting", cluster.TwoWarm, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := cluster.New(t, cluster.Options{Layout: test.layout})
			c.DB1.Must("distrib")
			c.DB2.Must("configStandby")
			c.DB1.Must("copyToStandby", "--start")
			c.DB1.SQL("CREATE TABLE before_stop AS SELECT 1 AS i")
			c.DB2.WaitReplay(c.DB1, time.Minute)
			if test.waiting {
				cluster.Eventually(t, time.Minute, "a restore waits inside the server", func() (bool, error) {
					return restoring(c.DB2), nil
				})
			}

			start := time.Now()
			c.DB2.StopServer("fast")
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("the stop took %s, want it immediate", took)
			}
			checkCleanStop(t, c.DB2)
			if restoring(c.DB2) {
				t.Error("a restore outlived the server")
			}

			c.DB1.SQL("CREATE TABLE while_down AS SELECT 1 AS i")
			c.DB2.StartServer()
			c.DB2.WaitReplay(c.DB1, time.Minute)
			if got := c.DB2.SQL("SELECT count(*)::text FROM pg_class WHERE relname IN ('before_stop', 'while_down')"); got != "2" {
				t.Errorf("the standby has %s of 2 tables after it went on", got)
			}
		})
	}
}

// checkCleanStop reads the state that the server left and its own last words.
func checkCleanStop(t *testing.T, n *cluster.Node) {
	t.Helper()
	control, err := n.Server().Control()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := control.State.String(), "shut down in recovery"; got != want {
		t.Errorf("the control file says %q, want %q", got, want)
	}
	log := n.LogTail(20)
	if !strings.Contains(log, "database system is shut down") || strings.Contains(log, "PANIC") {
		t.Errorf("the server's last words are not those of a clean stop:\n%s", log)
	}
}

// restoring reports whether a restore_command of the node's server runs: a
// program of ours that works in the data directory.
func restoring(n *cluster.Node) bool {
	data, err := os.Stat(n.Path(n.PGData))
	if err != nil {
		return false
	}
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return false
	}
	for _, dir := range entries {
		cwd, err := os.Stat(filepath.Join(dir, "cwd"))
		if err != nil || !os.SameFile(cwd, data) {
			continue
		}
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && strings.Contains(string(command), "restore") && !strings.HasPrefix(string(command), "postgres") {
			return true
		}
	}
	return false
}

// TestOldNames: in a tree that a 2warm site has, the old script names work, and
// say what they always said.
func TestOldNames(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{Layout: cluster.TwoWarm})
	script := func(n *cluster.Node, name string, args ...string) cluster.Result {
		return n.Exec(filepath.Join(n.Home, "global", "replication", name), args...)
	}
	// Before anything ships, archive_command says so and lets the WAL go.
	segment := c.DB1.SQL("SELECT pg_walfile_name(pg_switch_wal())")
	cluster.Eventually(t, time.Minute, segment+" is let go", func() (bool, error) {
		last, err := c.DB1.TrySQL("SELECT last_archived_wal >= '" + segment + "' FROM pg_stat_archiver")
		return last == "true", err
	})
	log := c.DB1.LogTail(100)
	for _, want := range []string{
		fmt.Sprintf("Archiving not active: ignoring pg_wal/%s.", segment),
		fmt.Sprintf("Would normally save to db2:%s/archive/%s.", c.DB1.PGData, segment),
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the server's log lacks %q:\n%s", want, log)
		}
	}

	c.DB1.Must("distrib")
	for _, step := range []struct {
		node *cluster.Node
		name string
		args []string
		want string
	}{
		{c.DB1, "configSetup", nil, c.DB1.PGData},
		{c.DB1, "distrib2warm", nil, "db2"},
		{c.DB2, "pg_standby", []string{"-V"}, "pg_standby ("},
		{c.DB2, "configStandby", nil, "Standby system is ready, shipped archives will appear in " + c.DB2.Archive()},
		{c.DR, "configStandby", nil, "Standby system is ready"},
		{c.DB1, "copyToStandby", []string{"--start"}, "archiving_active written at"},
		{c.DB2, "rsyncDR", nil, ""},
	} {
		result := script(step.node, step.name, step.args...)
		if result.Code != 0 || !strings.Contains(result.Stdout+result.Stderr, step.want) {
			t.Fatalf("%s\nwant %q", result, step.want)
		}
	}
	c.DB1.SQL("CREATE TABLE t AS SELECT 1 AS i")
	c.DB2.WaitReplay(c.DB1, time.Minute)

	if result := script(c.DB1, "flushPrimary", "--drain", "0s"); result.Code != 0 {
		t.Fatalf("%s", result)
	}
	if result := script(c.DB2, "triggerStandby", "fast"); result.Code != 0 || !strings.Contains(result.Stdout, "Server now triggered to start") {
		t.Fatalf("%s", result)
	}
	if got := c.DB2.SQL("SELECT (NOT pg_is_in_recovery())::text || ' ' || i FROM t"); got != "true 1" {
		t.Errorf("after triggerStandby fast: %q, want %q", got, "true 1")
	}
}
