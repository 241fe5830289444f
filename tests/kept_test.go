package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/builtins/scratch"
	"github.com/warmrun/warmrun/tests/cluster"
)

// TestKeptCopies keeps base copies of a cluster with a tablespace, whose servers
// have their configuration outside the data directory as Debian's have. It
// recovers from them, looks at the past and drills, and then kills those who
// make and use them.
func TestKeptCopies(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{Machines: true})
	asDebian(t, c)
	p := &past{T: t, Cluster: c}
	p.pgctl(c.DB1, "-D", c.DB1.PGData, "-o", "-c config_file="+confDir(c.DB1)+"/postgresql.conf", "-l", filepath.Join(c.DB1.Dir, "startup.log"), "start")

	// The same path on every node, and a disk of its own on each.
	space := filepath.Join(c.DB1.Dir, "space")
	c.DB1.Exec("/bin/mkdir", "-m", "700", space)
	c.DB2.Mount(space, 256<<20)
	c.DR.Mount(space, 256<<20)
	c.DB1.SQL("CREATE TABLESPACE fast LOCATION '" + space + "'")
	c.DB1.SQL("ALTER DATABASE postgres SET default_tablespace = 'fast'")

	p = pastOf(t, c)
	p.restored("1 2", "--time", p.time)
	where := "SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace WHERE oid = (SELECT reltablespace FROM pg_class WHERE relname = 't')"
	wantOutput(t, p.DR.Must("peek", "--before", p.time, "--query", where), "fast|"+filepath.Join(p.DR.Home, "scratch", "peek-"))
	wantOutput(t, p.DR.Must("peek", "--before", p.time, "--query", rowsOfT), "\n    1 2\n")
	wantOutput(t, p.DR.Must("drill"), "pg_amcheck found nothing wrong", "The recovery works")
	t.Run("backup killed", func(t *testing.T) { p.backupKilled(t) })
	t.Run("drill killed", func(t *testing.T) { p.drillKilled(t) })
	p.restored("1 2 3 4 5")
}

func confDir(n *cluster.Node) string { return filepath.Join(n.Dir, "etc") }

