package walcore

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/warmrun/warmrun/tests/pgmajor"
)

// TestWALOnMajors compares what is read of a server's files with what the server
// says. Prebuilt ones come without pg_controldata and pg_waldump, so the servers
// themselves are asked, and their crash recovery shows where WAL ends. With
// WARMRUN_WRITE_TESTDATA set to a directory, the control files are kept there.
func TestWALOnMajors(t *testing.T) {
	pgmajor.Each(t, func(t *testing.T, on pgmajor.Server) {
		var initdb []string
		if on.Major >= 11 {
			initdb = []string{"--wal-segsize=1"}
		}
		s := newServer(t, on.Bin, initdb...)
		s.configure("max_wal_size = 1GB", "wal_log_hints = on", "max_prepared_transactions = 7", "max_wal_senders = 5")
		s.start()
		s.load()
		s.sql("CHECKPOINT")
		askControl(t, s)
		s.stop("fast")
		keepControl(t, s, on.Major)
		followSegments(t, s)
		comparePromotion(t, s)
		compareUnfinished(t, s)
		compareCrash(t, s)
		compareCrash(t, s)
	})
}

// askControl compares ReadControlFile with what the running server says.
func askControl(t *testing.T, s *pgServer) {
	t.Helper()
	c := s.control()
	got := map[string]string{
		"SELECT system_identifier || ' ' || pg_control_version || ' ' || catalog_version_no || ' ' || extract(epoch FROM pg_control_last_modified)::bigint FROM pg_control_system()":             fmt.Sprint(c.SystemID, " ", c.ControlVersion, " ", c.CatalogVersion, " ", c.ModifiedAt.Unix()),
		"SELECT checkpoint_lsn || ' ' || redo_lsn || ' ' || timeline_id || ' ' || prev_timeline_id || ' ' || extract(epoch FROM checkpoint_time)::bigint FROM pg_control_checkpoint()":           fmt.Sprint(c.Checkpoint, " ", c.Redo, " ", uint32(c.Timeline), " ", uint32(c.PrevTimeline), " ", c.CheckpointTime.Unix()),
		"SELECT min_recovery_end_lsn || ' ' || min_recovery_end_timeline || ' ' || backup_start_lsn || ' ' || backup_end_lsn || ' ' || end_of_backup_record_required FROM pg_control_recovery()": fmt.Sprint(c.MinRecoveryPoint, " ", uint32(c.MinRecoveryTimeline), " ", c.BackupStart, " ", c.BackupEnd, " ", c.BackupEndRequired),
		"SELECT database_block_size || ' ' || blocks_per_segment || ' ' || wal_block_size || ' ' || bytes_per_wal_segment || ' ' || data_page_checksum_version FROM pg_control_init()":           fmt.Sprint(c.BlockSize, " ", c.RelationBlocks, " ", c.WALBlockSize, " ", uint32(c.SegmentSize), " ", c.ChecksumVersion),
		"SHOW wal_level":                 c.WALLevel,
		"SHOW max_connections":           strconv.Itoa(c.MaxConnections),
		"SHOW max_worker_processes":      strconv.Itoa(c.MaxWorkerProcesses),
		"SHOW max_prepared_transactions": strconv.Itoa(c.MaxPreparedXacts),
		"SHOW max_locks_per_transaction": strconv.Itoa(c.MaxLocksPerXact),
		"SHOW wal_log_hints":             map[bool]string{false: "off", true: "on"}[c.WALLogHints],
		"SHOW track_commit_timestamp":    map[bool]string{false: "off", true: "on"}[c.TrackCommitTimestamp],
	}
	if s.major() >= 12 {
		got["SHOW max_wal_senders"] = strconv.Itoa(c.MaxWALSenders)
	}
	for question, value := range got {
		if want := s.sql(question); value != want {
			t.Errorf("%s: got %q, the server says %q", question, value, want)
		}
	}
	if c.State != StateInProduction {
		t.Errorf("got the state %q of a running server", c.State)
	}
}

// keepControl writes the used part of pg_control and what was read of it.
func keepControl(t *testing.T, s *pgServer, major int) {
	t.Helper()
	dir := os.Getenv("WARMRUN_WRITE_TESTDATA")
	if dir == "" {
		return
	}
	content, err := os.ReadFile(filepath.Join(s.data, "global", "pg_control"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(s.control(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, strconv.Itoa(major)), content[:320])
	writeFile(t, filepath.Join(dir, strconv.Itoa(major)+".json"), append(text, '\n'))
}

// followSegments scans all segments of a stopped server: each must be complete
// but the last, which must end where the shutdown checkpoint does.
func followSegments(t *testing.T, s *pgServer) {
	t.Helper()
	end, last, err := ShutdownEnd(s.walDir(), s.control())
	if err != nil {
		t.Fatal(err)
	}
	if got, segment, err := EndOfWAL(s.walDir(), s.control()); err != nil || got != end || segment != last {
		t.Errorf("EndOfWAL: got %s in %s, %v, want %s in %s", got, segment, err, end, last)
	}
	records, switches := 0, 0
	for _, name := range s.segments() {
		e, err := s.scan(name)
		switch {
		case name > last:
			if err == nil && e.Records > 0 {
				t.Errorf("%s behind the end: got %+v, want nothing valid", name, e)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case name == last && (e.End != end || e.LastKind != RecordShutdownCheckpoint || e.Complete):
			t.Errorf("%s: got %+v, want a shutdown checkpoint that ends at %s", name, e, end)
		case name < last && !e.Complete:
			t.Errorf("%s: got %+v, want a complete segment", name, e)
		}
		records += e.Records
		if e.LastKind == RecordSwitch {
			switches++
		}
	}
	if records < 10000 || switches < 2 {
		t.Errorf("found %d records and %d switches: too few to prove anything", records, switches)
	}
}
