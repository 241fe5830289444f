package walcore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRealServer checks what is read of a real cluster's files against what
// PostgreSQL's own programs and the server itself say of them.
func TestRealServer(t *testing.T) {
	s := newServer(t, installedPostgres(t), "-k", "--wal-segsize=1")
	s.configure("max_wal_size = 1GB", "wal_log_hints = on", "max_prepared_transactions = 7")
	s.start()
	s.load()

	compareControl(t, s)
	s.stop("fast")
	compareControl(t, s)
	compareScans(t, s)
	compareShutdownEnd(t, s)
	comparePromotion(t, s)
	compareUnfinished(t, s)
	for range 2 {
		compareCrash(t, s)
	}
}

// load writes WAL of every kind that matters: many small records, long ones
// over several segments, switches.
func (s *pgServer) load() {
	s.t.Helper()
	s.sql("CREATE TABLE IF NOT EXISTS t(a int, b text)",
		"INSERT INTO t SELECT i, repeat('x', i % 500) FROM generate_series(1, 20000) i",
		s.longRecord(),
		"INSERT INTO t SELECT 1, 'y'",
		"SELECT pg_switch_wal()",
		"UPDATE t SET a = a + 1 WHERE a % 3 = 0",
		"CHECKPOINT",
		"UPDATE t SET a = a + 1 WHERE a % 5 = 0",
		"SELECT pg_switch_wal()",
		"DELETE FROM t WHERE a % 2 = 0")
}

// longRecord writes a record of three segments.
func (s *pgServer) longRecord() string {
	return fmt.Sprintf("SELECT count(pg_logical_emit_message(true, 'x', repeat('x', %d)))", 3*s.control().SegmentSize)
}

// compareControl compares ReadControlFile with pg_controldata.
func compareControl(t *testing.T, s *pgServer) {
	t.Helper()
	c := s.control()
	got := map[string]string{
		"pg_control version number":            strconv.Itoa(int(c.ControlVersion)),
		"Catalog version number":               strconv.Itoa(int(c.CatalogVersion)),
		"Database system identifier":           strconv.FormatUint(c.SystemID, 10),
		"Database cluster state":               c.State.String(),
		"pg_control last modified":             c.ModifiedAt.Format(time.ANSIC),
		"Latest checkpoint location":           c.Checkpoint.String(),
		"Latest checkpoint's REDO location":    c.Redo.String(),
		"Latest checkpoint's TimeLineID":       strconv.Itoa(int(c.Timeline)),
		"Latest checkpoint's PrevTimeLineID":   strconv.Itoa(int(c.PrevTimeline)),
		"Time of latest checkpoint":            c.CheckpointTime.Format(time.ANSIC),
		"Minimum recovery ending location":     c.MinRecoveryPoint.String(),
		"Min recovery ending loc's timeline":   strconv.Itoa(int(c.MinRecoveryTimeline)),
		"Backup start location":                c.BackupStart.String(),
		"Backup end location":                  c.BackupEnd.String(),
		"End-of-backup record required":        map[bool]string{false: "no", true: "yes"}[c.BackupEndRequired],
		"wal_level setting":                    c.WALLevel,
		"wal_log_hints setting":                map[bool]string{false: "off", true: "on"}[c.WALLogHints],
		"max_connections setting":              strconv.Itoa(c.MaxConnections),
		"max_worker_processes setting":         strconv.Itoa(c.MaxWorkerProcesses),
		"max_wal_senders setting":              strconv.Itoa(c.MaxWALSenders),
		"max_prepared_xacts setting":           strconv.Itoa(c.MaxPreparedXacts),
		"max_locks_per_xact setting":           strconv.Itoa(c.MaxLocksPerXact),
		"track_commit_timestamp setting":       map[bool]string{false: "off", true: "on"}[c.TrackCommitTimestamp],
		"Database block size":                  strconv.Itoa(int(c.BlockSize)),
		"Blocks per segment of large relation": strconv.Itoa(int(c.RelationBlocks)),
		"WAL block size":                       strconv.Itoa(int(c.WALBlockSize)),
		"Bytes per WAL segment":                strconv.Itoa(int(c.SegmentSize)),
		"Data page checksum version":           strconv.Itoa(int(c.ChecksumVersion)),
		"Latest checkpoint's REDO WAL file":    string(SegmentAt(c.Timeline, c.Redo, c.SegmentSize)),
		"Latest checkpoint's full_page_writes": "on",
	}
	want := map[string]string{}
	for line := range strings.Lines(s.run("pg_controldata", s.data)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			want[key] = strings.TrimSpace(value)
		}
	}
	for key, value := range got {
		if want[key] != value {
			t.Errorf("%s: got %q, pg_controldata says %q", key, value, want[key])
		}
	}
}

var dumpedRecord = regexp.MustCompile(`(?m)^rmgr: (\S+).* lsn: ([0-9A-F/]+), prev \S+ desc: (\S+)`)

type dumped struct {
	at         LSN
	rmgr, desc string
}

