package tests

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// refusal is a command that must not be carried out.
type refusal struct {
	name string
	node *cluster.Node
	args []string
	code int
	want string // in the error line
}

// TestRefusals gives a healthy cluster commands that it must refuse: each gets
// one line with the error, a hint, the right exit status, and changes nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DR.Must("configStandby")
	c.DB1.Must("copyToStandby", "--start")
	c.DB1.SQL("CREATE TABLE t AS SELECT 1 AS i")
	c.DB2.WaitReplay(c.DB1, time.Minute)

	db2 := filepath.Join(c.DB2.Home, "global", "cluster.toml")
	nothing := func(*testing.T) {}
	for _, test := range []struct {
		spoil func(*testing.T)
		refusal
		hint string // in the hint line
	}{
		{nothing, refusal{"flushPrimary on the standby", c.DB2, []string{"flushPrimary", "--drain", "0s"}, 1, "db2"}, "run it on db1"},
		{nothing, refusal{"copyToStandby on the standby", c.DB2, []string{"copyToStandby"}, 1, "db2"}, "run it on db1"},
		{nothing, refusal{"triggerStandby on the primary", c.DB1, []string{"triggerStandby"}, 1, "db1"}, "run it on db2"},
		{nothing, refusal{"triggerStandby beside a primary", c.DB2, []string{"triggerStandby", "fast", "--yes"}, 1, "accepts writes (timeline 1)"}, "warmrun switchover"},
		{nothing, refusal{"failover beside a primary", c.DB2, []string{"failover", "--yes"}, 1, "accepts writes"}, "warmrun switchover"},
		{nothing, refusal{"failover beside a primary, without a terminal", c.DB2, []string{"failover"}, 1, "accepts writes"}, "warmrun switchover"},
		{nothing, refusal{"failover to an empty node", c.DR, []string{"failover", "--accept-split", "--yes"}, 1, "dr"}, "run it on db2"},
		{nothing, refusal{"configStandby on the primary", c.DB1, []string{"configStandby"}, 1, "running"}, ""},
		{nothing, refusal{"configStandby on the primary, by force", c.DB1, []string{"configStandby", "--erase"}, 1, "running"}, ""},
		{nothing, refusal{"an option that is none", c.DB1, []string{"switchover", "--dran", "1s"}, 2, "dran"}, ""},
		{nothing, refusal{"a value that is none", c.DB1, []string{"switchover", "--drain", "soon"}, 2, "soon"}, ""},
		{nothing, refusal{"a runbook that is none", c.DB1, []string{"switchovr"}, 2, "switchovr"}, ""},
		{edit(c.DB2, db2, c.DB2.Home+"'\nbin_dir = '", c.DB2.Home+"'\nbin_dir = '/nonexistent"),
			refusal{"switchover to a server that could not be started again", c.DB1, []string{"switchover", "--drain", "0s"}, 1, "the server on db2 cannot be controlled"}, "bin_dir"},
		{func(*testing.T) { c.DB2.StopServer("fast") }, refusal{"switchover to a standby that is down", c.DB1, []string{"switchover", "--drain", "0s"}, 1, "the standby db2 is not running"}, "on db2: pg_ctl"},
		// Without the program there a standby would go down: the shell exits with 127.
		{otherMachine(c.DB2), refusal{"distrib to another architecture", c.DB1, []string{"distrib"}, 1, "db2 is a machine of another kind"}, "build warmrun for it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.spoil(t)
			test.check(t, c, test.hint)
		})
	}
}

// TestDistribRetires: a runbook that the site has given up is given up on every
// node, and what belongs to a node stays.
func TestDistribRetires(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	own := filepath.Join(c.DB1.Home, "global", "runbooks", "flushPrimary.lua")
	there := filepath.Join(c.DB2.Home, "global", "runbooks", "flushPrimary.lua")
	t.Run("with it", func(t *testing.T) {
		place(c.DB1, own, "return 1\n")(t)
		c.DB1.Must("distrib")
	})
	if !c.DB2.Exists(there) {
		t.Fatalf("distrib has not brought %s", there)
	}
	env := c.DB2.Must("env").Stdout
	for _, want := range []string{"overridden", "flushPrimary.lua", "keep_backups", "no limit", "compress"} {
		if !strings.Contains(env, want) {
			t.Errorf("env prints\n%s\nwant %q", env, want)
		}
	}
	local := filepath.Join(c.DB2.Home, "local", "note.lua")
	place(c.DB2, local, "return 1\n")(t)
	const want = "global/runbooks/flushPrimary.lua is no longer on the node that distributes; on db2 it is flushPrimary.lua.removed now"
	if said := c.DB1.Must("distrib"); !strings.Contains(said.Stdout+said.Stderr, want) {
		t.Errorf("%s\nwant %q", said, want)
	}
	if c.DB2.Exists(there) || !c.DB2.Exists(there+".removed") || !c.DB2.Exists(local) {
		t.Errorf("after distrib, on db2: override %t, kept as .removed %t, local/note.lua %t; want false, true, true",
			c.DB2.Exists(there), c.DB2.Exists(there+".removed"), c.DB2.Exists(local))
	}
}

