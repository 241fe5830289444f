package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
)

// TestKeptAndRestored: what is changed after a lab was kept is as it was then.
func TestKeptAndRestored(t *testing.T) {
	l := up(t)
	db1 := l.Nodes[0]
	target := l.Target(db1)
	if err := ledger.CreateTable(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	link, file := filepath.Join(db1.Home, "link"), filepath.Join(db1.Home, "file")
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := l.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if db1.Running() {
		t.Error("the server runs while it is kept")
	}
	for range 2 {
		if err := l.Restore(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		if rows, err := ledger.Rows(t.Context(), target); err != nil || rows.Len() != 0 {
			t.Errorf("there are %d rows, %v; want none", rows.Len(), err)
		}
		if got, err := os.Readlink(link); got != "one" {
			t.Errorf("the link leads to %q, %v; want one", got, err)
		}
		if got, err := os.ReadFile(file); string(got) != "one" {
			t.Errorf("the file holds %q, %v; want one", got, err)
		}
		if _, err := os.Lstat(filepath.Join(db1.Home, "more")); err == nil {
			t.Error("what was made later is still there")
		}
		beside := func(p running) bool { return p.isServerBelow(l.PGBin, db1.Home) }
		if left, err := find(beside); err != nil || len(left) != 0 {
			t.Errorf("%d processes of a server beside the node's own are left, %v", len(left), err)
		}
		startBeside(t, l, db1)
		if left, err := find(beside); err != nil || len(left) == 0 {
			t.Fatalf("no server runs beside the node's own: %v", err)
		}
		spoil(t, l, db1, link, file)
	}
}

// TestKeptWithoutLockFiles: a server that was killed has left files with its process
// number; when its node is put back, another process may have that number, and the
// server starts all the same.
func TestKeptWithoutLockFiles(t *testing.T) {
	l := up(t)
	db1 := l.Nodes[0]
	if err := l.Kill(t.Context(), db1.Name); err != nil {
		t.Fatal(err)
	}
	locks := []string{
		filepath.Join(db1.PGData, "postmaster.pid"),
		filepath.Join(db1.SocketDir, fmt.Sprintf(".s.PGSQL.%d.lock", db1.Port)),
	}
	other := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait() // it was killed
	})
	for _, lock := range locks {
		giveTo(t, lock, other.Process.Pid)
	}
	kept, err := l.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	for _, lock := range locks {
		if _, err := os.Lstat(lock); err == nil {
			t.Errorf("%s is there, and no server runs", lock)
		}
	}
	if err := l.StartServer(t.Context(), db1); err != nil {
		t.Error(err)
	}
}

// giveTo writes another process number into a server's lock file.
func giveTo(t *testing.T, lock string, pid int) {
	t.Helper()
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(lock, fmt.Appendf(nil, "%d\n%s", pid, rest), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startBeside makes and starts a server that is not the node's own.
func startBeside(t *testing.T, l *Lab, n Node) {
	t.Helper()
	dir := filepath.Join(n.Home, "beside")
	for _, err := range []error{
		l.program(t.Context(), n, "initdb", "-D", dir, "--no-sync"),
		l.program(t.Context(), n, "pg_ctl", "-D", dir, "-l", dir+".log", "-o", "-k "+n.SocketDir+" -h ''", "-w", "start"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// spoil changes the node in every way that there is.
func spoil(t *testing.T, l *Lab, n Node, link, file string) {
	t.Helper()
	if _, err := value(t.Context(), l.Target(n), "INSERT INTO "+ledger.Table+" (id, filler) VALUES (1, 'x') RETURNING id::text"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Remove(link), os.Mkdir(link, 0o700), os.WriteFile(filepath.Join(link, "x"), nil, 0o600),
		os.WriteFile(file, []byte("two"), 0o600),
		os.MkdirAll(filepath.Join(n.Home, "more", "and more"), 0o700),
		l.Kill(t.Context(), n.Name),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
