package tests

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// sequence: roles change three times, then the primary dies. The node that
// takes over was the primary of a timeline in between, whose WAL its archive
// never had.
func (s *state) sequence() {
	primary, standby := s.DB1, s.DB2
	for _, change := range [][]string{{"switchover", "--drain", "0s"}, {"switchback", "--drain", "0s", "--yes"}, {"switchover", "--drain", "0s"}} {
		s.write(primary)
		primary.Must(change...)
		primary, standby = standby, primary
		s.write(primary)
		s.follows(standby, primary)
	}
	s.write(primary)
	primary.KillServer()
	said := standby.Must("failover", "--yes")
	// The collation is from the chapter on what the other host lacks.
	s.says(said, "Nothing is lost", "WARNING: the libraries on "+standby.Name+" sort text otherwise")
	s.checkRows(standby)
	s.write(standby)

	// The dead one is fenced: whoever starts it gets a standby.
	primary.StartServer()
	if got := primary.SQL("SELECT pg_is_in_recovery()::text"); got != "true" {
		s.Errorf("the old primary was started and is in recovery: %s, want true", got)
	}
	s.follows(primary, standby)
	if standby != s.DB1 {
		s.Fatal("db1 should be the primary now")
	}
}

// toDR: the DR node becomes the primary on purpose, by the commands that a refused
// switchover names, and gives it back. Nothing is lost and nobody is copied anew.
func (s *state) toDR() {
	s.write(s.DB1)
	s.says(s.refused(s.DB2, 1, "dr is the DR node", "switchover", "--to", "dr"),
		"warmrun flushPrimary on db1, warmrun triggerStandby --archiving on dr, then start the server on db1")
	s.DB1.Must("flushPrimary", "--drain", "0s")
	s.DR.Must("triggerStandby", "--archiving")
	s.checkRows(s.DR)
	s.DB1.StartServer()
	s.write(s.DR)
	s.follows(s.DB1, s.DR)
	s.relayed(s.DB1, s.DB2, s.DR)

	s.DR.Must("flushPrimary", "--drain", "0s")
	s.says(s.DB1.Must("triggerStandby", "--archiving"), "dr was the primary and is stopped; db1 has all that it wrote")
	s.DR.StartServer()
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)
	s.relayed(s.DB2, s.DR, s.DB1)
}

// relayed: what the primary has written comes to a node through the relay's cron.
func (s *state) relayed(relay, to, primary *cluster.Node) {
	s.Helper()
	lsn := primary.SQL("SELECT pg_switch_wal()::text")
	cluster.Eventually(s, catchUp, to.Name+" has replayed up to "+lsn, func() (bool, error) {
		relay.Run("rsyncDR")
		return to.Replayed(lsn)
	})
	s.checkRows(to)
}

// triggeredByHand: the two halves of a switchover, typed one by one.
func (s *state) triggeredByHand() {
	s.refused(s.DB2, 1, "running", "configStandby")
	s.refused(s.DB2, 1, "db1 is running and accepts writes", "triggerStandby")
	s.refused(s.DB2, 1, "db1 is running and accepts writes", "triggerStandby", "--accept-split")
	if planned := s.DB2.Run("triggerStandby", "--plan"); planned.Code != 1 || planned.Stderr != "" || !strings.Contains(planned.Stdout, "FAILED") {
		s.Errorf("%s\nwant a plan that shows the failed check, and exit status 1", planned)
	}
	trigger := filepath.Join(s.DB2.Home, "local", "trigger")
	if s.DB2.Exists(trigger) {
		s.Error("a refused triggerStandby has left its trigger file")
	}
	s.asBefore(s.DB1, s.DB2)

	s.write(s.DB1)
	s.says(s.DB1.Must("flushPrimary", "--drain", "0s"), "To go on: warmrun triggerStandby --archiving on db2; then start the server on db1")
	s.checkFlushed(s.DB1, s.DB2)
	s.says(s.DB2.Must("triggerStandby", "fast"), "Archiving is off on db2: its WAL is dropped", "warmrun copyToStandby --start on db2")
	s.says(s.DB2.Must("status"), "archiving is not active on db2", "warmrun copyToStandby --start on db2")
	if s.DB2.Exists(trigger) {
		s.Error("triggerStandby has left its trigger file")
	}
	s.write(s.DB2)
	s.checkRows(s.DB2)
	if active(s.DB2) {
		s.Error("a triggerStandby of its own has left archiving active")
	}
	s.refused(s.DB1, 1, "db2", "startPrimary")
	s.checkFenced(s.DB1)
	s.refused(s.DB1, 1, "was a primary", "configStandby")
	s.DB1.StartServer()
	if got := s.DB1.SQL("SELECT pg_is_in_recovery()::text"); got != "true" {
		s.Errorf("pg_ctl start after flushPrimary: in recovery: %s, want true", got)
	}
	s.refused(s.DB1, 1, "startPrimary", "startPrimary")
	s.DB1.StopServer("fast")
	s.refused(s.DB1, 1, "startPrimary", "startPrimary")
	s.linkWAL(s.DB1)
	s.refused(s.DB1, 1, "symbolic link", "configStandby")
}

// linkWAL moves a stopped server's pg_wal to another place, with a link to it.
func (s *state) linkWAL(n *cluster.Node) {
	s.Helper()
	wal, elsewhere := n.Path(filepath.Join(n.PGData, "pg_wal")), n.Path(filepath.Join(n.Dir, "wal"))
	if err := os.Rename(wal, elsewhere); err != nil {
		s.Fatal(err)
	}
	if err := os.Symlink(elsewhere, wal); err != nil {
		s.Fatal(err)
	}
}

