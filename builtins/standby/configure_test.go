package standby

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Without a template of the site the restore_command fits the server: old ones
// need one that waits, and the oldest know no restart point.
func TestDefaultRestoreCommand(t *testing.T) {
	for version, want := range map[string]string{
		"":    "/bin/warmrun restore %f %p %r",
		"8.2": "/bin/warmrun restore --wait %f %p",
		"8.4": "/bin/warmrun restore --wait %f %p %r",
		"9.4": "/bin/warmrun restore --wait %f %p %r",
		"9.5": "/bin/warmrun restore %f %p %r",
		"18":  "/bin/warmrun restore %f %p %r",
	} {
		n := newNode(t)
		n.Vars = map[string]string{"warmrun": "/bin/warmrun"}
		if version != "" {
			if err := os.MkdirAll(n.Server.PGData, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(n.Server.PGData+"/PG_VERSION", []byte(version+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		settings, err := n.RecoveryTemplate()
		if err != nil || settings.RestoreCommand != want {
			t.Errorf("version %q: got %q, %v; want %q", version, settings.RestoreCommand, err, want)
		}
	}
}

// An archive_command of this program that has come with a base copy is the one
// of this node then. What a site has set otherwise stays.
func TestOwnArchiveCommand(t *testing.T) {
	for _, test := range []struct{ had, want string }{
		{"", ""},
		{"/db1/bin/warmrun --home /db1 archive %p %f", "/db2/bin/warmrun --home /db2 archive %p %f"},
		{"/db2/bin/warmrun --home /db2 archive %p %f", "/db2/bin/warmrun --home /db2 archive %p %f"},
		{"../2warm/global/replication/archiveWALFile %p %f", "../2warm/global/replication/archiveWALFile %p %f"},
		{"pgbackrest archive-push %p", "pgbackrest archive-push %p"},
	} {
		n := newNode(t)
		n.Vars = map[string]string{"warmrun": "/db2/bin/warmrun --home /db2"}
		if err := os.MkdirAll(n.Server.PGData, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"PG_VERSION": "15\n", "postgresql.conf": "", "postgresql.auto.conf": "port = 5\n"} {
			if err := os.WriteFile(filepath.Join(n.Server.PGData, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if test.had != "" {
			if err := n.Server.SetAuto(map[string]string{"archive_command": test.had}); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.ownArchiveCommand(); err != nil {
			t.Fatal(err)
		}
		conf, err := n.Server.Conf()
		if got, _ := conf.Get("archive_command"); err != nil || got != test.want {
			t.Errorf("%q: got %q, %v; want %q", test.had, got, err, test.want)
		}
		if port, _ := conf.Get("port"); port != "5" {
			t.Errorf("%q: the other settings are gone", test.had)
		}
	}
}

// A delay is what cluster.toml says: it is written, and taken back.
func TestDelay(t *testing.T) {
	n := newNode(t)
	write := func(name, text string) {
		if err := os.MkdirAll(n.Server.PGData, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n.Server.PGData+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		version string
		delay   time.Duration
		want    string // empty: nothing is written of it
	}{
		{"15", 2 * time.Hour, "recovery_min_apply_delay = '7200s'\n"},
		{"15", 0, "recovery_min_apply_delay = '0'\n"}, // after the one before
		{"10", 90 * time.Second, "recovery_min_apply_delay = '90s'\n"},
		{"10", 0, ""},
	} {
		write("PG_VERSION", test.version+"\n")
		write("postgresql.conf", "")
		n.Delay = test.delay
		n.Vars = map[string]string{"warmrun": "/bin/warmrun"}
		if err := n.configureRecovery(); err != nil {
			t.Fatal(err)
		}
		file := "postgresql.auto.conf"
		if test.version == "10" {
			file = "recovery.conf"
		}
		text, err := os.ReadFile(n.Server.PGData + "/" + file)
		if err != nil || strings.Contains(string(text), "apply_delay") != (test.want != "") || !strings.Contains(string(text), test.want) {
			t.Errorf("%s, %s: got %v and\n%s\nwant %q", test.version, test.delay, err, text, test.want)
		}
	}
	write("PG_VERSION", "9.3\n")
	n.Delay = time.Hour
	if err := n.configureRecovery(); err == nil || !strings.Contains(err.Error(), "cannot delay replay") {
		t.Errorf("9.3: got %v, want it refused", err)
	}
}
