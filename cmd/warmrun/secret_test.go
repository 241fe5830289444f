package main

import (
	"fmt"
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

// TestSiteSecrets: check tries to read what the site's own runbooks and extensions
// name, and knows without which of them a run is refused.
func TestSiteSecrets(t *testing.T) {
	s := recorded(t)
	write := func(path, text string) {
		t.Helper()
		if err := writeDurably(filepath.Join(s.site.Home, path), text); err != nil {
			t.Fatal(err)
		}
	}
	example, err := examples(t, "switchover.d/webhook")
	if err != nil {
		t.Fatal(err)
	}
	write("global/runbooks/switchover.d/webhook.lua", example)
	write("global/runbooks/nightly.lua", `return runbook { api = 1, name = "nightly", summary = "s", runs_on = "any", lock = "none",
  params = { token = param.secret { default = "/none/token" }, given = param.secret { help = "h" } },
  steps = { step { "one", run = function(c) end } } }`)
	found := func() string {
		t.Helper()
		secrets, err := siteSecrets(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, f := range secrets {
			if (f.Error == "") != (f.Hint == "") {
				t.Errorf("%+v: want what to do about it", f)
			}
			all = append(all, fmt.Sprintf("%s --%s needed=%v: %s", f.Runbook, f.Flag, f.Needed, f.Error))
		}
		return strings.Join(all, "\n")
	}
	const token = "nightly --token needed=true: read a secret: open /none/token: no such file or directory\n"
	url := s.site.Global("webhook.url")
	if got, want := found(), token+"switchover --webhook needed=false: read a secret: open "+url+": no such file or directory"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	write("global/webhook.url", "https://hooks.example.com/x\n")
	if err := os.Chmod(url, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := found(), token+"switchover --webhook needed=false: "; got != want {
		t.Errorf("with the file: got\n%s\nwant\n%s", got, want)
	}
	write("global/runbooks/nightly.lua", "return 1")
	if _, err := siteSecrets(t.Context(), s); err == nil || !strings.Contains(err.Error(), "runbook nightly cannot be loaded") {
		t.Errorf("a runbook that cannot be loaded: got %v", err)
	}
}