// asDebian moves the configuration of every node out of the data directory. The
// primary is stopped for it.
func asDebian(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	c.DB1.StopServer("fast")
	toml := filepath.Join(c.DB1.Home, "global", "cluster.toml")
	site := readFile(t, c.DB1.Path(toml))
	in := func(name string) string { return c.DB1.Path(filepath.Join(c.DB1.PGData, name)) }
	hba, ident := readFile(t, in("pg_hba.conf")), readFile(t, in("pg_ident.conf"))
	for _, n := range c.Nodes() {
		dir, saved := confDir(n), n.Path(filepath.Join(n.Home, "local", "postgresql.conf"))
		n.Write(filepath.Join(dir, "pg_hba.conf"), hba)
		n.Write(filepath.Join(dir, "pg_ident.conf"), ident)
		n.Write(filepath.Join(dir, "postgresql.conf"), readFile(t, saved)+fmt.Sprintf(
			"data_directory = '%s'\nhba_file = '%s/pg_hba.conf'\nident_file = '%s/pg_ident.conf'\nexternal_pid_file = '%s/main.pid'\n", n.PGData, dir, dir, n.SocketDir))
		if err := os.Remove(saved); err != nil {
			t.Fatal(err)
		}
		line := "pgdata = '" + n.PGData + "'\n"
		site = strings.Replace(site, line, line+"config_file = '"+dir+"/postgresql.conf'\n", 1)
	}
	c.DB1.Write(toml, site)
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		if err := os.Remove(in(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// killed starts a command on the DR node and kills it when it is time.
func (p *past) killed(t *testing.T, when string, now func() (bool, error), args ...string) {
	t.Helper()
	cmd := p.DR.Command(t.Context(), p.DR.Binary(), args...)
	p.DR.Start(cmd)
	cluster.Eventually(t, time.Minute, when, now)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("%v ended by itself before it was killed: %v", args, err)
	}
}

// noneLeft waits until no process on any node has one of the words in its command
// line.
func (p *past) noneLeft(t *testing.T, words ...string) {
	t.Helper()
	for _, n := range p.Nodes() {
		var running string
		cluster.Eventually(t, time.Minute, fmt.Sprintf("nothing of %q runs on %s", words, n.Name), func() (bool, error) {
			// The shell's own words must not have them.
			running = n.Exec("/bin/sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\000' ' '").Stdout
			for _, word := range words {
				if strings.Contains(running, word) {
					return false, fmt.Errorf("processes: %s", running)
				}
			}
			return true, nil
		})
	}
}

// backupKilled: the half copy is no copy, nobody goes on with it, and the next run
// removes it.
func (p *past) backupKilled(t *testing.T) {
	begun := func() (copies []string, err error) {
		return filepath.Glob(p.DR.Path(filepath.Join(p.DR.Home, "backups", "*", "data", "base")))
	}
	whole := strings.Fields(p.DR.Must("backups", "show").Stdout)[0]
	p.killed(t, "a second copy has begun", func() (bool, error) {
		copies, err := begun()
		return len(copies) == 2, err
	}, "backup", "--no-seed", "--max-rate", "100000")
	p.noneLeft(t, "sync-agent", " call ")
	if got := p.DB1.SQL("SELECT count(*)::text FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%backup_start%'"); got != "0" {
		t.Errorf("%s sessions are in backup mode on db1, want none", got)
	}
	wantOutput(t, p.DR.Must("backups", "list"), whole, "not complete")
	wantOutput(t, p.DR.Must("backups", "show"), whole)
	wantOutput(t, p.DR.Must("drill"), "Copying the base copy "+whole)

	next := p.DR.Must("backup", "--verify")
	wantOutput(t, next, "files are as they were copied")
	list := p.DR.Must("backups", "list").Stdout
	if copies, err := begun(); err != nil || len(copies) != 2 || strings.Contains(list, "not complete") {
		t.Errorf("got %v, %v and\n%s\nwant the two whole copies alone", copies, err, list)
	}
}

// drillKilled: with its program gone the server of a drill ends and is removed;
// with its server gone the drill fails, and says so.
func (p *past) drillKilled(t *testing.T) {
	slow := filepath.Join(p.DR.Home, "global", "drill", "slow.sql")
	p.DR.Write(slow, "SELECT pg_sleep(300)")
	below := filepath.Join(p.DR.Home, "scratch")
	asleep := func() (bool, error) {
		servers, err := scratch.List(below)
		if err != nil || len(servers) != 1 || servers[0].Port == 0 {
			return false, err
		}
		conn, err := psql.Connect(t.Context(), servers[0].Session(p.DR.Target().User, "postgres"))
		if err != nil {
			return false, err // it is not up yet
		}
		running, err := conn.Value(t.Context(), "SELECT count(*)::text FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(300)'")
		return running == "1", errors.Join(err, conn.Close(t.Context()))
	}
	p.killed(t, "the drill's query runs", asleep, "drill")
	p.noneLeft(t, below, "warmrun drill")
	if left, err := scratch.List(below); err != nil || len(left) != 0 {
		t.Errorf("scratch servers are left: %v, %v", left, err)
	}
	wantOutput(t, p.DR.Must("status"), "FAILED ")

	drill := p.DR.Command(t.Context(), p.DR.Binary(), "drill")
	var said strings.Builder
	drill.Stdout, drill.Stderr = &said, &said
	p.DR.Start(drill)
	cluster.Eventually(t, time.Minute, "the drill's query runs again", asleep)
	p.DR.Exec("/bin/sh", "-c", "kill -9 $(head -n 1 "+below+"/drill-*/data/postmaster.pid)")
	_ = drill.Wait() // how it ended is looked at next
	if code := drill.ProcessState.ExitCode(); code != 1 || !strings.Contains(said.String(), "slow.sql: ") {
		t.Errorf("exit status %d\n%s\nwant 1 and which query failed", code, said.String())
	}
	p.noneLeft(t, below, "warmrun drill")
	if err := os.Remove(p.DR.Path(slow)); err != nil {
		t.Fatal(err)
	}
	wantOutput(t, p.DR.Must("drill"), "The recovery works")
}
