package pgctl

import (
	"encoding/json"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for _, test := range []struct {
		in   string
		want string // empty: an error
	}{
		{"15", "15"}, {"10", "10"}, {"9.6", "9.6"}, {"8.2", "8.2"},
		{"15.18 (Debian 15.18-0+deb12u1)", "15"}, {"9.6.24", "9.6"}, {"18beta1", "18"}, {"17devel", "17"},
		{"", ""}, {"9", ""}, {"x", ""}, {"9.", ""}, {"-1", ""}, {"9.12", ""},
	} {
		got, err := ParseVersion(test.in)
		if err != nil {
			if test.want != "" {
				t.Errorf("ParseVersion(%q): %v, want %s", test.in, err, test.want)
			}
			continue
		}
		if got.String() != test.want {
			t.Errorf("ParseVersion(%q) = %s, want %q", test.in, got, test.want)
		}
	}
}

func TestVersionsAreOrdered(t *testing.T) {
	ordered := []string{"8.2", "8.4", "9.0", "9.1", "9.6", "10", "15", "18"}
	for i := 1; i < len(ordered); i++ {
		before, err1 := ParseVersion(ordered[i-1])
		after, err2 := ParseVersion(ordered[i])
		if err1 != nil || err2 != nil || before >= after {
			t.Errorf("%s is not below %s (%v, %v)", ordered[i-1], ordered[i], err1, err2)
		}
	}
	if text, err := json.Marshal(Version(9.6)); err != nil || string(text) != "9.6" {
		t.Errorf("JSON of 9.6 is %s, %v", text, err)
	}
}

func TestFeatures(t *testing.T) {
	for _, test := range []struct {
		v       Version
		wal     string
		trigger string
		has     func(Features) bool
		lacks   func(Features) bool
	}{
		{8.2, "pg_xlog", "", func(f Features) bool { return f.ExclusiveBackup },
			func(f Features) bool { return f.RestartPoint || f.ArchiveMode || f.PgStandby || f.HotStandby }},
		{8.3, "pg_xlog", "", func(f Features) bool { return f.RestartPoint && f.ArchiveMode && f.PgStandby },
			func(f Features) bool { return f.RecoveryEndCommand }},
		{8.4, "pg_xlog", "", func(f Features) bool { return f.RecoveryEndCommand }, func(f Features) bool { return f.HotStandby || f.StandbyMode }},
		{9.0, "pg_xlog", "trigger_file", func(f Features) bool { return f.HotStandby && f.Streaming && f.ArchiveCleanupCommand && f.StandbyMode },
			func(f Features) bool { return f.PgCtlPromote }},
		{9.1, "pg_xlog", "trigger_file", func(f Features) bool { return f.PgCtlPromote }, func(f Features) bool { return f.Slots || f.AutoConf }},
		{9.4, "pg_xlog", "trigger_file", func(f Features) bool { return f.Slots && f.MinApplyDelay && f.AutoConf }, func(f Features) bool { return f.Rewind }},
		{9.5, "pg_xlog", "trigger_file", func(f Features) bool { return f.Rewind && f.TargetAction && f.WALRetryInterval && f.PartialSegments },
			func(f Features) bool { return f.NonExclusiveBackup }},
		{9.6, "pg_xlog", "trigger_file", func(f Features) bool { return f.NonExclusiveBackup && f.ExclusiveBackup }, func(f Features) bool { return f.LSNNames || f.StatusLine }},
		{10, "pg_wal", "trigger_file", func(f Features) bool { return f.LSNNames && f.StatusLine }, func(f Features) bool { return f.InitdbSegmentSize || f.SignalFiles }},
		{11, "pg_wal", "trigger_file", func(f Features) bool { return f.InitdbSegmentSize }, func(f Features) bool { return f.PgPromote || f.LatestTimelineDefault }},
		{12, "pg_wal", "promote_trigger_file", func(f Features) bool { return f.SignalFiles && f.PgPromote && f.LatestTimelineDefault },
			func(f Features) bool { return f.BackupManifest }},
		{13, "pg_wal", "promote_trigger_file", func(f Features) bool { return f.BackupManifest && f.PgStandby }, func(f Features) bool { return f.RecoveryPrefetch }},
		{14, "pg_wal", "promote_trigger_file", func(f Features) bool { return f.ExclusiveBackup }, func(f Features) bool { return f.PgStandby || f.BackupStartStop }},
		{15, "pg_wal", "promote_trigger_file", func(f Features) bool {
			return f.BackupStartStop && f.RecoveryPrefetch && f.ArchiveLibrary && f.RewindNeedsCheckpoint
		}, func(f Features) bool { return f.ExclusiveBackup }},
		{16, "pg_wal", "", func(f Features) bool { return f.SignalFiles }, func(f Features) bool { return f.RewindNeedsCheckpoint || f.IncrementalBackup }},
		{17, "pg_wal", "", func(f Features) bool { return f.IncrementalBackup }, func(f Features) bool { return f.ExclusiveBackup }},
		{19, "pg_wal", "", func(f Features) bool { return f.IncrementalBackup }, func(f Features) bool { return f.PgStandby }},
	} {
		f := FeaturesOf(test.v)
		if f.WALDir != test.wal || f.TriggerSetting != test.trigger {
			t.Errorf("PostgreSQL %s: WAL in %q, trigger setting %q, want %q and %q", test.v, f.WALDir, f.TriggerSetting, test.wal, test.trigger)
		}
		if !test.has(f) || test.lacks(f) {
			t.Errorf("PostgreSQL %s: got %+v", test.v, f)
		}
	}
}

func TestVersionTableIsInOrder(t *testing.T) {
	last := Version(0)
	for _, change := range VersionTable() {
		if change.Since < last {
			t.Errorf("%q (since %s) stands after a change of %s", change.Name, change.Since, last)
		}
		last = change.Since
		if change.Name == "" || change.mark == nil {
			t.Errorf("row %+v is not complete", change)
		}
	}
}
