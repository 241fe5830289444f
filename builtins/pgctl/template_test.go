package pgctl

import (
	"maps"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

func TestParseRecoveryTemplate(t *testing.T) {
	vars := map[string]string{"home": "/h", "archive": "/h/archive", "trigger": "/h/local/trigger", "pgdata": "/data"}
	got, err := ParseRecoveryTemplate(`# the site's
standby_mode = on
restore_command = '{home}/bin/warmrun --home {home} restore %f %p %r'
trigger_file = '{trigger}'
archive_cleanup_command = 'test "${pgdata}" && awk ''{{print}'' {archive}/x'
wal_retrieve_retry_interval = 1s
`, vars)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/h/bin/warmrun --home /h restore %f %p %r"; got.RestoreCommand != want {
		t.Errorf("restore_command is %q, want %q", got.RestoreCommand, want)
	}
	if got.TriggerFile != "/h/local/trigger" {
		t.Errorf("trigger_file is %q", got.TriggerFile)
	}
	want := map[string]string{
		"archive_cleanup_command":     `test "${pgdata}" && awk '{print}' /h/archive/x`,
		"wal_retrieve_retry_interval": "1s",
	}
	if !maps.Equal(got.Extra, want) {
		t.Errorf("the rest is %q, want %q", got.Extra, want)
	}
}

func TestParseRecoveryTemplateOf2warm(t *testing.T) {
	const line = "../2warm/global/replication/restoreWALFile %f %p"
	got, err := ParseRecoveryTemplate("restore_command = '"+line+"'\n", nil)
	if err != nil || got.RestoreCommand != line {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestParseRecoveryTemplateComplains(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "no restore_command",
		"restore_command = 'x\n":                "recovery.conf:1: restore_command: the closing quote",
		"\nrestore_command = '{hoem}/x'\n":      "recovery.conf:2: restore_command: unknown placeholder {hoem}",
		"restore_command = 'x'\ninclude 'y'\n":  "recovery.conf:2: include: a template includes",
		"recovery_target_time = '2020-01-01'\n": "recovery.conf:1: recovery_target_time: a standby has no recovery target",
		"standby_mode = off\n":                  "recovery.conf:1: standby_mode",
	} {
		_, err := ParseRecoveryTemplate(text, map[string]string{"home": "/h"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
			continue
		}
		if hint.Of(err) == "" && !strings.Contains(want, "include") {
			t.Errorf("%q: no hint with %v", text, err)
		}
	}
}
