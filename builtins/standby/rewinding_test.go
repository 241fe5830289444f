package standby

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/pgctl"
)

// TestHalfRewound: from the first moment of a rewind to its end no server can start in
// the data directory, and a second try knows the mode that it had before the first.
func TestHalfRewound(t *testing.T) {
	n := Node{Name: "db1", Server: pgctl.Server{PGData: t.TempDir()}, Rewinding: filepath.Join(t.TempDir(), "rewinding")}
	if err := os.Chmod(n.Server.PGData, 0o750); err != nil {
		t.Fatal(err)
	}
	look := func(when, want string, mode os.FileMode) {
		t.Helper()
		why, err := n.HalfRewound()
		if err != nil || !strings.Contains(why, want) || (why == "") != (want == "") {
			t.Errorf("%s: got %q, %v, want %q", when, why, err, want)
		}
		if info, err := os.Stat(n.Server.PGData); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: got mode %v, %v, want %v", when, info.Mode().Perm(), err, mode)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	look("before", "", 0o750)
	must(n.EndRewind())
	must(n.BeginRewind())
	look("begun", "a pg_rewind of db1 that began at ", 0o751)
	must(n.BeginRewind())
	look("begun again", "may be half rewound", 0o751)
	must(n.EndRewind())
	look("ended", "", 0o750)

	must(os.WriteFile(n.Rewinding, []byte("{"), 0o600))
	if why, err := n.HalfRewound(); err == nil {
		t.Errorf("a damaged note: got %q, want an error", why)
	}
}
