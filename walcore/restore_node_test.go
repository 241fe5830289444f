package walcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// serverLimit bounds every wait for a server in these tests.
const serverLimit = 40 * time.Second

// postgres is an installation of PostgreSQL and a place for servers of it.
type postgres struct {
	bin    string
	major  int
	dir    string              // the servers' user may write here
	runAs  *syscall.Credential // nil: as whoever runs the test
	helper string              // this test's program, where that user can run it
}

// usePostgres is the installation with its programs in bin.
func usePostgres(t *testing.T, bin string) *postgres {
	t.Helper()
	p := &postgres{bin: bin}
	dir, err := os.MkdirTemp("", "warmrun-restore-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p.dir, p.helper = dir, filepath.Join(dir, "restore-helper")
	if os.Getuid() == 0 {
		p.runAs = serverUser(t)
	}
	self, err := os.Executable()
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), copyFile(self, p.helper))
	}
	if err == nil && p.runAs != nil {
		err = os.Chown(dir, int(p.runAs.Uid), int(p.runAs.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serverUser is who servers run as when the test is run by root.
func serverUser(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("servers do not run as root, and there is no user postgres: install PostgreSQL or run make install-test (%v)", err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err == nil {
		_, err = io.Copy(out, in)
		err = errors.Join(err, out.Close())
	}
	return errors.Join(err, in.Close())
}

// try runs a command as the servers' user.
func (p *postgres) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), serverLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.runAs}
	// A server that is started keeps what it inherits, so no pipe to wait on.
	out, err := os.CreateTemp(p.dir, "output-")
	if err != nil {
		return "", err
	}
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	said, errRead := os.ReadFile(out.Name())
	return string(said), errors.Join(err, errRead, out.Close(), os.Remove(out.Name()))
}

func (p *postgres) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if said, err := p.try(name, args...); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, said)
	}
}

// node is one server.
type node struct {
	*postgres
	t       *testing.T
	data    string
	log     string
	archive string // of its own
	port    int
}

