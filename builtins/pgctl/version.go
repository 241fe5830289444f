package pgctl

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a major version as PG_VERSION has it: 15, or 9.6 for the releases
// before 10. Comparing with a constant does what one expects.
type Version float64

// ParseVersion reads a major version, or the major part of a full one such as
// "15.18", "9.6.24", "18beta1" or "17devel".
func ParseVersion(s string) (Version, error) {
	digits := s
	if i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		digits = s[:i]
	}
	first, rest, dotted := strings.Cut(digits, ".")
	major, err := strconv.Atoi(first)
	if err != nil || major < 1 || major > 999 {
		return 0, fmt.Errorf("%q is not a PostgreSQL version", s)
	}
	if major >= 10 {
		return Version(major), nil
	}
	second, _, _ := strings.Cut(rest, ".")
	if !dotted || len(second) != 1 {
		return 0, fmt.Errorf("%q is not a PostgreSQL version: before 10 it has two parts", s)
	}
	v, err := strconv.ParseFloat(first+"."+second, 64)
	return Version(v), err
}

// String prints the version as PG_VERSION has it.
func (v Version) String() string {
	decimals := 0
	if v < 10 {
		decimals = 1
	}
	return strconv.FormatFloat(float64(v), 'f', decimals, 64)
}

// Features says what a major version of the server knows. Where a thing was
// renamed the field holds the name that this version uses.
type Features struct {
	Version Version `json:"version"`

	RestartPoint          bool `json:"restart_point"`           // %r in restore_command
	ArchiveMode           bool `json:"archive_mode"`            // archive_mode, a setting of its own
	RecoveryEndCommand    bool `json:"recovery_end_command"`    //
	HotStandby            bool `json:"hot_standby"`             // queries during recovery
	Streaming             bool `json:"streaming"`               // primary_conninfo
	StandbyMode           bool `json:"standby_mode"`            // the server itself retries restore_command
	ArchiveCleanupCommand bool `json:"archive_cleanup_command"` //
	PgCtlPromote          bool `json:"pg_ctl_promote"`          //
	AutoConf              bool `json:"auto_conf"`               // ALTER SYSTEM and postgresql.auto.conf
	Slots                 bool `json:"slots"`                   // replication slots
	MinApplyDelay         bool `json:"min_apply_delay"`         // recovery_min_apply_delay
	Rewind                bool `json:"rewind"`                  // pg_rewind
	TargetAction          bool `json:"target_action"`           // recovery_target_action
	WALRetryInterval      bool `json:"wal_retry_interval"`      // wal_retrieve_retry_interval
	PartialSegments       bool `json:"partial_segments"`        // the last segment of a left timeline is archived as .partial
	NonExclusiveBackup    bool `json:"non_exclusive_backup"`    //
	ExclusiveBackup       bool `json:"exclusive_backup"`        //
	LSNNames              bool `json:"lsn_names"`               // wal and lsn in functions and directories instead of xlog and location
	StatusLine            bool `json:"status_line"`             // the line of postmaster.pid that says whether the server is ready
	InitdbSegmentSize     bool `json:"initdb_segment_size"`     // initdb --wal-segsize
	SignalFiles           bool `json:"signal_files"`            // standby.signal and recovery.signal instead of recovery.conf
	LatestTimelineDefault bool `json:"latest_timeline_default"` // recovery_target_timeline is latest unless set
	PgPromote             bool `json:"pg_promote"`              // SQL pg_promote()
	BackupManifest        bool `json:"backup_manifest"`         // pg_verifybackup
	PgStandby             bool `json:"pg_standby"`              // contrib/pg_standby is shipped
	RecoveryPrefetch      bool `json:"recovery_prefetch"`       //
	BackupStartStop       bool `json:"backup_start_stop"`       // pg_backup_start and pg_backup_stop instead of pg_start_backup and pg_stop_backup
	ArchiveLibrary        bool `json:"archive_library"`         //
	RewindNeedsCheckpoint bool `json:"rewind_needs_checkpoint"` // pg_rewind reads the source's timeline from its last checkpoint
	IncrementalBackup     bool `json:"incremental_backup"`      //

	// WALDir is "pg_wal", or "pg_xlog" before 10.
	WALDir string `json:"wal_dir"`
	// TriggerSetting is the setting that names a file whose appearance
	// promotes: "trigger_file" (9.0 to 11), "promote_trigger_file" (12 to 15)
	// or empty.
	TriggerSetting string `json:"trigger_setting,omitempty"`
}