// otherMachine makes a node's shell say that its processor is another one, and
// takes the program away, which would not be there.
func otherMachine(n *cluster.Node) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		place(n, filepath.Join(n.Dir, ".bashrc"), "uname() { echo Linux sparc64; }\n")(t)
		binary := n.Path(n.Binary())
		if err := os.Rename(binary, binary+".away"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Rename(binary+".away", binary); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStatusOfASpoiltHome: a primary whose cluster.toml has a mistake lives.
func TestStatusOfASpoiltHome(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Must("distrib")
	edit(c.DB1, filepath.Join(c.DB1.Home, "global", "cluster.toml"), "pgdata =", "pgdta =")(t)
	said := c.DB2.Must("status").Stdout
	for _, want := range []string{"db1 answers, but its warmrun fails", "pgdta", "hint: db1: it answers"} {
		if !strings.Contains(said, want) {
			t.Errorf("status says\n%s\nwant %q", said, want)
		}
	}
	if strings.Contains(said, "unreachable") || strings.Contains(said, "failover") {
		t.Errorf("status says\n%s\nwant nothing of unreachable and failover", said)
	}
}

// TestSpoiltHomes: a home directory that somebody has got wrong.
func TestSpoiltHomes(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	n := c.DB1
	toml, runbooks := filepath.Join(n.Home, "global", "cluster.toml"), filepath.Join(n.Home, "global", "runbooks")+"/"
	const mine = "return runbook {\n  api = 1, name = 'mine', summary = 'x', runs_on = 'any',\n  steps = { step { 'a', tiemout = '3s', run = function(c) end } },\n}\n"
	place(n, filepath.Join(n.PGData, "pg_wal", "00000002.history"), "1\t0/3000000\tx\n")(t)
	for _, test := range []struct {
		spoil func(t *testing.T)
		refusal
	}{
		{edit(n, toml, "pgdata =", "pgdta ="), refusal{"a key misspelt", n, []string{"status"}, 1, "pgdta"}},
		{edit(n, toml, "[cluster]", "[cluster"), refusal{"no TOML", n, []string{"status"}, 1, toml}},
		{edit(n, filepath.Join(n.Home, "local", "node"), "db1", "db7"), refusal{"an unknown node", n, []string{"status"}, 1, "db7"}},
		{func(*testing.T) {}, refusal{"a name that is no WAL file's", n, []string{"archive", "pg_wal/postgresql.conf", "postgresql.conf"}, 2, "postgresql.conf"}},
		{func(*testing.T) {}, refusal{"no such home", n, []string{"--home", "/nonexistent", "status"}, 1, "/nonexistent"}},
		{place(n, runbooks+"flushPrimary.lua", "return runbook {\n  api = 1\n  name = 2,\n}\n"), refusal{"a runbook that is no Lua", n, []string{"flushPrimary"}, 1, "flushPrimary.lua:3: "}},
		{place(n, runbooks+"mine.lua", mine), refusal{"a runbook with a key misspelt", n, []string{"mine"}, 1, "mine.lua:3: unknown key tiemout"}},
		{edit(n, toml, n.PGData+"'", "/nonexistent'"), refusal{"PGDATA of another cluster", n, []string{"flushPrimary", "--drain", "0s"}, 2, "$PGDATA names " + n.PGData}},
		{edit(n, toml, n.PGData+"'", "/nonexistent'"), refusal{"no data directory", n, []string{"--pgdata", "/nonexistent", "flushPrimary", "--drain", "0s"}, 1, "db1 has no data directory at /nonexistent"}},
		{func(*testing.T) {}, refusal{"a data directory that does not exist", n, []string{"--pgdata", "/nonexistent", "flushPrimary", "--drain", "0s"}, 2, "--pgdata names /nonexistent"}},
		{closed(n, n.Archive(), 0o500), refusal{"an archive that cannot be written", n, []string{"archive", "pg_wal/00000002.history", "00000002.history"}, 1, "permission denied"}},
		{closed(n, n.Archive(), 0), refusal{"an archive that is closed", n, []string{"archive", "pg_wal/00000002.history", "00000002.history"}, 1, "permission denied"}},
		{edit(n, toml, "bin_dir = '", "bin_dir = '/nonexistent"), refusal{"no pg_ctl", n, []string{"startPrimary"}, 1, "db1 cannot be controlled"}},
		{closedData(n), refusal{"a data directory that is closed", n, []string{"flushPrimary", "--drain", "0s"}, 1, "the data directory " + n.PGData + " cannot be read"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.spoil(t)
			test.check(t, c, "")
		})
	}
}

// edit replaces a text in a file on the node, until the test ends.
func edit(n *cluster.Node, inside, from, to string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		path := n.Path(inside)
		before, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(before), from) {
			t.Fatalf("%s has no %q in it (%v)", path, from, err)
		}
		write(t, path, strings.Replace(string(before), from, to, 1))
		t.Cleanup(func() { write(t, path, string(before)) })
	}
}

