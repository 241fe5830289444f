package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOwnDir: what a killed demo left goes, a demo that runs and directories
// that are no lab's stay.
func TestOwnDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := func(name string) string { return filepath.Join(os.TempDir(), demoPrefix+name) }
	for _, name := range []string{"running", "dead", "else"} {
		if err := os.Mkdir(dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if name == "else" {
			continue
		}
		l := &Lab{Dir: dir(name), PGBin: "/nowhere", Version: 15}
		if err := l.writeState(stateReady); err != nil {
			t.Fatal(err)
		}
	}
	// The same number, but another start: the process of the lab is gone.
	data, err := os.ReadFile(stateFile(dir("dead")))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stateFile(dir("dead")), []byte(strings.Replace(string(data), `"start": `, `"start": 1`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	OwnDir(t.Context(), demoPrefix)
	for name, stays := range map[string]bool{"running": true, "dead": false, "else": true} {
		_, err := os.Stat(dir(name))
		if got := !errors.Is(err, fs.ErrNotExist); got != stays {
			t.Errorf("%s: there is %v, want %v (%v)", name, got, stays, err)
		}
	}
}

func TestTyped(t *testing.T) {
	if got, want := typed("db1", []string{"switchover", "--drain", "2s"}), "db1$ warmrun switchover --drain 2s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
