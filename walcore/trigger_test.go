package walcore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

func TestReadTrigger(t *testing.T) {
	tests := []struct {
		content string
		want    Trigger
		wrong   bool
	}{
		{"", TriggerSmart, false},
		{"\n", TriggerSmart, false},
		{"smart\n", TriggerSmart, false},
		{"fast", TriggerFast, false},
		{"FAST failover\n", TriggerFast, false},
		{"now", TriggerNone, true},
	}
	path := filepath.Join(t.TempDir(), "trigger")
	for _, tt := range tests {
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTrigger(path)
		if got != tt.want || (err != nil) != tt.wrong {
			t.Errorf("%q: got %v, %v; want %v, error %v", tt.content, got, err, tt.want, tt.wrong)
		}
		if tt.wrong && hint.Of(err) == "" {
			t.Errorf("%q: %v has no hint", tt.content, err)
		}
	}
	for _, missing := range []string{"", filepath.Join(t.TempDir(), "none")} {
		if got, err := ReadTrigger(missing); got != TriggerNone || err != nil {
			t.Errorf("ReadTrigger(%q): got %v, %v; want none", missing, got, err)
		}
	}
}

func TestWriteTrigger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trigger")
	for fast, want := range map[bool]Trigger{false: TriggerSmart, true: TriggerFast} {
		if err := WriteTrigger(path, fast); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadTrigger(path); got != want || err != nil {
			t.Errorf("fast=%v: got %v, %v; want %v", fast, got, err, want)
		}
	}
}

func TestOpeningAsked(t *testing.T) {
	tests := []struct {
		what    string
		signal  string
		file    string
		content string
		want    bool
	}{
		{"a standby", "standby.signal", "", "", false},
		{"recovery", "recovery.signal", "", "", false},
		{"trigger file", "standby.signal", "trigger", "", true},
		{"fast trigger file", "standby.signal", "trigger", "fast", true},
		{"a trigger file that says nothing", "standby.signal", "trigger", "now", false},
		{"pg_ctl promote", "standby.signal", "promote", "", true},
		{"pg_ctl promote before 9.3's fast one", "standby.signal", "fallback_promote", "", true},
		{"no standby any more", "", "", "", true},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, tt.signal)
		if tt.file != "" {
			s.write(filepath.Join(s.pgdata, tt.file), []byte(tt.content))
		}
		if got := OpeningAsked(s.pgdata, filepath.Join(s.pgdata, "trigger")); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.what, got, tt.want)
		}
	}
}
