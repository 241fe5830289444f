package pgctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// TestConfigureRecovery: each version has the recovery where it looks for it,
// and nothing of a standby's that it was before.
func TestConfigureRecovery(t *testing.T) {
	at := time.Date(2024, 5, 1, 14, 30, 0, 250_000_000, time.FixedZone("", 2*3600))
	for _, test := range []struct {
		version string
		target  walcore.Target
		want    []string
	}{
		{"10", walcore.Target{Time: at}, []string{"recovery_target_time = '2024-05-01 12:30:00.25+00'\n", "recovery_target_inclusive = 'true'\n", "recovery_target_action = 'promote'\n"}},
		{"11", walcore.Target{XID: 700, Exclusive: true}, []string{"recovery_target_xid = '700'\n", "recovery_target_inclusive = 'false'\n"}},
		{"12", walcore.Target{LSN: 0x3000060}, []string{"recovery_target_lsn = '0/3000060'\n"}},
		{"18", walcore.Target{Name: "it's here"}, []string{"recovery_target_name = 'it''s here'\n"}},
		{"15", walcore.Target{}, nil},
	} {
		dir := t.TempDir()
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("PG_VERSION", test.version+"\n")
		write("standby.signal", "")
		write("postgresql.auto.conf", "primary_conninfo = 'host=db1'\nrecovery_target_name = 'old'\nwork_mem = '8MB'\n")
		err := Server{PGData: dir}.ConfigureRecovery(PointInTime{RestoreCommand: "restore %f %p", Target: test.target, Timeline: 3, Action: EndPromote})
		if err != nil {
			t.Fatalf("%s: %v", test.version, err)
		}
		file := "postgresql.auto.conf"
		if test.version < "12" {
			file = "recovery.conf"
		}
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range append(test.want, "restore_command = 'restore %f %p'\n", "recovery_target_timeline = '3'\n") {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s: %s lacks %q:\n%s", test.version, file, line, text)
			}
		}
		if test.want == nil && strings.Contains(string(text), "recovery_target_action") {
			t.Errorf("%s: the end of the archive is no target:\n%s", test.version, text)
		}
		if test.version < "12" {
			continue
		}
		for _, left := range []string{"primary_conninfo", "'old'"} {
			if strings.Contains(string(text), left) {
				t.Errorf("%s: %s still has %s:\n%s", test.version, file, left, text)
			}
		}
		if kind, err := walcore.DetectRecovery(dir); kind != walcore.RecoveryOther || err != nil {
			t.Errorf("%s: got %s, %v; want a recovery outside standby mode", test.version, kind, err)
		}
	}
}