// waldump lists records with pg_waldump, which ends with an error where the
// WAL ends.
func (s *pgServer) waldump(args ...string) (records []dumped, message string) {
	s.t.Helper()
	cmd := s.command(append([]string{"pg_waldump"}, args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatal(err)
	}
	for _, match := range dumpedRecord.FindAllStringSubmatch(out.String(), -1) {
		records = append(records, dumped{mustLSN(s.t, match[2]), match[1], match[3]})
	}
	return records, strings.TrimSpace(errs.String())
}

func (s *pgServer) segments() []SegmentName {
	s.t.Helper()
	entries, err := os.ReadDir(s.walDir())
	if err != nil {
		s.t.Fatal(err)
	}
	var names []SegmentName
	for _, e := range entries {
		if name, err := ParseSegmentName(e.Name()); err == nil {
			names = append(names, name)
		}
	}
	return names
}

func (s *pgServer) scan(name SegmentName) (Extent, error) {
	s.t.Helper()
	return scanFile(s.walDir(), name, s.control().Identity())
}

func scanFile(dir string, name SegmentName, id Identity) (Extent, error) {
	f, err := os.Open(filepath.Join(dir, string(name)))
	if err != nil {
		return Extent{}, err
	}
	defer f.Close() //nolint:errcheck // only read from
	return ScanSegment(f, name, id)
}

// compareScans compares ScanSegment with pg_waldump, for every segment.
func compareScans(t *testing.T, s *pgServer) {
	t.Helper()
	scanned, records, switches := 0, 0, 0
	for _, name := range s.segments() {
		got, err := s.scan(name)
		want, message := s.waldump(filepath.Join(s.walDir(), string(name)))
		if err != nil {
			if len(want) > 0 { // pg_waldump refuses a recycled or empty segment too
				t.Errorf("%s: %v, but pg_waldump lists %d records", name, err, len(want))
			}
			continue
		}
		scanned++
		records += len(want)
		if got.Records != len(want) {
			t.Errorf("%s: got %+v, pg_waldump lists %d records (%s)", name, got, len(want), message)
			continue
		}
		if len(want) == 0 {
			continue
		}
		last := want[len(want)-1]
		if got.Start != want[0].at || got.LastRecord != last.at || (got.LastKind == RecordSwitch) != (last.desc == "SWITCH") {
			t.Errorf("%s: got %+v, pg_waldump has records from %s to %s, %s", name, got, want[0].at, last.at, last.desc)
		}
		if got.LastKind == RecordSwitch {
			switches++
		}
		if stopped := regexp.MustCompile(`invalid record length at ([0-9A-F/]+)`).FindStringSubmatch(message); stopped != nil && mustLSN(t, stopped[1]) != got.End {
			t.Errorf("%s: got the end %s, pg_waldump says %s", name, got.End, message)
		}
	}
	if scanned < 5 || records < 10000 || switches == 0 {
		t.Errorf("compared %d segments with %d records and %d switches: too few to prove anything", scanned, records, switches)
	}
}

func compareShutdownEnd(t *testing.T, s *pgServer) {
	t.Helper()
	c := s.control()
	got, segment, err := ShutdownEnd(s.walDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	_, message := s.waldump("-p", s.walDir(), "-s", c.Checkpoint.String())
	if !strings.Contains(message, "at "+got.String()+":") {
		t.Errorf("got the end %s, pg_waldump says %s", got, message)
	}
	if end, endSegment, err := EndOfWAL(s.walDir(), c); err != nil || end != got || endSegment != segment {
		t.Errorf("EndOfWAL: got %s in %s, %v, want %s in %s", end, endSegment, err, got, segment)
	}
}

// comparePromotion promotes a copy of a stopped cluster: its timeline must
// begin where ShutdownEnd says that the old one ends. Then it is killed before
// the first checkpoint of the new timeline.
func comparePromotion(t *testing.T, s *pgServer) {
	t.Helper()
	fork, _, err := ShutdownEnd(s.walDir(), s.control())
	if err != nil {
		t.Fatal(err)
	}
	p := s.copy("promoted")
	p.beStandby()
	p.start()
	checkpointer := p.process("checkpointer")
	if err := syscall.Kill(checkpointer, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.run("pg_ctl", "-D", p.data, "-w", "promote")
	history := p.history(2)
	if got, ok := history.Fork(1); !ok || got != fork {
		t.Errorf("the new timeline begins at %s, %v, want %s", got, ok, fork)
	}
	p.sql("INSERT INTO t SELECT i, 'z' FROM generate_series(1, 50000) i")
	if c := p.control(); c.Timeline != 1 || c.MinRecoveryTimeline != 2 {
		t.Errorf("got the timelines %d and %d of checkpoint and recovery, want 1 and 2: there was a checkpoint", uint32(c.Timeline), uint32(c.MinRecoveryTimeline))
	}
	compareKilled(t, p)
}

// beStandby makes the stopped cluster a standby with nothing to follow.
func (s *pgServer) beStandby() {
	s.t.Helper()
	if s.control().ControlVersion < control12 {
		s.appendTo("recovery.conf", "standby_mode = on\nrestore_command = 'false'\nrecovery_target_timeline = 'latest'\n")
		return
	}
	s.configure("restore_command = 'false'")
	s.appendTo("standby.signal", "")
}

func (s *pgServer) history(of Timeline) History {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.walDir(), string(of.HistoryName())))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	h, err := ParseHistory(f, of)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// process is the id of one of the server's processes, told by its title.
func (s *pgServer) process(title string) int {
	s.t.Helper()
	content, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	postmaster, err := strconv.Atoi(strings.SplitN(string(content), "\n", 2)[0])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, pid := range s.children(postmaster) {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(line), title) {
			return pid
		}
	}
	s.t.Fatalf("the server has no process %q", title)
	return 0
}

// compareKilled kills the server, computes the end of its WAL and compares it
// with the last record that the server itself replays when it starts again.
func compareKilled(t *testing.T, s *pgServer) {
	t.Helper()
	s.kill()
	c := s.control()
	if c.State == StateShutDown {
		t.Fatalf("the killed server's control file says %q", c.State)
	}
	end, segment, err := EndOfWAL(s.walDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	timeline := max(c.Timeline, c.MinRecoveryTimeline)
	before := t.TempDir() // the server writes on in these segments
	if out, err := exec.Command("cp", "-r", s.walDir()+"/.", before).CombinedOutput(); err != nil {
		t.Fatalf("copy pg_wal: %v\n%s", err, out)
	}
	s.start()
	redone := mustLSN(t, s.logged("redo done at "))
	want, err := RecordEnd(opener(before), redone, timeline, c.SegmentSize)
	if err != nil {
		t.Fatalf("the record at %s, the last one that the server replayed: %v", redone, err)
	}
	if last, err := scanFile(before, segment, c.Identity()); err == nil && last.LastRecord == redone && last.LastKind == RecordSwitch {
		want = segment.End(c.SegmentSize)
	}
	if want != end || segment != SegmentAt(timeline, end-1, c.SegmentSize) {
		t.Errorf("got the end of WAL %s in %s, the server replayed to %s (the record at %s)", end, segment, want, redone)
	}
	// The server has written on, behind a record that it gave up if there was one.
	after := s.control().Checkpoint
	if now, _, err := EndOfWAL(s.walDir(), c); err != nil || after < end || now <= after {
		t.Errorf("after recovery got %s, %v, want an end behind the server's first checkpoint at %s", now, err, after)
	}
}

// opener opens the segments in dir for RecordEnd.
func opener(dir string) func(SegmentName) (io.ReaderAt, error) {
	return func(name SegmentName) (io.ReaderAt, error) {
		content, err := os.ReadFile(filepath.Join(dir, string(name)))
		if err != nil {
			return nil, err
		}
		return strings.NewReader(string(content)), nil
	}
}

// compareCrash kills the server in the middle of many commits.
func compareCrash(t *testing.T, s *pgServer) {
	t.Helper()
	if s.control().State == StateShutDown {
		s.start()
	}
	s.sql("CREATE TABLE IF NOT EXISTS c(a bigserial, b text)")
	script := filepath.Join(s.dir, "load.sql")
	writeFile(t, script, []byte("INSERT INTO c(b) SELECT repeat('x', (random() * 20000)::int) FROM generate_series(1, 5);\n"))
	from := mustLSN(t, s.sql("SELECT pg_current_wal_insert_lsn()"))
	bench := s.client("pgbench", "-n", "-f", script, "-c", "4", "-j", "2", "-T", "60", "postgres")
	if err := bench.Start(); err != nil {
		t.Fatal(err)
	}
	s.waitFor("2 MB of WAL", func() bool {
		return mustLSN(t, s.sql("SELECT pg_current_wal_insert_lsn()")) > from+2<<20
	})
	defer bench.Wait() //nolint:errcheck // it loses its server
	compareKilled(t, s)
}

// compareUnfinished takes the last segments of a long record away from a
// stopped server: the record is given up, and everything goes on behind it.
func compareUnfinished(t *testing.T, s *pgServer) {
	t.Helper()
	u := s.copy("unfinished")
	u.start()
	u.sql("CHECKPOINT", "INSERT INTO t VALUES (1, 'before')", "SELECT pg_switch_wal()")
	from := mustLSN(t, u.sql("SELECT pg_current_wal_insert_lsn()"))
	u.sql(u.longRecord())
	u.kill()
	c := u.control()
	size := LSN(c.SegmentSize)
	for at := from&^(size-1) + 2*size; ; at += size {
		if err := os.Remove(filepath.Join(u.walDir(), string(SegmentAt(1, at, c.SegmentSize)))); err != nil {
			break
		}
	}
	compareKilled(t, u)
	u.sql("INSERT INTO t VALUES (1, 'after')")
	u.stop("fast")
	// From the checkpoint before on, the WAL leads over the place.
	stopped, _, err := ShutdownEnd(u.walDir(), u.control())
	if err != nil {
		t.Fatal(err)
	}
	if end, _, err := EndOfWAL(u.walDir(), c); err != nil || end != stopped {
		t.Errorf("got %s, %v, want %s, behind the record that was given up at %s", end, err, stopped, from)
	}
	u.verifyUnfinished(stopped)
}
