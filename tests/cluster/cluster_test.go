package cluster

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNodes shows that the harness builds what it promises, in both layouts.
func TestNodes(t *testing.T) {
	for name, layout := range map[string]Layout{"toml": TOML, "2warm": TwoWarm} {
		t.Run(name, func(t *testing.T) {
			c := New(t, Options{Layout: layout})
			if got := c.DB1.SQL("SELECT current_user::text"); got != c.account.name {
				t.Errorf("SQL as %q, want %q", got, c.account.name)
			}
			if got := c.DB1.SQL("SHOW data_directory"); got != c.DB1.PGData {
				t.Errorf("data_directory is %q, want %q", got, c.DB1.PGData)
			}
			c.checkSSH(t)

			load := c.StartLoad(2, 5, 0)
			load.WaitRows(200, time.Minute)
			c.DB1.KillServer()
			if _, err := c.DB1.TrySQL("SELECT 1"); err == nil {
				t.Error("the server answers after it was killed")
			}
			c.DB1.StartServer()
			load.WaitRows(load.Ledger.Snapshot().Acknowledged.Len()+100, time.Minute)
			resume := load.Pause()
			defer resume()
			Check(t, "after a crash", c.DB1, load.Ledger.Snapshot())

			c.DB1.Cut()
			if left, err := c.DB1.processes(c.DB1.isServer); err != nil || len(left) > 0 {
				t.Errorf("processes %v are left on a cut node (%v)", left, err)
			}
			c.DB1.Uncut()
			c.DB1.StartServer()
			Check(t, "after the cut", c.DB1, load.Ledger.Snapshot())
		})
	}
}

// checkSSH logs in from node to node as a person would.
func (c *Cluster) checkSSH(t *testing.T) {
	t.Helper()
	for _, n := range c.Nodes() {
		// OpenSSH takes ~ from the password file, not from $HOME: the paths are
		// given. What they hold is what warmrun finds by itself.
		dir := filepath.Join(c.DB1.Dir, ".ssh")
		args := []string{"-F", filepath.Join(dir, "config"), "-i", filepath.Join(dir, "id_ed25519"), "-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), n.Name}
		if c.layout == TOML {
			args = []string{"-F", "none", "-i", c.key, "-o", "UserKnownHostsFile=" + filepath.Join(c.root, "ssh", "known_hosts"), "-p", strconv.Itoa(n.sshd.Port), n.Address}
		}
		result := c.DB1.Exec("/usr/bin/ssh", append(args, `hostname; echo "$HOME"; ls -d "$HOME/run"`)...)
		lines := strings.Fields(result.Stdout)
		if result.Code != 0 || len(lines) != 3 || lines[1] != n.Dir {
			t.Errorf("%s\nwant a session in %s", result, n.Dir)
			continue
		}
		if c.layout == TwoWarm && lines[0] != n.Name {
			t.Errorf("the host name on %s is %s", n.Name, lines[0])
		}
	}
}

// TestMachines: links really are cut and disks really are full, while the nodes
// live on.
func TestMachines(t *testing.T) {
	c := New(t, Options{Machines: true, SegmentSize: 1})
	if got := c.DB1.SQL("SHOW wal_segment_size"); got != "1MB" {
		t.Errorf("wal_segment_size is %s, want 1MB", got)
	}
	reach := func(from, to *Node) bool {
		address := fmt.Sprintf("/dev/tcp/%s/%d", to.Address, to.sshd.Port)
		return from.Exec("/usr/bin/timeout", "5", "/bin/bash", "-c", "exec 3<>"+address+" && read -t 3 <&3").Code == 0
	}
	check := func(when string, want bool, from, to *Node) {
		t.Helper()
		got := reach(from, to)
		for range 20 { // the kernel may remember for a while that nobody answered
			if want && !got {
				<-time.After(250 * time.Millisecond)
				got = reach(from, to)
			}
		}
		if got != want {
			t.Errorf("%s: %s reaches %s: %v, want %v", when, from.Name, to.Name, got, want)
		}
	}
	check("at first", true, c.DB1, c.DB2)
	c.DB1.CutLink(c.DB2)
	check("link cut", false, c.DB1, c.DB2)
	check("link cut", true, c.DB1, c.DR)
	c.DB1.RestoreLink(c.DB2)
	check("link back", true, c.DB2, c.DB1)
	c.DB2.Cut()
	c.DB2.Uncut()
	check("started again", true, c.DB1, c.DB2)

	dir := filepath.Join(c.DB2.Home, "local")
	c.DB2.Mount(dir, 1<<20)
	if !c.DB2.Exists(filepath.Join(dir, "postgresql.conf")) {
		t.Error("a directory that was moved to a disk is empty")
	}
	write := func(path string) int {
		return c.DB2.Exec("/bin/dd", "if=/dev/zero", "of="+path, "bs=10k", "count=1").Code
	}
	empty := c.DB2.Fill(dir, 0)
	if write(filepath.Join(dir, "file")) == 0 {
		t.Error("a full disk takes a file")
	}
	empty()
	if write(filepath.Join(dir, "file")) != 0 {
		t.Error("a disk that has room again takes no file")
	}
	c.DB2.FillTmp()
	if write("/tmp/file") == 0 {
		t.Error("a full /tmp takes a file")
	}
	if !c.DB2.Exists(filepath.Join(dir, "file")) || write(filepath.Join(c.DB2.Dir, "file")) != 0 {
		t.Error("the node's own directory is gone with /tmp")
	}
}
