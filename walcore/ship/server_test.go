package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	sys "syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// server is a real PostgreSQL server whose archive_command is this test binary
// (see TestMain), archiving into the directory.
type server struct {
	*testing.T
	bin, base, data, archive string
	credential               *sys.Credential
}

const archiveEnv = "WARMRUN_TEST_ARCHIVE"

// archiveCommand is what TestMain does for a server.
func archiveCommand(dir, path, name string) error {
	file, err := walcore.ParseFileName(name)
	if err != nil {
		return err
	}
	return ArchiveTo(context.Background(), dir, path, file, "")
}

func newServer(t *testing.T) *server {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err != nil || len(found) == 0 {
		t.Fatal("no PostgreSQL server is here; install it (apt-get install postgresql)")
	}
	base, err := os.MkdirTemp("", "warmrun-ship-")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{T: t, bin: filepath.Dir(found[len(found)-1]), base: base, data: filepath.Join(base, "data"), archive: filepath.Join(base, "archive")}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(base, 0o755), os.WriteFile(filepath.Join(base, "archiver"), binary, 0o755), os.Mkdir(s.archive, 0o700)); err != nil {
		t.Fatal(err)
	}
	s.becomePostgres()
	s.run("initdb", "-D", s.data, "-A", "trust", "-U", "postgres", "-N", "--wal-segsize=1")
	s.configure()
	return s
}

// becomePostgres finds whom the server runs as: it does not run as root.
func (s *server) becomePostgres() {
	if os.Geteuid() != 0 {
		return
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		s.Fatal(err)
	}
	uid, errUID := strconv.Atoi(who.Uid)
	gid, errGID := strconv.Atoi(who.Gid)
	s.credential = &sys.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := errors.Join(errUID, errGID, os.Chown(s.base, uid, gid), os.Chown(s.archive, uid, gid)); err != nil {
		s.Fatal(err)
	}
}

func (s *server) configure() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	settings := fmt.Sprintf(`
port = %d
listen_addresses = ''
unix_socket_directories = '%s'
fsync = off
archive_mode = on
archive_command = '%s/archiver %%p %%f'
`, port, s.base, s.base)
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.Fatal(err)
	}
	_, err = f.WriteString(settings)
	if err := errors.Join(err, f.Close(), listener.Close()); err != nil {
		s.Fatal(err)
	}
	s.Setenv("PGPORT", strconv.Itoa(port))
	s.Setenv("PGHOST", s.base)
	s.Setenv("PGUSER", "postgres")
}

// run runs one of PostgreSQL's programs as the server's user.
func (s *server) run(program string, args ...string) string {
	s.Helper()
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.base
	cmd.Env = append(os.Environ(), archiveEnv+"="+s.archive)
	cmd.SysProcAttr = &sys.SysProcAttr{Credential: s.credential}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.base, "log"))
		s.Fatalf("%s %v: %v\n%s\n%s", program, args, err, out.String(), log)
	}
	return strings.TrimSpace(out.String())
}

func (s *server) start() {
	s.Helper()
	s.run("pg_ctl", "-D", s.data, "-w", "-l", filepath.Join(s.base, "log"), "start")
	s.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(s.data, "postmaster.pid")); err == nil {
			s.run("pg_ctl", "-D", s.data, "-m", "immediate", "stop")
		}
	})
}

func (s *server) stop() { s.Helper(); s.run("pg_ctl", "-D", s.data, "-w", "-m", "fast", "stop") }

func (s *server) sql(text string) string {
	s.Helper()
	return s.run("psql", "-X", "-At", "-d", "postgres", "-c", text)
}

// write makes some WAL, in more than one segment.
func (s *server) write() {
	s.Helper()
	s.sql("create table if not exists t (a int, b text)")
	s.sql("insert into t select i, repeat('x', 200) from generate_series(1, 8000) i")
	s.sql("select pg_switch_wal()")
}

// archived waits until the server has archived a segment.
func (s *server) archived(name walcore.SegmentName, ok func() bool) {
	s.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			log, _ := os.ReadFile(filepath.Join(s.base, "log"))
			s.Fatalf("%s was not archived in 30 s; the server says:\n%s", name, log)
		}
	}
}

// shutdownEnd is where the WAL of the stopped server ends.
func (s *server) shutdownEnd() (walcore.ControlFile, walcore.LSN, walcore.SegmentName) {
	s.Helper()
	control, err := walcore.ReadControlFile(s.data)
	if err != nil {
		s.Fatal(err)
	}
	end, last, err := walcore.ShutdownEnd(filepath.Join(s.data, "pg_wal"), control)
	if err != nil {
		s.Fatal(err)
	}
	return control, end, last
}

// TestProvisionalSegmentOfARealServer: a primary is stopped and its last
// segment shipped, as a switchover does; then it comes back, goes on in that
// segment, and archives it whole.
func TestProvisionalSegmentOfARealServer(t *testing.T) {
	s := newServer(t)
	s.start()
	s.write()
	s.stop()
	control, end, last := s.shutdownEnd()
	archive, err := walcore.OpenArchive(s.archive)
	if err != nil {
		t.Fatal(err)
	}
	ship := func() {
		t.Helper()
		var out bytes.Buffer
		_, err := ShipWALDir(t.Context(), connectTo(t, archive), filepath.Join(s.data, "pg_wal"), 0, end, control.Timeline, control.Identity(), &out)
		if err != nil {
			t.Fatal(err)
		}
	}
	ship()
	ship() // and once more, as after a lost answer
	if at, provisional, err := archive.Provisional(last); err != nil || !provisional || at != end {
		t.Fatalf("got %s provisional=%v up to %s, %v, want %s", last, provisional, at, err, end)
	}
	first, err := archive.Chain("")
	if err != nil || first.End != end || first.Segments < 3 {
		t.Fatalf("got %+v, %v, want all WAL up to %s", first, err, end)
	}
	s.give()
	s.start()
	s.write()
	s.archived(last, func() bool {
		_, provisional, err := archive.Provisional(last)
		if err != nil {
			t.Fatal(err)
		}
		return !provisional
	})
	s.stop()
	control, end, last = s.shutdownEnd()
	ship()
	if chain, err := archive.Chain(first.First); err != nil || len(chain.Gaps) > 0 || chain.End != end || chain.Last != last {
		t.Errorf("got %+v, %v, want all WAL up to %s in %s", chain, err, end, last)
	}
}

// give makes the server's user own what this process has put in the archive.
func (s *server) give() {
	if s.credential == nil {
		return
	}
	err := filepath.WalkDir(s.archive, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(s.credential.Uid), int(s.credential.Gid)))
	})
	if err != nil {
		s.Fatal(err)
	}
}