// add makes a node whose data directory is a copy of base, or a new cluster.
func (p *postgres) add(t *testing.T, name string, base *node) *node {
	t.Helper()
	dir := filepath.Join(p.dir, name)
	n := &node{postgres: p, t: t, data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"), archive: filepath.Join(dir, "archive")}
	p.run(t, "mkdir", dir, n.archive)
	if base == nil {
		p.run(t, filepath.Join(p.bin, "initdb"), "-D", n.data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
		version, err := os.ReadFile(filepath.Join(n.data, "PG_VERSION"))
		if err == nil {
			p.major, err = strconv.Atoi(strings.TrimSpace(string(version)))
		}
		if err != nil {
			t.Fatal(err)
		}
	} else {
		p.run(t, "cp", "-a", base.data, n.data)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.port = listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	n.configure(fmt.Sprintf(`
listen_addresses = ''
unix_socket_directories = '%s'
port = %d
cluster_name = '%s'
shared_buffers = 1MB
fsync = off
wal_level = replica
hot_standby = on
wal_retrieve_retry_interval = 60s
logging_collector = off
`, p.dir, n.port, name))
	t.Cleanup(n.kill)
	return n
}

// configure adds lines to a file of the data directory.
func (n *node) configure(lines string) { n.append("postgresql.conf", lines) }

func (n *node) append(file, content string) {
	n.t.Helper()
	f, err := os.OpenFile(filepath.Join(n.data, file), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err == nil {
		_, err = f.WriteString(content)
		err = errors.Join(err, f.Close())
	}
	if err == nil && n.runAs != nil {
		err = os.Chown(f.Name(), int(n.runAs.Uid), int(n.runAs.Gid))
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// recover makes the node a standby, or recovers it otherwise, by this
// program's restore.
func (n *node) recover(standby bool, o helperOptions) {
	n.t.Helper()
	options, err := json.Marshal(o)
	if err != nil {
		n.t.Fatal(err)
	}
	command := fmt.Sprintf(`restore_command = 'GORACE=atexit_sleep_ms=0 WARMRUN_RESTORE_HELPER=''%s'' %s -test.run=^TestRestoreHelper$ %%f %%p %%r'
recovery_target_timeline = 'latest'
`, options, n.helper)
	if o.Wait && n.major >= 15 {
		n.configure("recovery_prefetch = off\n")
	}
	switch {
	case n.major < 12 && standby:
		n.append("recovery.conf", command+"standby_mode = on\n")
	case n.major < 12:
		n.append("recovery.conf", command)
	case standby:
		n.configure(command)
		n.append("standby.signal", "")
	default:
		n.configure(command)
		n.append("recovery.signal", "")
	}
}

func (n *node) ctl(args ...string) (string, error) {
	return n.try(filepath.Join(n.bin, "pg_ctl"), append(args, "-D", n.data)...)
}

func (n *node) start() {
	n.t.Helper()
	if said, err := n.ctl("start", "-w", "-l", n.log); err != nil {
		n.t.Fatalf("start: %v\n%s\n%s", err, said, n.logged())
	}
}

func (n *node) stop() {
	n.t.Helper()
	if said, err := n.ctl("stop", "-w", "-m", "fast"); err != nil {
		n.t.Fatalf("stop: %v\n%s\n%s", err, said, n.logged())
	}
}

// kill ends the server at the end of a test, whatever state it is in, and sees
// to it that no restore_command outlives it.
func (n *node) kill() {
	if _, err := os.Stat(filepath.Join(n.data, "postmaster.pid")); err == nil {
		if said, err := n.ctl("stop", "-w", "-m", "immediate"); err != nil && n.running() {
			n.t.Errorf("a server was left running in %s: %v\n%s", n.data, err, said)
		}
	}
	n.deserted()
}

// deserted waits until no process runs in the data directory any more.
func (n *node) deserted() {
	n.t.Helper()
	n.eventually(func() string { return "a process outlives its server in " + n.data }, func() bool {
		processes, err := filepath.Glob("/proc/[0-9]*/cwd")
		for _, cwd := range processes {
			if dir, errLink := os.Readlink(cwd); errLink == nil && dir == n.data {
				return false
			}
		}
		return err == nil
	})
}

func (n *node) running() bool {
	_, running := hostProcesses.server(n.data)
	return running
}

func (n *node) logged() string {
	content, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// query is the single value of a query, as text; an error's text where the
// server does not answer.
func (n *node) query(sql string) string {
	ctx, cancel := context.WithTimeout(context.Background(), serverLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", n.dir, n.port))
	if err != nil {
		return err.Error()
	}
	var value string
	err = conn.QueryRow(ctx, sql).Scan(&value)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return err.Error()
	}
	return value
}

// until polls until a query gives want.
func (n *node) until(sql, want string) {
	n.t.Helper()
	var got string
	n.eventually(func() string { return fmt.Sprintf("%s: got %s, want %s", sql, got, want) }, func() bool {
		got = n.query(sql)
		return got == want
	})
}

func (n *node) eventually(what func() string, ok func() bool) {
	n.t.Helper()
	deadline := time.After(serverLimit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			n.t.Fatalf("%s\n%s", what(), n.logged())
		case <-tick.C:
		}
	}
}

// wants polls until the server is known to wait for a file.
func (n *node) wants(name SegmentName, waiting bool) {
	n.t.Helper()
	var all []Wanted
	n.eventually(func() string { return fmt.Sprintf("waiting for %s: got %+v", name, all) }, func() bool {
		all, _ = (&Archive{dir: n.archive}).Wanted() // looked at again
		return len(all) == 1 && all[0].Waiting == waiting && all[0].wants(FileName(name))
	})
}

// ship puts a file of another archive into the node's.
func (n *node) ship(from *node, names ...string) {
	n.t.Helper()
	for _, name := range names {
		n.run(n.t, "cp", filepath.Join(from.archive, name), filepath.Join(n.archive, "arriving"))
		n.run(n.t, "mv", filepath.Join(n.archive, "arriving"), filepath.Join(n.archive, name))
	}
}

// timeline is the one that a server writes on, once it has been promoted.
func (n *node) timeline() string {
	n.t.Helper()
	n.until("SELECT pg_is_in_recovery()::text", "false")
	n.query("CHECKPOINT")
	return n.query("SELECT timeline_id::text FROM pg_control_checkpoint()")
}

const countRows = "SELECT count(*)::text FROM ledger"

// produce inserts rows, each into a segment of its own, and returns the names
// of those segments once they are archived.
func (n *node) produce(rows int) []string {
	n.t.Helper()
	n.query("CREATE TABLE IF NOT EXISTS ledger (id int)")
	var names []string
	for range rows {
		n.query("INSERT INTO ledger SELECT count(*) FROM ledger")
		name := n.query("SELECT pg_walfile_name(pg_switch_wal())")
		if _, err := ParseSegmentName(name); err != nil {
			n.t.Fatalf("switch WAL: %v", err)
		}
		names = append(names, name)
	}
	last := filepath.Join(n.archive, names[len(names)-1])
	n.eventually(func() string { return last + " was not archived" }, func() bool {
		found, err := exists(last)
		return found && err == nil
	})
	return names
}
