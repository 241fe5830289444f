package scratch

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
)

// TestRestoreCommand runs the command by a shell, as a server does: whatever the
// program's end, no answer opens the database but that a file is not there.
func TestRestoreCommand(t *testing.T) {
	for _, test := range []struct {
		program string
		code    int
		signal  syscall.Signal
	}{
		{program: "exit 0"},
		{program: "exit 3", code: 3},
		{program: "exit 1", code: 126},
		{program: "exit 2", code: 126}, // as a fatal error of the Go runtime
		{program: "exit 4", code: 126},
		{program: "exit 126", code: 126},
		{program: "exit 255", code: 126},
		{program: "kill -KILL $$", code: 126},
		{program: "kill -TERM $$", signal: syscall.SIGTERM},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", RestoreCommand("sh -c '"+test.program+"' restore"))
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if test.signal != 0 && (!status.Signaled() || status.Signal() != test.signal) || test.signal == 0 && status.ExitStatus() != test.code {
			t.Errorf("%s: got %v, want %d or %v", test.program, cmd.ProcessState, test.code, test.signal)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", RestoreCommand("/nowhere/warmrun restore"))
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 126 {
		t.Errorf("without the program: got %v, want 126", cmd.ProcessState)
	}
}

func TestCheckDir(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		filepath.Join(dir, "missing"): "",
		filepath.Join(full, "x"):      "",
		full:                          "is not empty",
		"relative":                    "is not an absolute path",
	} {
		err := CheckDir(path)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", path, err, says)
		}
	}
}

// TestMakeAgain: what an earlier try has left in the directory makes way, and a
// server that is there to be used does not.
func TestMakeAgain(t *testing.T) {
	for _, stays := range []bool{false, true} {
		s := Server{Dir: t.TempDir(), Kind: Restore, Stays: stays}
		old := filepath.Join(s.PGData(), "old")
		if err := errors.Join(s.save(), os.Mkdir(s.PGData(), 0o700), os.WriteFile(old, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		// There is no base copy to go on with.
		_, err := Make(t.Context(), Request{Kind: Restore, Dir: s.Dir, Now: time.Now})
		if refused := err != nil && strings.Contains(err.Error(), "is not empty"); err == nil || refused != stays {
			t.Errorf("stays %v: got %v", stays, err)
		}
		if _, err := os.Stat(old); (err == nil) != stays {
			t.Errorf("stays %v: its data is there: %v", stays, err == nil)
		}
	}
}

// TestNotes: what is left over is told from what stays, also where there is no
// more than the directory.
func TestNotes(t *testing.T) {
	below := t.TempDir()
	for _, s := range []Server{{Kind: Peek, Dir: filepath.Join(below, "peek-1"), Target: walcore.Target{}.String()}, {Dir: filepath.Join(below, "peek-2")}} {
		if err := os.Mkdir(s.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if s.Kind == "" {
			continue // it was killed before its note was written
		}
		if err := s.Stay(); err != nil {
			t.Fatal(err)
		}
	}
	all, err := List(below)
	if err != nil || len(all) != 2 || !all[0].Stays || all[0].Kind != Peek || all[1].Kind != "" || all[1].ID != "peek-2" {
		t.Fatalf("got %+v, %v; want one that stays and one of which nothing is known", all, err)
	}
	for _, s := range all {
		if err := s.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left, err := List(below); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v; want nothing left", left, err)
	}
}

// TestSocketDir: a path that is too long for a socket gets a short directory.
func TestSocketDir(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := socketDir(deep, 5432)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if within := strings.HasPrefix(dir, deep); within || len(dir) > longestSocket {
		t.Errorf("got %s, want one that a socket fits into", dir)
	}
}

// TestIsolation: whatever the copy's configuration says, its server archives
// nothing, applies no subscription, waits for no standby and uses its own files.
func TestIsolation(t *testing.T) {
	s := Server{Dir: "/scratch/drill-1", Kind: Drill, Port: 5433, SocketDir: "/scratch/drill-1/run"}
	for _, v := range []pgctl.Version{10, 18} {
		got := s.isolation(Request{Kind: Drill, SharedBuffers: "128MB"}, v)
		for name, want := range map[string]string{
			"archive_mode": "off", "archive_command": "", "synchronous_standby_names": "", "max_logical_replication_workers": "0",
			"listen_addresses": "", "hba_file": "/scratch/drill-1/data/pg_hba.conf", "logging_collector": "off", "shared_buffers": "128MB",
		} {
			if value, set := got[name]; !set || value != want {
				t.Errorf("%s: %s is %q, want %q", v, name, value, want)
			}
		}
		if _, set := got["archive_library"]; set != (v >= 15) {
			t.Errorf("%s: archive_library is set: %v", v, set)
		}
	}
}