// hostGone: db1 is rebuilt, then the primary's host vanishes. db1 is promoted
// only when told to accept that db2 may still be writing.
func (s *state) hostGone() {
	s.DB1.Must("configStandby", "--erase")
	s.DB2.Must("copyToStandby", "--start")
	s.follows(s.DB1, s.DB2)
	if info, err := os.Lstat(s.DB1.Path(filepath.Join(s.DB1.PGData, "pg_wal"))); err != nil || info.Mode().Type() != os.ModeSymlink {
		s.Errorf("pg_wal on db1 is %v, %v, want it to stay a link", info, err)
	}
	s.DB2.Cut()
	s.refused(s.DB1, 1, "--accept-split", "triggerStandby")
	if got := s.DB1.SQL("SELECT pg_is_in_recovery()::text"); got != "true" {
		s.Errorf("db1 is in recovery: %s, want true", got)
	}
	if result := s.DB1.Must("triggerStandby", "--accept-split"); !strings.Contains(result.Stdout, "RISK: db2 cannot be reached") {
		s.Errorf("%s\nwant the risk printed", result)
	}
	s.write(s.DB1)
	s.checkRows(s.DB1)
	s.DB2.Uncut()
}

// rebuilding: what configStandby and copyToStandby refuse, and what a copy that
// is cut off leaves behind.
func (s *state) rebuilding() {
	wal := s.DB2.Path(filepath.Join(s.DB2.PGData, "pg_wal"))
	count := func() int {
		s.Helper()
		entries, err := os.ReadDir(wal)
		if err != nil {
			s.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	s.refused(s.DB2, 1, "was a primary", "configStandby")
	if got := count(); got != before {
		s.Errorf("pg_wal had %d entries and has %d", before, got)
	}
	s.DB2.Must("configStandby", "--erase")

	s.refused(s.DB2, 1, "copyToStandby", "copyToStandby")
	archive := s.DB2.Path(s.DB2.Archive())
	if err := os.Rename(archive, archive+".away"); err != nil {
		s.Fatal(err)
	}
	if result := s.refused(s.DB1, 1, "db2 has no archive", "copyToStandby"); strings.Contains(result.Stdout, "Starting online backup") {
		s.Errorf("a backup was started:\n%s", result)
	}
	if err := os.Rename(archive+".away", archive); err != nil {
		s.Fatal(err)
	}
	if err := os.Chmod(archive, 0); err != nil {
		s.Fatal(err)
	}
	s.refused(s.DB1, 1, "permission denied", "copyToStandby")
	if err := os.Chmod(archive, 0o700); err != nil {
		s.Fatal(err)
	}
	s.cutCopy()
	s.DB1.Must("copyToStandby", "--start")
	s.asBefore(s.DB1, s.DB2)
	s.rebuildDR()
}

// rebuildDR: WAL was written while nobody shipped it, so the DR node cannot go
// on. Every relay says so, until a new base copy makes the gap a thing of the
// past. The history of the timeline was written then, too, and is everywhere.
func (s *state) rebuildDR() {
	s.Helper()
	s.refused(s.DB2, 1, "is missing after", "rsyncDR")
	s.DR.StopServer("fast")
	s.DR.Must("configStandby")
	s.DB1.Must("copyToDR", "--start")
	s.drFollows()
	timeline, err := strconv.Atoi(primaryTimeline(s.DB1))
	if err != nil {
		s.Fatal(err)
	}
	for _, n := range s.Nodes() {
		if name := walcore.Timeline(timeline).HistoryName(); !n.Exists(filepath.Join(n.Archive(), string(name))) {
			s.Errorf("%s is not in the archive on %s", name, n.Name)
		}
	}
}

// cutCopy kills the far end of a copy: the backup must be over on the server,
// and archiving as it was, which was not active.
func (s *state) cutCopy() {
	s.Helper()
	if active(s.DB1) {
		s.Fatal("archiving is active on db1, and this part wants it inactive before")
	}
	s.DB1.SQL("CREATE TABLE big AS SELECT repeat(i::text, 200) FROM generate_series(1, 20000) i")
	run := s.start(s.DB1, "copyToStandby")
	killed := false
	cluster.Eventually(s, time.Minute, "files are copied", func() (bool, error) {
		if s.backups() > 0 {
			for _, pid := range commandsOf(s.DB2, "sync-agent") {
				killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
			}
		}
		return killed, nil
	})
	result := run.end()
	s.failed(result, 1, "base copy")
	if got := s.backups(); got != 0 {
		s.Errorf("%d backups are left on the server", got)
	}
	if active(s.DB1) {
		s.Error("archiving was made active and stayed so")
	}
}

// backups counts the sessions on db1's server that make a backup, which ends
// with its session.
func (s *state) backups() int {
	s.Helper()
	n, err := strconv.Atoi(s.DB1.SQL("SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'warmrun' AND query LIKE '%backup_start%'"))
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// commandsOf lists the processes of warmrun on the node that run a command.
func commandsOf(n *cluster.Node, command string) []int {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, dir := range entries {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil || exe != n.Path(n.Binary()) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if pid, errPID := strconv.Atoi(filepath.Base(dir)); err == nil && errPID == nil && strings.Contains(string(line), "\x00"+command) {
			pids = append(pids, pid)
		}
	}
	return pids
}
