package standby

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

func newNode(t *testing.T) Node {
	t.Helper()
	dir := t.TempDir()
	return Node{
		Name:    "db2",
		Server:  pgctl.Server{PGData: filepath.Join(dir, "data")},
		Archive: filepath.Join(dir, "archive"),
		Trigger: filepath.Join(dir, "local", "trigger"),
	}
}

func TestPrepareFreshNode(t *testing.T) {
	n := newNode(t)
	if err := n.WriteTrigger(true); err != nil {
		t.Fatal(err)
	}
	ready, err := n.Prepare(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	if ready.Archive != n.Archive {
		t.Errorf("got archive %s, want %s", ready.Archive, n.Archive)
	}
	if _, err := walcore.OpenArchive(n.Archive); err != nil {
		t.Errorf("no archive was made: %v", err)
	}
	if _, err := os.Stat(n.Trigger); !os.IsNotExist(err) {
		t.Errorf("the trigger is still there: %v", err)
	}
	info, err := os.Stat(n.Server.PGData)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v for PGDATA, want 0700: the server refuses any other", info.Mode())
	}
}

// A trigger file of an older life would open a new standby before it has
// replayed what its copy needs.
func TestReceivableTrigger(t *testing.T) {
	n := newNode(t)
	if err := n.Receivable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteTrigger(true); err != nil {
		t.Fatal(err)
	}
	err := n.Receivable(t.Context())
	if err == nil || !strings.Contains(err.Error(), n.Trigger) || hint.Of(err) != "run configStandby on db2, which removes it" {
		t.Errorf("got %v with hint %q, want a refusal that names %s", err, hint.Of(err), n.Trigger)
	}
	if _, err := n.Prepare(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := n.Receivable(t.Context()); err != nil {
		t.Errorf("got %v after configStandby", err)
	}
}

// A symlinked pg_wal may lead to WAL that belongs to somebody else.
func TestPrepareSymlinkedWAL(t *testing.T) {
	n := newNode(t)
	elsewhere := filepath.Join(t.TempDir(), "xlog")
	for _, dir := range []string{n.Server.PGData, filepath.Join(elsewhere, "archive_status")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	files := []string{"000000010000000000000001", "00000002.history", "archive_status/000000010000000000000001.ready", "notes.txt", "archive_status/notes.txt"}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(elsewhere, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(n.Server.PGData, "pg_wal")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}

	_, err := n.Prepare(context.Background(), false)
	if err == nil || hint.Of(err) == "" {
		t.Fatalf("got error %v with hint %q, want a refusal with a hint", err, hint.Of(err))
	}
	if got := names(t, elsewhere); len(got) != 5 {
		t.Errorf("a refused prepare removed something: %v are left", got)
	}

	if _, err := n.Prepare(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, elsewhere), []string{"archive_status/notes.txt", "notes.txt"}; !slices.Equal(got, want) {
		t.Errorf("got %v left, want only what is no WAL: %v", got, want)
	}
	if target, err := os.Readlink(link); err != nil || target != elsewhere {
		t.Errorf("got pg_wal -> %q, %v, want the link untouched", target, err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRoleOf(t *testing.T) {
	tests := []struct {
		state   walcore.ControlState
		running bool
		fenced  bool
		want    Role
	}{
		{walcore.StateInProduction, true, false, RolePrimary},
		{walcore.StateInArchiveRecovery, true, true, RoleStandby},
		// Promoted: the server removes the signal file before it is open.
		{walcore.StateInProduction, true, true, RolePrimary},
		// Just started: the control file still says how it was stopped.
		{walcore.StateShutDown, true, true, RoleStandby},
		{walcore.StateShutDown, true, false, RolePrimary},
		{walcore.StateShutDownInRecovery, true, true, RoleStandby},
		{walcore.StateShutDown, false, false, RoleStoppedPrimary},
		{walcore.StateShutDown, false, true, RoleStoppedStandby},
		{walcore.StateInProduction, false, false, RoleStoppedPrimary},
		{walcore.StateInProduction, false, true, RoleStoppedStandby},
	}
	for _, tt := range tests {
		state := State{Running: tt.running, Fenced: tt.fenced, Control: walcore.ControlFile{State: tt.state}}
		if got := roleOf(state); got != tt.want {
			t.Errorf("%v, running=%v, fenced=%v: got %s, want %s", tt.state, tt.running, tt.fenced, got, tt.want)
		}
	}
}
