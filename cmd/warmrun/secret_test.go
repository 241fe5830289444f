package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

func TestReadSecret(t *testing.T) {
	home := t.TempDir()
	site := &cluster.Site{Home: home}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good", "geheim\n", 0o600)
	write("open", "geheim\n", 0o640)
	write("empty", "\n", 0o600)
	for _, name := range []string{"good", filepath.Join(home, "good")} {
		if secret, err := readSecret(site, name); err != nil || secret.Reveal() != "geheim" {
			t.Errorf("%s: got %q, %v", name, secret.Reveal(), err)
		}
	}
	for name, want := range map[string]string{"open": "can be read by others (mode 0640)", "empty": "holds no secret", "none": "no such file", ".": "can be read by others"} {
		_, err := readSecret(site, name)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
		if name == "open" && !strings.Contains(hint.Of(err), "chmod 600 ") {
			t.Errorf("%s: got hint %q", name, hint.Of(err))
		}
	}
	if _, err := readSecret(nil, "good"); err == nil {
		t.Error("a path below no home directory was read")
	}
}
