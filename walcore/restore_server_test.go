package walcore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/pgmajor"
)

// TestRestoreOnMajors shows on real servers what restore promises them, with and
// without hot standby, and with recovery_prefetch as it is shipped.
func TestRestoreOnMajors(t *testing.T) {
	pgmajor.Each(t, func(t *testing.T, on pgmajor.Server) { restoreOnServers(t, usePostgres(t, on.Bin)) })
}

func restoreOnServers(t *testing.T, p *postgres) {
	t.Helper()
	primary := p.add(t, "primary", nil)
	base := &node{data: filepath.Join(p.dir, "base")}
	primary.configure(fmt.Sprintf("archive_mode = on\narchive_command = 'cp %%p %[1]s/%%f.tmp && mv %[1]s/%%f.tmp %[1]s/%%f'\n", primary.archive))
	p.run(t, "cp", "-a", primary.data, base.data)
	primary.start()
	segments := primary.produce(3)
	primary.stop()
	f := &restoreFixture{p, primary, base, segments}
	t.Run("answers at once and is nudged", f.testNudge)
	t.Run("without hot standby", f.testCold)
	t.Run("a spoilt segment", f.testSpoilt)
	t.Run("a flipped byte", f.testFlipped)
	t.Run("waits, stops cleanly, goes on, is promoted", f.testWait)
	t.Run("standby without its archive", f.testStandbyWithoutArchive)
	t.Run("recovery without its archive", f.testRecoveryWithoutArchive)
	t.Run("fast trigger", f.testFastTrigger)
	t.Run("smart trigger where there is no standby mode", f.testSmartTrigger)
}

type restoreFixture struct {
	p        *postgres
	primary  *node
	base     *node    // the primary before it had any rows
	segments []string // each with one more row
}

// recovering is a new node that recovers, with all but the last segment in its
// archive.
func (f *restoreFixture) recovering(t *testing.T, name string, standby, wait bool) *node {
	t.Helper()
	n := f.p.add(t, name, f.base)
	f.prepare(n, standby, helperOptions{Archive: n.archive, Wait: wait})
	return n
}

func (f *restoreFixture) prepare(n *node, standby bool, o helperOptions) {
	n.t.Helper()
	n.configure("archive_mode = off\n")
	n.recover(standby, o)
	n.ship(f.primary, f.segments[:len(f.segments)-1]...)
}

func (f *restoreFixture) last() string { return f.segments[len(f.segments)-1] }

func (f *restoreFixture) testNudge(t *testing.T) {
	n := f.recovering(t, "nudged", true, false)
	n.start()
	n.until(countRows, "2")
	n.wants(SegmentName(f.last()), false)
	n.ship(f.primary, f.last())
	start := time.Now()
	n.nudge(f.last())
	n.until(countRows, "3")
	// The server itself would look again only after a minute.
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("the segment was replayed after %s, want it at once", took)
	}
	n.noneOf("PANIC", "FATAL:  could not restore")
}

// nudge wakes the server, of which it must be certain.
func (n *node) nudge(name string) {
	n.t.Helper()
	var said []string
	err := (&Archive{dir: n.archive}).NudgeLog(context.Background(), FileName(name), func(format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
	})
	if err != nil || len(said) != 1 || !strings.Contains(said[0], "woke process") {
		n.t.Errorf("nudge: %v, said %q", err, said)
	}
}

// testCold is a standby that accepts no connections: what it does is seen from
// what it asks for.
func (f *restoreFixture) testCold(t *testing.T) {
	for name, wait := range map[string]bool{"cold": false, "coldwait": true} {
		n := f.recovering(t, name, true, wait)
		n.configure("hot_standby = off\n")
		if said, err := n.ctl("start", "-W", "-l", n.log); err != nil {
			t.Fatalf("start: %v\n%s", err, said)
		}
		n.wants(SegmentName(f.last()), wait)
		n.ship(f.primary, f.last())
		start := time.Now()
		if !wait {
			n.nudge(f.last())
		}
		n.wants(SegmentName(f.last()).Next(f.size(t)), wait)
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: the segment was restored after %s, want it at once", name, took)
		}
		if said, err := n.ctl("promote"); err != nil {
			t.Fatalf("promote: %v\n%s", err, said)
		}
		if got := n.timeline(); got != "2" {
			t.Errorf("%s: got timeline %s, want 2", name, got)
		}
		if got := n.query(countRows); got != "3" {
			t.Errorf("%s: rows: got %s, want all that were archived, 3", name, got)
		}
		n.noneOf("PANIC", "FATAL:  could not restore")
	}
}

