package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/procstat"

	"github.com/warmrun/warmrun/builtins/pgctl"
)

// account is who everything on the nodes runs as.
type account struct {
	name     string
	home     string
	uid, gid uint32
}

// testAccount is postgres where the test runs as root, and the test's own user
// otherwise.
func testAccount(t testing.TB) account {
	t.Helper()
	who, err := user.Current()
	if err == nil && os.Geteuid() == 0 {
		who, err = user.Lookup("postgres")
	}
	if err != nil {
		t.Fatalf("%v: install the PostgreSQL server, which makes the user postgres (make install-test)", err)
	}
	uid, errUID := strconv.ParseUint(who.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(who.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		t.Fatal(err)
	}
	return account{name: who.Username, home: who.HomeDir, uid: uint32(uid), gid: uint32(gid)}
}

func findServer(t testing.TB, given string) (string, pgctl.Version) {
	t.Helper()
	dir, major, err := pgctl.NewestBinDir(10, given)
	if err != nil {
		t.Fatalf("%v: install one (make install-test)", err)
	}
	return dir, major
}

// PGBin is the directory of PostgreSQL's programs.
func (c *Cluster) PGBin() string { return c.pgBin }

// startPrimary makes db1's database and starts its server.
func (c *Cluster) startPrimary() {
	c.t.Helper()
	n := c.DB1
	database, err := c.database()
	if err != nil {
		c.t.Fatalf("make a database: %v", err)
	}
	c.mkdir(n.Path(n.PGData))
	untar := n.Command(c.t.Context(), "/bin/tar", "-C", n.PGData, "-xp")
	untar.Stdin = bytes.NewReader(database)
	if result := n.finish(untar); result.Code != 0 {
		c.t.Fatalf("%s", result)
	}
	c.write(n.Path(filepath.Join(n.PGData, "postgresql.conf")), c.postgresqlConf(n))
	c.write(n.Path(filepath.Join(n.PGData, "pg_hba.conf")), pgHBA)
	// The test may be root, who is to be let in as well.
	c.write(n.Path(filepath.Join(n.PGData, "pg_ident.conf")), fmt.Sprintf("site root %s\nsite %s %s\n", c.account.name, c.account.name, c.account.name))
	n.StartServer()
}

// StartServer starts the node's server with pg_ctl, as an operator does, and
// waits until it is ready.
func (n *Node) StartServer() {
	n.c.t.Helper()
	n.program("pg_ctl", "-D", n.PGData, "-l", filepath.Join(filepath.Dir(n.Log), "startup.log"), "-w", "-t", "120", "start")
}

// StopServer stops the node's server with pg_ctl in the mode given.
func (n *Node) StopServer(mode string) {
	n.c.t.Helper()
	n.program("pg_ctl", "-D", n.PGData, "-m", mode, "-w", "-t", "120", "stop")
}

// program runs one of PostgreSQL's programs on the node.
func (n *Node) program(name string, args ...string) {
	n.c.t.Helper()
	result := n.Exec(filepath.Join(n.c.pgBin, name), args...)
	if result.Code != 0 {
		n.c.t.Fatalf("%s\n%s", result, n.LogTail(10))
	}
}

// KillServer ends the node's server as a crash does, and returns when none of
// its processes is left.
func (n *Node) KillServer() {
	n.c.t.Helper()
	postmasters, err := n.processes(n.isPostmaster)
	if err != nil || len(postmasters) != 1 {
		n.c.t.Fatalf("kill the server on %s: postmasters %v, %v", n.Name, postmasters, err)
	}
	if err := syscall.Kill(postmasters[0], syscall.SIGKILL); err != nil {
		n.c.t.Fatal(err)
	}
	Eventually(n.c.t, 30*time.Second, "the server's processes on "+n.Name+" are gone", func() (bool, error) {
		left, err := n.processes(n.isServer)
		// The dead postmaster's number must be free, or no server starts again.
		return len(left) == 0 && syscall.Kill(postmasters[0], 0) != nil, err
	})
}

// Cut makes the node as good as gone: no ssh server, and nothing runs there.
func (n *Node) Cut() {
	n.c.t.Helper()
	if err := n.cut(n.c.t.Context()); err != nil {
		n.c.t.Fatal(err)
	}
}

func (n *Node) cut(ctx context.Context) error {
	// A machine without power says goodbye to nobody.
	if err := n.each((*network).cut); err != nil {
		return err
	}
	if n.place != nil {
		n.place.end()
		n.place = nil
	}
	if n.sshd != nil {
		n.sshd.Stop()
	}
	return n.killAll(ctx)
}

// Uncut brings the node's ssh server back, as a reboot does, after which /run is
// empty: a lock file of a socket there that was left would stop a server from
// starting if its number has another process by now. The PostgreSQL server is not
// started.
func (n *Node) Uncut() {
	n.c.t.Helper()
	left, err := filepath.Glob(filepath.Join(n.Path(n.SocketDir), ".s.PGSQL.*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.RestoreAll()
	n.makePlace()
	n.startSSH(n.sshd.Port)
}

// StopSSH ends the node's ssh server: no other node reaches it any more, and what
// runs there goes on.
func (n *Node) StopSSH() { n.sshd.Stop() }

// StartSSH brings the ssh server back.
func (n *Node) StartSSH() {
	n.c.t.Helper()
	n.startSSH(n.sshd.Port)
}

// killAll ends every process of the node that is left.
func (n *Node) killAll(ctx context.Context) error {
	for {
		left, err := n.processes(n.isOurs)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, pid := range left {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("processes %v do not end: %w", left, err)
		}
	}
}

// isServer: the process works in the node's data directory, which PostgreSQL's
// processes never leave, and is PostgreSQL.
func (n *Node) isServer(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Base(exe) == "postgres" && n.worksInData(pid)
}

func (n *Node) worksInData(pid int) bool {
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	data, err := os.Stat(n.Path(n.PGData))
	return err == nil && os.SameFile(cwd, data)
}

// isPostmaster: the server's first process, which is no server's child.
func (n *Node) isPostmaster(pid int) bool { return n.isServer(pid) && !n.isServer(parentOf(pid)) }

// isOurs: the process works in the node's data directory, or executes what lies
// on the node. What runs in a place of its own goes with the place.
func (n *Node) isOurs(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasPrefix(exe, n.Dir+"/") || n.worksInData(pid)
}

func (n *Node) processes(which func(pid int) bool) ([]int, error) {
	pids, err := procstat.PIDs(procstat.Root)
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() || !which(pid) || isZombie(pid) }), err
}

func isZombie(pid int) bool {
	p, err := procstat.Read(procstat.Root, pid)
	return err != nil || p.Dead()
}

// parentOf is 0 for a process that is gone.
func parentOf(pid int) int {
	p, _ := procstat.Read(procstat.Root, pid)
	return p.Parent
}

// Server is pgctl's view of the node's server, from outside.
func (n *Node) Server() pgctl.Server {
	return pgctl.Server{PGData: n.Path(n.PGData), BinDir: n.c.pgBin}
}

// Exists reports whether the node has a file at a path that it sees.
func (n *Node) Exists(inside string) bool {
	n.c.t.Helper()
	_, err := os.Lstat(n.Path(inside))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.c.t.Fatal(err)
	}
	return err == nil
}
