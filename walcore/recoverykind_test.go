package walcore

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDetectRecovery(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  RecoveryKind
	}{
		{"no data directory", nil, RecoveryNone},
		{"standby.signal", map[string]string{"PG_VERSION": "15\n", "standby.signal": ""}, RecoveryStandby},
		{"recovery.signal", map[string]string{"PG_VERSION": "15\n", "recovery.signal": ""}, RecoveryOther},
		{"both signals", map[string]string{"PG_VERSION": "15\n", "standby.signal": "", "recovery.signal": ""}, RecoveryStandby},
		{"recovery.conf from before 12", map[string]string{"PG_VERSION": "15\n", "recovery.conf": "standby_mode = on"}, RecoveryNone},
		{"standby_mode", map[string]string{"PG_VERSION": "11\n", "recovery.conf": "restore_command = 'x'\nStandby_Mode = 'on' # yes\n"}, RecoveryStandby},
		{"standby_mode without =", map[string]string{"PG_VERSION": "9.6\n", "recovery.conf": "standby_mode tru\n"}, RecoveryStandby},
		{"standby_mode off", map[string]string{"PG_VERSION": "10\n", "recovery.conf": "standby_mode=on\nstandby_mode=off#on\n"}, RecoveryOther},
		{"standby_mode commented out", map[string]string{"PG_VERSION": "10\n", "recovery.conf": "#standby_mode=on\n"}, RecoveryOther},
		{"before 9.0", map[string]string{"PG_VERSION": "8.4\n", "recovery.conf": "restore_command = 'pg_standby'\n"}, RecoveryOther},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		for name, content := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := DetectRecovery(dir); got != tt.want || err != nil {
			t.Errorf("%s: got %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

// Where nothing can be told the exit codes must be those that open nothing.
func TestDetectRecoveryCannotTell(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "recovery.conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := DetectRecovery(dir); got != RecoveryOther || err == nil {
		t.Errorf("unreadable recovery.conf: got %v, %v; want %v and an error", got, err, RecoveryOther)
	}
}

func FuzzStandbyMode(f *testing.F) {
	f.Add("standby_mode = 'on'\n")
	f.Add("standby_mode=\nx = '\n")
	f.Fuzz(func(t *testing.T, conf string) {
		on, err := standbyMode([]byte(conf))
		if on && err != nil {
			t.Errorf("%q: on together with %v", conf, err)
		}
	})
}