// testSpoilt puts files into the archive that are not the segment that they
// are named after: they are reported once each, and the server waits for the
// right one.
func (f *restoreFixture) testSpoilt(t *testing.T) {
	n := f.recovering(t, "spoilt", true, false)
	n.configure("wal_retrieve_retry_interval = 50ms\n")
	right := filepath.Join(f.primary.archive, f.last())
	n.run(t, "cp", right, n.archive+".part")
	n.run(t, "truncate", "--size=-8192", n.archive+".part")
	n.run(t, "truncate", "--size", fmt.Sprint(f.size(t)), n.archive+".zero")
	n.start()
	n.until(countRows, "2")
	path := filepath.Join(n.archive, f.last())
	for _, spoilt := range []string{n.archive + ".part", n.archive + ".zero", filepath.Join(f.primary.archive, f.segments[0])} {
		n.run(t, "cp", spoilt, n.archive+".tmp")
		n.run(t, "mv", n.archive+".tmp", path)
		asked := n.asked()
		n.eventually(func() string { return "the server does not ask again" }, func() bool { return n.asked() > asked+3 })
	}
	for what, want := range map[string]int{"the segments of this cluster have": 1, "the first page is all zeros": 1, "its first page has the address": 1} {
		if got := strings.Count(n.logged(), what); got != want {
			t.Errorf("%q is in the log %d times, want %d:\n%s", what, got, want, n.logged())
		}
	}
	n.run(t, "cp", right, n.archive+".tmp")
	n.run(t, "mv", n.archive+".tmp", path)
	n.until(countRows, "3")
	n.noneOf("PANIC", "invalid")
}

// testFlipped spoils a record within a segment that is otherwise right. To find
// that in each restore would cost as much as replay does: the server sees it by the
// record's checksum, replays nothing of it, and goes on once the segment is right.
func (f *restoreFixture) testFlipped(t *testing.T) {
	n := f.recovering(t, "flipped", true, false)
	n.configure("wal_retrieve_retry_interval = 50ms\n")
	content, err := os.ReadFile(filepath.Join(f.primary.archive, f.last()))
	if err != nil {
		t.Fatal(err)
	}
	const checksum = 40 + 20 // of the first record: xl_crc of XLogRecord, behind the page header
	content[checksum] ^= 1
	path := filepath.Join(n.archive, f.last())
	if err := os.WriteFile(n.archive+".flipped", content, 0o644); err != nil {
		t.Fatal(err)
	}
	n.run(t, "cp", n.archive+".flipped", path)
	n.start()
	n.until(countRows, "2")
	const said = "incorrect resource manager data checksum in record at"
	n.eventually(func() string { return "the server does not say that a record is damaged" }, func() bool { return strings.Contains(n.logged(), said) })
	if got := n.query(countRows); got != "2" {
		t.Errorf("%s rows, want the 2 before the damage", got)
	}
	report, err := (&Archive{dir: n.archive}).Verify(t.Context(), VerifyRequest{})
	if err != nil || len(report.Findings) == 0 || report.Findings[0].File != f.last() || report.Findings[0].Remedy == "" {
		t.Errorf("got %+v, %v; want %s found, and what to do", report.Findings, err, f.last())
	}
	n.run(t, "cp", filepath.Join(f.primary.archive, f.last()), n.archive+".tmp")
	n.run(t, "mv", n.archive+".tmp", path)
	n.until(countRows, "3")
	n.noneOf("PANIC", "FATAL:  could not restore")
}