// Change is one row of the version table: something that a range of major
// versions has.
type Change struct {
	Name  string  `json:"name"`
	Since Version `json:"since"`           // 0: before all versions known here
	Until Version `json:"until,omitempty"` // the first version without it; 0: still there
	mark  func(*Features)
}

// has reports whether the row holds for a version.
func (c Change) has(v Version) bool { return v >= c.Since && (c.Until == 0 || v < c.Until) }

// VersionTable is what changed between PostgreSQL 8.2 and 18 and matters to a
// log-shipping cluster, in the order of the releases. The source is the
// release notes of each major version.
func VersionTable() []Change {
	return []Change{
		{"exclusive backup mode", 0, 15, func(f *Features) { f.ExclusiveBackup = true }},
		{"pg_xlog", 0, 10, func(f *Features) { f.WALDir = "pg_xlog" }},
		{"pg_standby in contrib", 8.3, 14, func(f *Features) { f.PgStandby = true }},
		{"%r in restore_command", 8.3, 0, func(f *Features) { f.RestartPoint = true }},
		{"archive_mode", 8.3, 0, func(f *Features) { f.ArchiveMode = true }},
		{"recovery_end_command", 8.4, 0, func(f *Features) { f.RecoveryEndCommand = true }},
		{"hot standby", 9.0, 0, func(f *Features) { f.HotStandby = true }},
		{"streaming replication", 9.0, 0, func(f *Features) { f.Streaming = true }},
		{"standby mode", 9.0, 0, func(f *Features) { f.StandbyMode = true }},
		{"trigger_file", 9.0, 12, func(f *Features) { f.TriggerSetting = "trigger_file" }},
		{"archive_cleanup_command", 9.0, 0, func(f *Features) { f.ArchiveCleanupCommand = true }},
		{"pg_ctl promote", 9.1, 0, func(f *Features) { f.PgCtlPromote = true }},
		{"ALTER SYSTEM", 9.4, 0, func(f *Features) { f.AutoConf = true }},
		{"replication slots", 9.4, 0, func(f *Features) { f.Slots = true }},
		{"recovery_min_apply_delay", 9.4, 0, func(f *Features) { f.MinApplyDelay = true }},
		{"pg_rewind", 9.5, 0, func(f *Features) { f.Rewind = true }},
		{"pg_rewind reads the timeline of the last checkpoint", 9.5, 16, func(f *Features) { f.RewindNeedsCheckpoint = true }},
		{"recovery_target_action", 9.5, 0, func(f *Features) { f.TargetAction = true }},
		{"wal_retrieve_retry_interval", 9.5, 0, func(f *Features) { f.WALRetryInterval = true }},
		{".partial segments", 9.5, 0, func(f *Features) { f.PartialSegments = true }},
		{"non-exclusive backup mode", 9.6, 0, func(f *Features) { f.NonExclusiveBackup = true }},
		{"pg_wal", 10, 0, func(f *Features) { f.WALDir = "pg_wal" }},
		{"wal and lsn in the names of functions", 10, 0, func(f *Features) { f.LSNNames = true }},
		{"status line in postmaster.pid", 10, 0, func(f *Features) { f.StatusLine = true }},
		{"segment size chosen at initdb", 11, 0, func(f *Features) { f.InitdbSegmentSize = true }},
		{"standby.signal and recovery.signal", 12, 0, func(f *Features) { f.SignalFiles = true }},
		{"recovery_target_timeline defaults to latest", 12, 0, func(f *Features) { f.LatestTimelineDefault = true }},
		{"promote_trigger_file", 12, 16, func(f *Features) { f.TriggerSetting = "promote_trigger_file" }},
		{"pg_promote()", 12, 0, func(f *Features) { f.PgPromote = true }},
		{"backup_manifest", 13, 0, func(f *Features) { f.BackupManifest = true }},
		{"pg_backup_start and pg_backup_stop", 15, 0, func(f *Features) { f.BackupStartStop = true }},
		{"recovery_prefetch", 15, 0, func(f *Features) { f.RecoveryPrefetch = true }},
		{"archive_library", 15, 0, func(f *Features) { f.ArchiveLibrary = true }},
		{"incremental backup", 17, 0, func(f *Features) { f.IncrementalBackup = true }},
	}
}

// FeaturesOf says what a major version knows. A version newer than the table
// is taken to be like the newest in it.
func FeaturesOf(v Version) Features {
	f := Features{Version: v}
	for _, change := range VersionTable() {
		if change.has(v) {
			change.mark(&f)
		}
	}
	return f
}
