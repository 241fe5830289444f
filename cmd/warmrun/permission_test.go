package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A cluster.toml that the server's user may not read must not pass for a site
// without one, which would be a 2warm tree with other paths.
func TestUnreadableClusterTOML(t *testing.T) {
	home := t.TempDir()
	for dir := home; dir != filepath.Dir(os.TempDir()) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(home, "global", "cluster.toml")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("[[node]]\nname = \"db1\"\nhome = \""+home+"\"\npgdata = \"/none\"\n"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// Run by root the program becomes the owner of the home first.
		const nobody = 65534
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath("warmrun")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--home", home, "status")
	cmd.Env = append(os.Environ(), "PGDATA=", "WARMRUN_HOME=")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("got %v, want exit code %d", err, exitFailed)
	}
	for _, want := range []string{"warmrun: error: open " + path + ": permission denied\n", "warmrun: hint: make it readable for the user that runs the server"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got %q, want %q in it", out, want)
		}
	}
}
