package walcore

import (
	"strings"
	"testing"
)

const label15 = `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-23 08:13:42 UTC
LABEL: nightly: all (files)
START TIMELINE: 1
`

const ended15 = `START WAL LOCATION: A/2000028 (file 000000030000000A00000002)
STOP WAL LOCATION: A/3000100 (file 000000030000000A00000003)
CHECKPOINT LOCATION: A/2000060
BACKUP METHOD: streamed
BACKUP FROM: standby
START TIME: 2026-11-23 08:13:42 UTC
LABEL: x
START TIMELINE: 3
STOP TIME: 2026-11-23 08:14:00 UTC
STOP TIMELINE: 3
`

const label10 = `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000060
BACKUP METHOD: pg_start_backup
BACKUP FROM: master
START TIME: 2026-11-23 08:13:42 UTC
LABEL: old
`

const label17 = `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-23 08:13:42 UTC
LABEL: pg_basebackup base backup
START TIMELINE: 1
INCREMENTAL FROM LSN: 0/1000028
INCREMENTAL FROM TLI: 1
`

func TestParseBackupLabel(t *testing.T) {
	start := BackupLabel{
		StartLSN: 0x2000028, StartSegment: "000000010000000000000002", CheckpointLSN: 0x2000060, StartTimeline: 1,
		StartTime: "2026-11-23 08:13:42 UTC", Method: "streamed", From: "primary",
	}
	full, old, incremental := start, start, start
	full.Label = "nightly: all (files)"
	old.Label, old.Method, old.From = "old", "pg_start_backup", "master"
	incremental.Label, incremental.IncrementalLSN = "pg_basebackup base backup", 0x1000028
	ended := BackupLabel{
		StartLSN: 0xA_0200_0028, StartSegment: "000000030000000A00000002", CheckpointLSN: 0xA_0200_0060, StartTimeline: 3,
		StopLSN: 0xA_0300_0100, StopSegment: "000000030000000A00000003", StopTimeline: 3,
		StartTime: "2026-11-23 08:13:42 UTC", StopTime: "2026-11-23 08:14:00 UTC", Method: "streamed", From: "standby", Label: "x",
	}
	tests := []struct {
		name, text string
		want       BackupLabel
	}{{"15", label15, full}, {"ended", ended15, ended}, {"10", label10, old}, {"17 incremental", label17, incremental}}
	for _, tt := range tests {
		got, err := ParseBackupLabel(strings.NewReader(tt.text))
		if err != nil || got != tt.want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestParseBackupLabelRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "no line START WAL LOCATION"},
		{"another file", "# PostgreSQL\nport = 5432\n", "no line START WAL LOCATION"},
		{"no file", "START WAL LOCATION: 0/2000028\n", "line 1: START WAL LOCATION:"},
		{"bad LSN", strings.Replace(label15, "0/2000028", "2000028", 1), "is not an LSN"},
		{"bad file", strings.Replace(label15, "000000010000000000000002", "../../etc/passwd", 1), "is not the name of a WAL segment"},
		{"bad timeline", strings.Replace(label15, "START TIMELINE: 1", "START TIMELINE: x", 1), "line 7: START TIMELINE"},
		{"timeline 0", "START WAL LOCATION: 0/0 (file 000000000000000000000000)\n", "it starts on timeline 0"},
		{"another timeline", strings.Replace(label15, "START TIMELINE: 1", "START TIMELINE: 2", 1), "it starts on timeline 2"},
	}
	for _, tt := range tests {
		if _, err := ParseBackupLabel(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzParseBackupLabel(f *testing.F) {
	for _, text := range []string{label10, label15, label17, ended15, ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBackupLabel(strings.NewReader(text))
		if err != nil {
			return
		}
		if kindOf(string(b.StartSegment)) != KindSegment || b.StopSegment != "" && kindOf(string(b.StopSegment)) != KindSegment {
			t.Errorf("%q: got segments %q and %q", text, b.StartSegment, b.StopSegment)
		}
		if b.StartTimeline != b.StartSegment.Timeline() || b.StartTimeline == 0 {
			t.Errorf("%q: got timeline %d", text, b.StartTimeline)
		}
	})
}
