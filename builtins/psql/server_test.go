package psql

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
)

// server is a real PostgreSQL server of a test.
type server struct {
	bin                string // its programs
	dir, data, sockets string
	port               int
	account            *user.User
	cmd                *exec.Cmd
	log                bytes.Buffer // complete once the server has ended
}

// newServer makes a cluster that is not yet running.
func newServer(t *testing.T) *server {
	t.Helper()
	bin, _, err := pgctl.NewestBinDir(10, "")
	if err != nil {
		t.Fatalf("%v: install one (make install-test)", err)
	}
	s := &server{bin: bin, account: serverAccount(t), port: freePort(t)}
	dir, err := os.MkdirTemp("", "psqltest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log.String())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.dir, s.data, s.sockets = dir, filepath.Join(dir, "data"), filepath.Join(dir, "it's a socket")
	if err := os.Mkdir(s.sockets, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, s.sockets} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
		s.own(t, d)
	}
	initdb := s.command("initdb", "-D", s.data, "--auth=peer", "-N", "--locale=C", "-E", "UTF8", "-U", s.account.Username)
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	// Whoever runs the test is let in as the superuser; into the database
	// "tunnel" only peers under their own name.
	s.write(t, "pg_hba.conf", "local tunnel all peer\nlocal all all peer map=test\n")
	s.write(t, "pg_ident.conf", "test /^(.*)$ \\1\ntest root "+s.account.Username+"\n")
	s.configure(t, "listen_addresses = ''", "fsync = off", "unix_socket_directories = '"+filepath.Join(dir, "it''s a socket")+"'", fmt.Sprintf("port = %d", s.port))
	return s
}

// serverAccount is who servers run as: postgres where the test is root's.
func serverAccount(t *testing.T) *user.User {
	t.Helper()
	name := strconv.Itoa(os.Geteuid())
	account, err := user.LookupId(name)
	if os.Geteuid() == 0 {
		account, err = user.Lookup("postgres")
	}
	if err != nil {
		t.Fatalf("find the account for the server: %v", err)
	}
	return account
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) credential() *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, _ := strconv.ParseUint(s.account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(s.account.Gid, 10, 32)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = s.credential()
	return cmd
}

func (s *server) own(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	uid, _ := strconv.Atoi(s.account.Uid)
	gid, _ := strconv.Atoi(s.account.Gid)
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// configure adds lines to postgresql.conf.
func (s *server) configure(t *testing.T, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, line := range lines {
		if _, err := fmt.Fprintln(f, line); err != nil {
			t.Fatal(err)
		}
	}
}

// write replaces a file of the cluster.
func (s *server) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(s.data, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s.own(t, path)
}

// start begins to start the server, and does not wait for it.
func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = s.command("postgres", "-D", s.data)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// end sends a signal and waits for the server to be gone.
func (s *server) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // a killed server is none that failed
	s.cmd = nil
}

func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown
	_ = s.cmd.Wait()
	s.cmd = nil
}

// target connects as the server's superuser.
func (s *server) target() Target {
	return Target{SocketDir: s.sockets, Port: s.port, User: s.account.Username}
}

func ready(t *testing.T, target Target) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := WaitReady(ctx, target, nil)
	if err != nil {
		t.Fatalf("WaitReady: %v", err)
	}
	t.Cleanup(func() {
		// Some tests have ended the server already.
		_ = conn.Close(context.Background())
	})
	return conn
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
