package walcore

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/procstat"
)

// pgServer is a real PostgreSQL server that a test may stop, kill and promote.
type pgServer struct {
	t    *testing.T
	bin  string // its programs
	dir  string // socket, log and data live in it
	data string
}

// installedPostgres is the bin directory of the newest PostgreSQL that is
// installed here.
func installedPostgres(t *testing.T) string {
	t.Helper()
	var dirs []string
	for major := 18; major >= 10; major-- {
		dirs = append(dirs, fmt.Sprintf("/usr/lib/postgresql/%d/bin", major), fmt.Sprintf("/usr/pgsql-%d/bin", major))
	}
	for _, dir := range append(dirs, "/usr/bin") {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir
		}
	}
	t.Fatal("no PostgreSQL server found: install it (Debian: apt-get install postgresql, Fedora: dnf install postgresql-server postgresql-contrib)")
	return ""
}

// newServer makes a cluster with the programs in bin; it is not started yet.
func newServer(t *testing.T, bin string, initdb ...string) *pgServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "walcore-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &pgServer{t: t, bin: bin, dir: dir, data: filepath.Join(dir, "data")}
	s.own(dir)
	s.run(append([]string{"initdb", "-D", s.data, "-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"}, initdb...)...)
	keep := "wal_keep_size = 512MB"
	if s.major() < 13 {
		keep = "wal_keep_segments = 512"
	}
	s.configure(keep, "fsync = off", "listen_addresses = ''", "port = 5432", "unix_socket_directories = '"+dir+"'",
		"log_min_messages = log", "autovacuum = off", "log_checkpoints = on", "max_connections = 42", "wal_level = replica")
	t.Cleanup(s.kill)
	return s
}

// copy is a copy of the stopped cluster, as another server.
func (s *pgServer) copy(name string) *pgServer {
	s.t.Helper()
	c := *s
	c.dir = filepath.Join(s.dir, name)
	c.data = filepath.Join(c.dir, "data")
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.own(c.dir)
	if out, err := exec.Command("cp", "-a", s.data, c.data).CombinedOutput(); err != nil {
		s.t.Fatalf("copy the cluster: %v\n%s", err, out)
	}
	c.configure("unix_socket_directories = '" + c.dir + "'")
	s.t.Cleanup(c.kill)
	return &c
}

// serverUser is who servers run as: postgres if the test is root.
func (s *pgServer) serverUser() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		s.t.Fatalf("servers do not run as root, and there is no user postgres: %v", err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if errUID != nil || errGID != nil {
		s.t.Fatalf("user postgres has the ids %q and %q", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *pgServer) own(dir string) {
	s.t.Helper()
	if err := os.Chmod(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if u := s.serverUser(); u != nil {
		if err := os.Chown(dir, int(u.Uid), int(u.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *pgServer) major() int {
	s.t.Helper()
	content, err := os.ReadFile(filepath.Join(s.data, "PG_VERSION"))
	if err != nil {
		s.t.Fatal(err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		s.t.Fatal(err)
	}
	return major
}

func (s *pgServer) configure(lines ...string) {
	s.t.Helper()
	s.appendTo("postgresql.conf", strings.Join(lines, "\n")+"\n")
}

// appendTo adds text to a file in PGDATA.
func (s *pgServer) appendTo(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.data, name)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	if u := s.serverUser(); u != nil {
		if err := os.Chown(path, int(u.Uid), int(u.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// command is one of the server's own programs, to be run as the server's user.
func (s *pgServer) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, args[0]), args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "HOME="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.serverUser()}
	return cmd
}

func (s *pgServer) run(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(s.log())
		s.t.Fatalf("%s: %v\n%s\nserver log:\n%s", strings.Join(args, " "), err, out, log)
	}
	return string(out)
}

func (s *pgServer) log() string { return filepath.Join(s.dir, "log") }

func (s *pgServer) start() {
	s.t.Helper()
	s.run("pg_ctl", "-D", s.data, "-l", s.log(), "-w", "-t", "60", "start")
}

func (s *pgServer) stop(mode string) {
	s.t.Helper()
	s.run("pg_ctl", "-D", s.data, "-m", mode, "-w", "-t", "60", "stop")
}

// client is a program that talks to the server. Those of the installed version
// do for every major.
func (s *pgServer) client(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(installedPostgres(s.t), name), append([]string{"-h", s.dir, "-p", "5432", "-U", "postgres"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "PGCONNECT_TIMEOUT=10")
	return cmd
}

// sql runs statements, each in its own transaction, and returns what psql
// prints of their results.
func (s *pgServer) sql(statements ...string) string {
	s.t.Helper()
	args := []string{"-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-q"}
	for _, statement := range statements {
		args = append(args, "-c", statement)
	}
	out, err := s.client("psql", args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(statements, "; "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *pgServer) control() ControlFile {
	s.t.Helper()
	c, err := ReadControlFile(s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *pgServer) walDir() string { return WALDir(s.data) }

// kill takes the server's processes away at once, as a crash does. It is no
// error if there are none.
func (s *pgServer) kill() {
	pidFile := filepath.Join(s.data, "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if err != nil {
		return
	}
	postmaster, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(content), "\n", 2)[0]))
	if err != nil || postmaster <= 1 {
		s.t.Errorf("no process in %s", pidFile)
		return
	}
	processes := append([]int{postmaster}, s.children(postmaster)...)
	for _, pid := range processes {
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may be gone already
	}
	for _, pid := range processes {
		s.waitFor("the killed server's processes to go", func() bool { return processState(pid) == "" })
	}
	// Where nobody reaps them its processes remain as zombies, and the next
	// start takes its lock files for those of a running server.
	os.Remove(pidFile)                                    //nolint:errcheck // as above
	os.Remove(filepath.Join(s.dir, ".s.PGSQL.5432.lock")) //nolint:errcheck // as above
}

// children are the processes whose parent is pid.
func (s *pgServer) children(pid int) []int {
	var found []int
	all, err := procstat.All(procstat.Root)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range all {
		if p.Parent == pid {
			found = append(found, p.PID)
		}
	}
	return found
}

// processState is empty for a process that is gone or a zombie.
func processState(pid int) string {
	p, err := hostProcesses.read(pid)
	if err != nil || p.Dead() {
		return ""
	}
	return string(p.State)
}

func (s *pgServer) waitFor(what string, done func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			s.t.Fatalf("waited a minute for %s", what)
		case <-tick.C:
		}
	}
}

// logged is the text after the last occurrence of mark in the server's log, up
// to the first blank.
func (s *pgServer) logged(mark string) string {
	s.t.Helper()
	content, err := os.ReadFile(s.log())
	if err != nil {
		s.t.Fatal(err)
	}
	at := strings.LastIndex(string(content), mark)
	if at < 0 {
		s.t.Fatalf("the server's log has no %q:\n%s", mark, content)
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(content[at+len(mark):])), " ")
	word, _, _ = strings.Cut(word, "\n")
	return strings.TrimSuffix(word, ",")
}

func mustLSN(t *testing.T, text string) LSN {
	t.Helper()
	lsn, err := ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}
