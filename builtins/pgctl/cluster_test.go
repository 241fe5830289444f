package pgctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// otherServer names the bin directory of the PostgreSQL to test with, instead
// of the machine's own: WARMRUN_TEST_BINDIR=/path/bin go test ./builtins/pgctl.
// It needs only initdb, pg_ctl and postgres.
func otherServer() string { return os.Getenv("WARMRUN_TEST_BINDIR") }

// testVersion is the version that the tests run.
func testVersion(t *testing.T) Version {
	t.Helper()
	if otherServer() == "" {
		return systemVersion(t)
	}
	v, err := versionOf(filepath.Join(otherServer(), "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// systemVersion is the newest major version of PostgreSQL on this machine.
func systemVersion(t *testing.T) Version {
	t.Helper()
	_, v, err := NewestBinDir(10, "")
	if err != nil {
		t.Fatalf("%v: install one (make install-test)", err)
	}
	return v
}

// testDir is a directory that the server's user can reach, with a name short
// enough for a socket in it. Run by root it belongs to the user postgres.
func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wrpgctl-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "postgres:", dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
	return dir
}

// template is a data directory made once; the tests copy it.
var template struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if template.dir != "" {
		if err := os.RemoveAll(template.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

func makeTemplate(t *testing.T) {
	dir, err := os.MkdirTemp("", "wrpgctl-template-")
	if err != nil {
		template.err = err
		return
	}
	template.dir = dir
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "postgres:", dir).CombinedOutput(); err != nil {
			template.err = fmt.Errorf("chown: %w: %s", err, out)
			return
		}
	}
	bin, err := FindBinDir(testVersion(t), otherServer())
	if err != nil {
		template.err = err
		return
	}
	cmd, err := Server{PGData: dir}.asOwner(context.Background(), filepath.Join(bin, "initdb"), "-D", dir, "-A", "trust", "-U", "postgres", "-N")
	if err == nil {
		_, err = run(cmd)
	}
	template.err = err
}

// newServer is a stopped server in a directory of its own, whose sockets are
// there too. It is stopped when the test ends.
func newServer(t *testing.T, conf ...string) Server {
	t.Helper()
	template.once.Do(func() { makeTemplate(t) })
	if template.err != nil {
		t.Fatal(template.err)
	}
	return copyServer(t, template.dir, conf...)
}

// copyServer is a copy of a stopped server or of a base backup.
func copyServer(t *testing.T, from string, conf ...string) Server {
	t.Helper()
	dir := testDir(t)
	s := Server{PGData: filepath.Join(dir, "data"), BinDir: otherServer()}
	if out, err := exec.Command("cp", "-a", from, s.PGData).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	lines := append([]string{"unix_socket_directories = '" + dir + "'", "listen_addresses = ''", "port = 5499", "fsync = off", "shared_buffers = 4MB", "max_connections = 20"}, conf...)
	appendFile(t, filepath.Join(s.PGData, "postgresql.conf"), strings.Join(lines, "\n")+"\n")
	t.Cleanup(func() {
		// The test's context has ended by now.
		if err := s.Stop(context.Background(), StopOptions{Mode: ModeImmediate}); err != nil {
			t.Errorf("stop at the end: %v", err)
		}
	})
	return s
}

func appendFile(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		_, err = file.WriteString(text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s Server) testLog() string { return filepath.Join(filepath.Dir(s.PGData), "log") }

func start(t *testing.T, s Server) Status {
	t.Helper()
	if err := s.Start(t.Context(), StartOptions{LogFile: s.testLog()}); err != nil {
		t.Fatal(err)
	}
	return status(t, s)
}

func status(t *testing.T, s Server) Status {
	t.Helper()
	st, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func stop(t *testing.T, s Server) {
	t.Helper()
	if err := s.Stop(t.Context(), StopOptions{}); err != nil {
		t.Fatal(err)
	}
}

// client prepares one of PostgreSQL's client programs, which talk to servers
// of every version.
func client(ctx context.Context, t *testing.T, s Server, name string, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := FindBinDir(systemVersion(t), "")
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := s.asOwner(ctx, filepath.Join(bin, name), args...)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func psql(ctx context.Context, t *testing.T, s Server, statement string) *exec.Cmd {
	t.Helper()
	st := status(t, s)
	args := []string{"-XAtq", "-v", "ON_ERROR_STOP=1", "-h", st.SocketDir, "-p", fmt.Sprint(st.Port), "-U", "postgres", "-d", "postgres", "-c", statement}
	return client(ctx, t, s, "psql", args...)
}

func sql(t *testing.T, s Server, statement string) string {
	t.Helper()
	out, err := run(psql(t.Context(), t, s, statement))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := poll(ctx, func() (bool, error) { return condition(), nil }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
