package tests

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/ship"
)

// TestTrust: WAL flows with a key that trust has made when there is no other,
// and that key can do nothing else.
func TestTrust(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DB1.Must("copyToStandby", "--start")
	keys := c.DB2.Path(c.DB2.AuthorizedKeys())
	own := readFile(t, keys)
	trust := func(args ...string) cluster.Result { return c.DB1.Must(append([]string{"trust", "db2"}, args...)...) }
	wantOutput(t, trust("--authorized-keys", c.DB2.AuthorizedKeys()), "db2 takes WAL from this node's own key now")
	wantOutput(t, trust(), "takes WAL from this node's own key already")
	line := strings.TrimPrefix(readFile(t, keys), own)
	if want := `restrict,command="` + c.DB2.Binary() + " --home " + c.DB2.Home + " --pgdata " + c.DB2.PGData + ` agent --restricted" ssh-ed25519 `; !strings.HasPrefix(line, want) || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, " warmrun-ship@db1\n") {
		t.Fatalf("the file held\n%s\nand now, too,\n%s\nwant one line that begins with\n%s", own, line, want)
	}

	// From here on the user's key opens db2 no more.
	replaceFile(t, keys, line)
	archives(t, c)
	if log := c.DB1.LogTail(1000); strings.Contains(log, "with your own keys") {
		t.Errorf("the user's keys were tried:\n%s", log)
	}
	key := filepath.Join(c.DB1.Home, "local", "ship", "db2", "id_ed25519")
	checkPowerless(t, c.DB2, c.DB1.Path(key))

	// Without the line the user's keys do, with a warning, once the connection
	// that is held has ended.
	replaceFile(t, keys, own)
	c.DB1.Must("shipper", "stop")
	archives(t, c)
	cluster.Eventually(t, time.Minute, "there is a warning in the server's log", func() (bool, error) {
		return strings.Contains(c.DB1.LogTail(1000), "warmrun: warning: shipping to db2 with your own keys"), nil
	})
	wantOutput(t, trust(), "takes WAL from this node's own key again")
	old := readFile(t, c.DB1.Path(key))
	wantOutput(t, trust("--renew"), "the old one is gone")
	if readFile(t, c.DB1.Path(key)) == old || strings.Count(readFile(t, keys), "warmrun-ship@db1") != 1 {
		t.Errorf("want another key, and only its line:\n%s", readFile(t, keys))
	}
	archives(t, c)
	wantOutput(t, trust("--remove", "--json"), `"state": "removed"`)
	if got := readFile(t, keys); got != own {
		t.Errorf("after all, got\n%s\nwant what was there before\n%s", got, own)
	}
	archives(t, c)

	// A key that is not let in changes nothing on either side.
	elsewhere := filepath.Join(c.DB2.Dir, ".ssh", "elsewhere")
	if result := c.DB1.Run("trust", "db2", "--authorized-keys", elsewhere); result.Code != 1 || !strings.Contains(result.Stderr, "have this line put into it: restrict,") {
		t.Errorf("%s\nwant exit code 1 and the line", result)
	}
	if got := readFile(t, c.DB2.Path(elsewhere)); got != "" {
		t.Errorf("left behind in a file that sshd does not read: %s", got)
	}
	if c.DB1.Exists(key) {
		t.Error("a key that is not let in is used")
	}

	// Nor is one that the other node lets do anything.
	replaceFile(t, keys, own+publicOf(t, c.DB1.Path(filepath.Join(filepath.Dir(key), "next_ed25519"))))
	if result := c.DB1.Run("trust", "db2", "--authorized-keys", elsewhere); result.Code != 1 || !strings.Contains(result.Stderr, "this key can run any command") {
		t.Errorf("%s\nwant exit code 1, because the key can do everything", result)
	}
	if c.DB1.Exists(key) {
		t.Error("a key that can do everything is used")
	}

	// A host that is not known is not talked to.
	known := filepath.Join(filepath.Dir(filepath.Dir(c.DB2.AuthorizedKeys())), "known_hosts")
	replaceFile(t, known, "")
	if result := c.DB1.Run("trust", "db2"); result.Code != 1 || !strings.Contains(result.Stderr, "the host key of "+c.DB2.Address) || !strings.Contains(result.Stderr, "hint: see what the host shows with `ssh-keyscan") {
		t.Errorf("%s\nwant the fingerprint, and what to do", result)
	}
}

