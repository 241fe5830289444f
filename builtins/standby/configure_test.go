package standby

import (
	"os"
	"path/filepath"
	"testing"
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