// asked is how often this test's helper was run by the server.
func (n *node) asked() int {
	return strings.Count(n.logged(), "restore helper was asked")
}

// noneOf checks the server's log.
func (n *node) noneOf(words ...string) {
	n.t.Helper()
	log := n.logged()
	for _, word := range words {
		if strings.Contains(log, word) {
			n.t.Errorf("the server's log says %q:\n%s", word, log)
		}
	}
}

func (f *restoreFixture) testWait(t *testing.T) {
	n := f.recovering(t, "waiting", true, true)
	n.start()
	n.until(countRows, "2")
	n.wants(SegmentName(f.last()), true)
	n.stop()
	n.noneOf("PANIC", "FATAL:  could not restore", "terminated by signal")
	n.start()
	n.wants(SegmentName(f.last()), true)
	// A postmaster that is killed takes the waiting restore with it.
	server, _ := hostProcesses.server(n.data)
	if err := syscall.Kill(server.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.deserted()
	// Where nobody has reaped it yet its lock files seem to be in use.
	n.run(t, "rm", filepath.Join(n.data, "postmaster.pid"), filepath.Join(n.dir, fmt.Sprintf(".s.PGSQL.%d.lock", n.port)))
	n.start()
	n.wants(SegmentName(f.last()), true)
	n.ship(f.primary, f.last())
	n.until(countRows, "3")
	after := SegmentName(f.last()).Next(f.size(t))
	n.wants(after, true)
	if said, err := n.ctl("promote"); err != nil {
		t.Fatalf("promote: %v\n%s", err, said)
	}
	if got := n.timeline(); got != "2" {
		t.Errorf("after the promotion: got timeline %s, want 2", got)
	}
	n.noneOf("PANIC")
	f.testFollow(t, n)
}

func (f *restoreFixture) size(t *testing.T) SegmentSize {
	t.Helper()
	control, err := ReadControlFile(f.primary.data)
	if err != nil {
		t.Fatal(err)
	}
	return control.SegmentSize
}

// testFollow shows that a standby that waits for WAL of the old timeline finds
// the new one, also where pg_standby is its restore_command.
func (f *restoreFixture) testFollow(t *testing.T, promoted *node) {
	old := f.p.add(t, "pg_standby", f.base)
	f.prepare(old, true, helperOptions{Archive: old.archive, Wait: true, PgStandby: true})
	followers := []*node{f.recovering(t, "following", true, true), old}
	for _, n := range followers {
		n.ship(f.primary, f.last())
		n.start()
		n.until(countRows, "3")
		n.wants(SegmentName(f.last()).Next(f.size(t)), true)
	}
	promoted.configure(fmt.Sprintf("archive_mode = on\narchive_command = 'cp %%p %[1]s/%%f.tmp && mv %[1]s/%%f.tmp %[1]s/%%f'\n", promoted.archive))
	promoted.stop()
	promoted.start()
	names := promoted.produce(1)
	promoted.run(t, "cp", filepath.Join(promoted.data, "pg_wal", "00000002.history"), promoted.archive)
	for _, n := range followers {
		n.ship(promoted, append([]string{"00000002.history"}, names...)...)
		n.until(countRows, "4")
		n.noneOf("PANIC")
	}
	if said := "running restore        : OK"; !strings.Contains(old.logged(), said) {
		t.Errorf("%q is not in the log of the server whose restore_command is pg_standby:\n%s", said, old.logged())
	}
}

func (f *restoreFixture) testStandbyWithoutArchive(t *testing.T) {
	n := f.recovering(t, "unmounted", true, false)
	n.configure("wal_retrieve_retry_interval = 100ms\n")
	away := n.archive + ".away"
	n.run(t, "mv", n.archive, away)
	if said, err := n.ctl("start", "-W", "-l", n.log); err != nil {
		t.Fatalf("start: %v\n%s", err, said)
	}
	n.eventually(func() string { return "the server does not ask again" }, func() bool {
		return strings.Count(n.logged(), ErrNoArchive.Error()) >= 5
	})
	if got := n.query("SELECT pg_is_in_recovery()::text"); got == "false" {
		t.Error("the database was opened without its archive")
	}
	n.run(t, "mv", away, n.archive)
	n.until(countRows, "2")
	if got := n.query("SELECT pg_is_in_recovery()::text"); got != "true" {
		t.Errorf("in recovery: got %s, want true", got)
	}
}

func (f *restoreFixture) testRecoveryWithoutArchive(t *testing.T) {
	n := f.recovering(t, "pitr", false, false)
	away := n.archive + ".away"
	n.run(t, "mv", n.archive, away)
	if said, err := n.ctl("start", "-w", "-l", n.log); err == nil {
		t.Fatalf("the server started without its archive:\n%s", said)
	}
	log := n.logged()
	if !strings.Contains(log, "FATAL:  could not restore file") || !strings.Contains(log, ErrNoArchive.Error()) || n.running() {
		t.Errorf("want the server to stop with FATAL and our reason, got\n%s", log)
	}
	n.run(t, "mv", away, n.archive)
	n.start()
	if got := n.timeline(); got != "2" {
		t.Errorf("with its archive: got timeline %s, want 2", got)
	}
	if got := n.query(countRows); got != "2" {
		t.Errorf("rows: got %s, want all that were archived, 2", got)
	}
	// An ordinary recovery removes nothing from the archive.
	if names, err := (&Archive{dir: n.archive}).List(); err != nil || len(names) != 2 {
		t.Errorf("archive afterwards: got %v, %v; want its 2 segments", names, err)
	}
}

func (f *restoreFixture) testFastTrigger(t *testing.T) {
	n := f.recovering(t, "fast", true, true)
	n.start()
	n.until(countRows, "2")
	n.wants(SegmentName(f.last()), true)
	if err := WriteTrigger(filepath.Join(n.data, "trigger"), true); err != nil {
		t.Fatal(err)
	}
	if n.runAs != nil {
		if err := os.Chown(filepath.Join(n.data, "trigger"), int(n.runAs.Uid), int(n.runAs.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	n.eventually(func() string { return "the trigger is not seen" }, func() bool {
		return strings.Contains(n.logged(), "trigger file found: fast failover")
	})
	n.ship(f.primary, f.last())
	if said, err := n.ctl("promote"); err != nil {
		t.Fatalf("promote: %v\n%s", err, said)
	}
	if got := n.timeline(); got != "2" {
		t.Errorf("got timeline %s, want 2", got)
	}
	if got := n.query(countRows); got != "2" {
		t.Errorf("rows: got %s, want the 2 that were there when it was triggered", got)
	}
}

// testSmartTrigger is a standby as it was before 9.0: an ordinary recovery
// whose restore_command waits.
func (f *restoreFixture) testSmartTrigger(t *testing.T) {
	n := f.recovering(t, "smart", false, true)
	if said, err := n.ctl("start", "-W", "-l", n.log); err != nil {
		t.Fatalf("start: %v\n%s", err, said)
	}
	n.wants(SegmentName(f.last()), true)
	if said, err := n.ctl("stop", "-m", "immediate"); err != nil {
		t.Fatalf("stop: %v\n%s", err, said)
	}
	n.noneOf("SIGKILL", "archive recovery complete")
	if said, err := n.ctl("start", "-W", "-l", n.log); err != nil {
		t.Fatalf("start: %v\n%s", err, said)
	}
	n.ship(f.primary, f.last())
	n.wants(SegmentName(f.last()).Next(f.size(t)), true)
	n.append("trigger", "")
	if got := n.timeline(); got != "2" {
		t.Errorf("got timeline %s, want 2", got)
	}
	if got := n.query(countRows); got != "3" {
		t.Errorf("rows: got %s, want all that were archived, 3", got)
	}
	n.noneOf("PANIC")
}