// publicOf is the public half of a private key, as a line.
func publicOf(t *testing.T, path string) string {
	t.Helper()
	signer, err := ssh.ParsePrivateKey([]byte(readFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// TestTrustWhereSSHDLooks: in a 2warm tree, with sshd as strict as it comes and
// the keys in the account's own file, without anything being said of either.
// Archiving, relaying and fetching all use the keys.
func TestTrustWhereSSHDLooks(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{Layout: cluster.TwoWarm, SSHD: []string{"StrictModes yes", "AuthorizedKeysFile .ssh/authorized_keys"}})
	file := filepath.Join(c.DB1.Dir, ".ssh", "authorized_keys")
	for _, n := range c.Nodes() {
		n.Write(file, readFile(t, n.AuthorizedKeys()))
	}
	c.DB1.Must("distrib")
	wantOutput(t, c.DB1.Must("trust"), "dr takes WAL from this node's own key now")
	result := c.DB1.Must("trust", "--json")
	if got := strings.Count(result.Stdout, `"state": "present"`); got != 2 {
		t.Errorf("%s\nwant two nodes where it is present", result)
	}
	for _, n := range []*cluster.Node{c.DB2, c.DR} {
		text := readFile(t, n.Path(file))
		if want := " --home " + n.Home + " --pgdata " + n.PGData + ` agent --restricted" ssh-ed25519 `; strings.Count(text, want) != 1 {
			t.Errorf("%s: got\n%s\nwant one line with %s", n.Name, text, want)
		}
	}
	c.DB2.Must("configStandby")
	c.DR.Must("configStandby")
	c.DB1.Must("copyToStandby", "--start")
	c.DB1.Must("copyToDR", "--start")
	ships := func(n *cluster.Node, what string, do func()) {
		t.Helper()
		before := strings.Count(n.SSHLog(), "Starting session: forced-command")
		do()
		if strings.Count(n.SSHLog(), "Starting session: forced-command") == before {
			t.Errorf("%s to %s did not use the key that was made for it", what, n.Name)
		}
	}
	segment := ""
	c.DB1.Must("shipper", "stop") // what it holds was opened before
	ships(c.DB2, "archiving", func() { segment = archives(t, c) })
	c.DB2.Must("trust")
	ships(c.DR, "relaying", func() { c.DB2.Must("rsyncDR") })
	if err := os.Remove(c.DB2.Path(filepath.Join(c.DB2.Archive(), segment))); err != nil {
		t.Fatal(err)
	}
	ships(c.DB1, "fetching", func() { c.DB2.Must("fetch", segment) })
	if !c.DB2.Exists(filepath.Join(c.DB2.Archive(), segment)) {
		t.Errorf("%s was not fetched", segment)
	}
	if log := c.DB1.LogTail(1000); strings.Contains(log, "with your own keys") {
		t.Errorf("the user's keys were tried:\n%s", log)
	}
}

// archives ends a segment on db1 and waits until it is in db2's archive.
func archives(t *testing.T, c *cluster.Cluster) (segment string) {
	t.Helper()
	segment = c.DB1.SQL("SELECT pg_walfile_name(pg_switch_wal()) FROM pg_create_restore_point('test')")
	cluster.Eventually(t, time.Minute, segment+" is in db2's archive", func() (bool, error) {
		_, err := os.Stat(filepath.Join(c.DB2.Path(c.DB2.Archive()), segment))
		return err == nil, err
	})
	return segment
}

// checkPowerless tries what a key could do that is not restricted.
func checkPowerless(t *testing.T, n *cluster.Node, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := remote.Dial(ctx, n.SSH(), remote.Options{HomeDir: t.TempDir(), OnlyKey: key})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, command := range []string{"echo free", "", "rm -rf /", n.Binary() + " --home " + n.Home + " agent --archive /tmp"} {
		agent, err := ship.Connect(ctx, func(ctx context.Context) (io.ReadWriteCloser, error) { return client.Start(ctx, command) })
		if err != nil {
			t.Fatalf("%q: got %v, want an agent", command, err)
		}
		names, err := agent.List(ctx)
		if err != nil || len(names) == 0 || !agent.Restricted() {
			t.Errorf("%q: got %d files, %v, restricted: %v, want db2's own archive", command, len(names), err, agent.Restricted())
		}
		if err := agent.RaiseFence(ctx, walcore.Cut{Epoch: 99, Timeline: 1, LSN: 8, By: "nobody"}); !errors.Is(err, ship.ErrRestricted) {
			t.Errorf("%q: raise the fence: got %v, want it refused", command, err)
		}
		if err := agent.Close(); err != nil {
			t.Error(err)
		}
	}
	if powers, err := client.Powers(ctx); err != nil || len(powers) > 0 {
		t.Errorf("got the powers to %q, %v, want none", powers, err)
	}
	socket := filepath.Join(n.Path(n.SocketDir), ".s.PGSQL."+strconv.Itoa(n.Port))
	if conn, err := client.DialUnix(ctx, socket); err == nil {
		t.Errorf("the server's socket %s was reached", socket)
		_ = conn.Close()
	}
}

func wantOutput(t *testing.T, result cluster.Result, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(result.Stdout, want) {
			t.Errorf("%s\nwant %q", result, want)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// replaceFile keeps owner and mode.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