// place puts a file onto the node, until the test ends.
func place(n *cluster.Node, inside, text string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		path := n.Path(inside)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
		t.Cleanup(func() {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
}

// closed takes permissions from a directory on the node, which is made if it
// is not there, until the test ends.
func closed(n *cluster.Node, inside string, mode fs.FileMode) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		path := n.Path(inside)
		if result := n.Exec("mkdir", "-p", inside); result.Code != 0 {
			t.Fatal(result)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Chmod(path, 0o700); err != nil {
				t.Error(err)
			}
		})
	}
}

// closedData stops the server first, which would not survive it.
func closedData(n *cluster.Node) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		n.StopServer("fast")
		closed(n, n.PGData, 0)(t)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// check runs the command and compares what the cluster is before and after it.
func (r refusal) check(t *testing.T, c *cluster.Cluster, hint string) {
	t.Helper()
	before := fingerprint(t, c)
	result := r.node.Run(r.args...)
	if result.Code != r.code {
		t.Errorf("exit status %d, want %d", result.Code, r.code)
	}
	var failures, hints []string
	for line := range strings.Lines(result.Stderr) {
		if text, ok := strings.CutPrefix(line, "warmrun: error: "); ok {
			failures = append(failures, text)
		}
		if text, ok := strings.CutPrefix(line, "warmrun: hint: "); ok {
			hints = append(hints, text)
		}
	}
	if len(failures) != 1 || !strings.Contains(failures[0], r.want) {
		t.Errorf("error lines %q, want one with %q", failures, r.want)
	}
	if len(hints) != 1 || !strings.Contains(hints[0], hint) {
		t.Errorf("hints %q, want one with %q", hints, hint)
	}
	if after := fingerprint(t, c); !maps.Equal(before, after) {
		t.Errorf("something has changed:\n%s", difference(before, after))
	}
	if t.Failed() {
		t.Logf("%s", result)
	}
}

// fingerprint is everything of the nodes that a change of state would touch:
// what the servers are, and the files that say so. A run's own record, what a
// shipper logs, and what a node has noted of another, are not part of it.
func fingerprint(t *testing.T, c *cluster.Cluster) map[string]string {
	t.Helper()
	print := map[string]string{}
	for _, n := range c.Nodes() {
		for _, root := range []string{filepath.Join(n.Home, "local"), filepath.Join(n.Archive(), ".warmrun", "fence"), n.PGData} {
			depth := root != n.PGData // of PGDATA only what lies at its top
			walk(t, n, root, depth, print)
		}
		state, err := n.TrySQL("SELECT pg_is_in_recovery() || ' ' || timeline_id FROM pg_control_checkpoint()")
		if err != nil {
			state = "not running"
		}
		print[n.Name+" server"] = state
	}
	return print
}

func walk(t *testing.T, n *cluster.Node, root string, deep bool, print map[string]string) {
	t.Helper()
	top := n.Path(root)
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // servers make and remove files all the time
		case err != nil:
			return err
		case entry.IsDir() && path != top && (!deep || slices.Contains([]string{"runs", "seen", "ship"}, entry.Name())):
			return filepath.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		print[n.Name+" "+path] = fmt.Sprintf("%d bytes, %x", len(data), sha256.Sum256(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func difference(before, after map[string]string) string {
	var b strings.Builder
	for key, was := range before {
		if is, ok := after[key]; !ok || is != was {
			fmt.Fprintf(&b, "  %s: was %s, is %q\n", key, was, is)
		}
	}
	for key, is := range after {
		if _, ok := before[key]; !ok {
			fmt.Fprintf(&b, "  %s: was not there, is %s\n", key, is)
		}
	}
	return b.String()
}
