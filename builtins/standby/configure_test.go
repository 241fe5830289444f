package standby

import (
	"os"
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
