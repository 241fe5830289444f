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
