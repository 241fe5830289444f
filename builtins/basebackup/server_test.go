package basebackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
)

// serveMode makes the test binary the far end of a copy.
const serveMode = "WARMRUN_BASEBACKUP_TEST_SERVE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(copyMode) != "":
		os.Exit(copyOnce(os.Getenv(copyMode)))
	case os.Getenv(serveMode) == "":
		os.Exit(m.Run())
	}
	stdio := struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}
	if err := filesync.Serve(context.Background(), stdio, filesync.ServeConfig{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// site is a place for servers: a directory that the server account owns.
type site struct {
	t       *testing.T
	dir     string
	account *user.User
	archive string
	bin     string // of the servers' version
	major   int
}

// systemSite is a site for the newest PostgreSQL of this system, which has all
// its programs.
func systemSite(t *testing.T) *site {
	t.Helper()
	bin, major, err := pgctl.NewestBinDir(10, "")
	if err != nil {
		t.Fatalf("%v: install one (make install-test)", err)
	}
	return newSite(t, bin, int(major))
}

func newSite(t *testing.T, bin string, major int) *site {
	t.Helper()
	s := &site{t: t, account: serverAccount(t), bin: bin, major: major}
	dir, err := os.MkdirTemp("", "basebackuptest")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	s.dir = dir
	s.own(dir)
	s.archive = s.mkdir("archive")
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serverAccount is who servers run as: postgres where the test is root's.
func serverAccount(t *testing.T) *user.User {
	t.Helper()
	account, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if os.Geteuid() == 0 {
		account, err = user.Lookup("postgres")
	}
	if err != nil {
		t.Fatalf("find the account for the server: %v", err)
	}
	return account
}

func (s *site) ids() (uid, gid int) {
	uid, errUID := strconv.Atoi(s.account.Uid)
	gid, errGID := strconv.Atoi(s.account.Gid)
	must(s.t, errors.Join(errUID, errGID))
	return uid, gid
}

func (s *site) own(path string) {
	s.t.Helper()
	if os.Geteuid() == 0 {
		uid, gid := s.ids()
		must(s.t, os.Lchown(path, uid, gid))
	}
}

func (s *site) mkdir(name string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	must(s.t, os.Mkdir(path, 0o700))
	s.own(path)
	return path
}

// write makes a file that the server account owns.
func (s *site) write(path, content string) {
	s.t.Helper()
	must(s.t, os.WriteFile(path, []byte(content), 0o600))
	s.own(path)
}

func (s *site) symlink(target, path string) {
	s.t.Helper()
	must(s.t, os.Symlink(target, path))
	s.own(path)
}

// command prepares a command that runs as the server account.
func (s *site) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if os.Geteuid() == 0 {
		uid, gid := s.ids()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd
}

// self is this test binary where the server account can execute it: its own
// directory is private.
func (s *site) self() (string, error) {
	program := filepath.Join(s.dir, "far-end")
	if _, err := os.Lstat(program); !errors.Is(err, fs.ErrNotExist) {
		return program, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	return program, os.WriteFile(program, content, 0o755)
}

// dial starts the far end of a copy, as the server account.
func (s *site) dial(ctx context.Context) (io.ReadWriteCloser, error) {
	program, err := s.self()
	if err != nil {
		return nil, err
	}
	cmd := s.command(ctx, program)
	cmd.Env = append(cmd.Env, serveMode+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &farEnd{cmd: cmd, WriteCloser: in, Reader: out}, nil
}

type farEnd struct {
	cmd *exec.Cmd
	io.WriteCloser
	io.Reader
}

func (f *farEnd) Close() error {
	_ = f.WriteCloser.Close() // it may be closed already; Wait says what counts
	return f.cmd.Wait()
}

// server is a real PostgreSQL server.
type server struct {
	*site
	data    string
	sockets string
	port    int
	loads   int // ids that load has used so far, in millions
	cmd     *exec.Cmd
	log     bytes.Buffer // complete once the server has ended
}

// initdb makes a cluster that archives to the site's archive.
func (s *site) initdb(name string, options ...string) *server {
	s.t.Helper()
	v := s.server(name)
	args := append([]string{"-D", v.data, "--auth=trust", "-N", "--locale=C", "-E", "UTF8", "-U", "postgres", "-k"}, options...)
	if out, err := s.command(s.t.Context(), filepath.Join(s.bin, "initdb"), args...).CombinedOutput(); err != nil {
		s.t.Fatalf("initdb: %v\n%s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(v.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	must(s.t, err)
	_, err = fmt.Fprintf(conf, "listen_addresses = ''\nfsync = off\nshared_buffers = 16MB\narchive_mode = on\n"+
		"archive_command = 'test ! -f \"%[1]s/%%f\" && cp \"%%p\" \"%[1]s/%%f.tmp\" && mv \"%[1]s/%%f.tmp\" \"%[1]s/%%f\"'\n", s.archive)
	must(s.t, errors.Join(err, conf.Close()))
	return v
}

// server is one whose data directory is made by somebody else.
func (s *site) server(name string) *server {
	s.t.Helper()
	return &server{site: s, data: filepath.Join(s.dir, name), sockets: s.mkdir(name + "-sockets"), port: freePort(s.t)}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts the server and waits until it lets sessions in.
func (v *server) start(settings ...string) {
	v.t.Helper()
	args := []string{"-D", v.data, "-p", strconv.Itoa(v.port), "-k", v.sockets}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	v.cmd = v.command(context.Background(), filepath.Join(v.bin, "postgres"), args...)
	v.cmd.Stdout, v.cmd.Stderr = &v.log, &v.log
	must(v.t, v.cmd.Start())
	v.t.Cleanup(func() {
		v.stop()
		if v.t.Failed() {
			v.t.Logf("%s said:\n%s", v.data, v.log.String())
		}
	})
	v.wait("let sessions in", func() bool {
		ctx, cancel := context.WithTimeout(v.t.Context(), 5*time.Second)
		defer cancel()
		conn, err := psql.Connect(ctx, v.target())
		if err != nil {
			return false
		}
		must(v.t, conn.Close(ctx))
		return true
	})
}

func (v *server) stop() {
	if v.cmd == nil {
		return
	}
	_ = v.cmd.Process.Signal(syscall.SIGINT) // fast shutdown
	_ = v.cmd.Wait()                         // it may have been stopped already
	v.cmd = nil
}

func (v *server) target() psql.Target {
	return psql.Target{SocketDir: v.sockets, Port: v.port, User: "postgres"}
}

func (v *server) connect() *psql.Conn { return v.connectTo("") }

func (v *server) connectTo(database string) *psql.Conn {
	v.t.Helper()
	target := v.target()
	target.Database = database
	conn, err := psql.Connect(v.t.Context(), target)
	must(v.t, err)
	v.t.Cleanup(func() { _ = conn.Close(context.Background()) }) // a test may have ended it
	return conn
}

func (v *server) exec(sql ...string) {
	v.t.Helper()
	conn := v.connect()
	for _, statement := range sql {
		_, err := conn.Exec(v.t.Context(), statement)
		must(v.t, err)
	}
}

func (v *server) value(sql string) string {
	v.t.Helper()
	conn := v.connect()
	value, err := conn.Value(v.t.Context(), sql)
	must(v.t, errors.Join(err, conn.Close(v.t.Context()))) // it may be asked often
	return fmt.Sprint(value)
}

// wait polls until a server does what is expected of it.
func (s *site) wait(what string, done func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			s.t.Fatalf("the server did not %s in time", what)
		}
	}
}

// archived switches to a new segment and waits until the old one is archived.
func (v *server) archived() {
	v.t.Helper()
	end, err := walcore.ParseLSN(v.value("SELECT pg_switch_wal()::text"))
	must(v.t, err)
	name := string(walcore.SegmentAt(1, end-1, walcore.DefaultSegmentSize))
	v.wait("archive "+name, func() bool { return exists(filepath.Join(v.archive, name)) })
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func checkContains(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got error %v, want one with %q", err, part)
		}
	}
}
