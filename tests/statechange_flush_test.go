package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// flushing is the line of flushPrimary after which the server is down.
const flushing = `say("Flushing archive WAL files to standby")`

// flushWithoutStandby: a check refuses, before anything is stopped.
func (s *state) flushWithoutStandby() {
	started := s.DB1.SQL("SELECT pg_postmaster_start_time()::text")
	s.DB2.Cut()
	s.refused(s.DB1, 1, "db2", "flushPrimary", "--drain", "0s")
	s.refused(s.DB1, 1, "db2", "switchover", "--drain", "0s")
	if got := s.DB1.SQL("SELECT pg_postmaster_start_time()::text"); got != started {
		s.Errorf("the primary was restarted: it runs since %s, before since %s", got, started)
	}
	s.write(s.DB1)
	s.DB2.Uncut()
	s.DB2.StartServer()
	s.asBefore(s.DB1, s.DB2)
}

// flushFails: the archive on the other side can no longer be written when the
// primary is down already. It comes back, and ships what it could not.
func (s *state) flushFails() {
	s.write(s.DB1)
	archive := s.DB2.Path(s.DB2.Archive())
	s.override(s.DB1, "flushPrimary", flushing, `ssh.run(c.partner, "chmod 0500 `+archive+` `+archive+`/.warmrun/tmp")`)
	s.refused(s.DB1, 1, "permission denied", "flushPrimary", "--drain", "0s")
	for _, dir := range []string{archive, filepath.Join(archive, ".warmrun", "tmp")} {
		if err := os.Chmod(dir, 0o700); err != nil {
			s.Fatal(err)
		}
	}
	s.asBefore(s.DB1, s.DB2)
}

// flushFailsAlone: the other side is gone when the primary is down already.
// Whether it was promoted cannot be known, so the primary stays down, fenced,
// and the operator is told what to type.
func (s *state) flushFailsAlone() {
	s.write(s.DB1)
	mark := s.DB2.Path(filepath.Join(s.DB2.Home, "local", "mark"))
	s.override(s.DB1, "flushPrimary", flushing, `ssh.run(c.partner, "touch `+mark+`; sleep 100")`)
	run := s.start(s.DB1, "flushPrimary", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the flush begins", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	s.DB2.Cut()
	s.failed(run.end(), 4, "warmrun startPrimary")
	s.checkFenced(s.DB1)
	s.refused(s.DB1, 1, "--accept-split", "startPrimary")
	s.checkFenced(s.DB1)
	s.DB1.Must("startPrimary", "--accept-split")
	s.write(s.DB1)
	s.DB2.Uncut()
	s.DB2.StartServer()
	s.asBefore(s.DB1, s.DB2)
}

// checkFenced: the server is down and can start only as a standby.
func (s *state) checkFenced(n *cluster.Node) {
	s.Helper()
	if _, err := n.TrySQL("SELECT 1"); err == nil {
		s.Errorf("the server on %s runs", n.Name)
	}
	if !n.Exists(filepath.Join(n.PGData, "standby.signal")) {
		s.Errorf("%s has no standby.signal: it would start as a primary", n.Name)
	}
}

// flushTakenBack: everything through the shutdown checkpoint is there and
// nothing beyond; startPrimary goes on in the same segment, and the standby
// with it.
func (s *state) flushTakenBack() {
	s.write(s.DB1)
	s.DB1.Must("flushPrimary", "--drain", "0s")
	s.checkFenced(s.DB1)
	last := s.checkFlushed(s.DB1, s.DB2)
	s.refused(s.DB2, 1, "startPrimary", "startPrimary")
	if got := s.DB2.SQL("SELECT pg_is_in_recovery()::text"); got != "true" || !s.DB2.Exists(filepath.Join(s.DB2.PGData, "standby.signal")) {
		s.Errorf("startPrimary on the standby: it is in recovery: %s, want true, with standby.signal", got)
	}
	s.DB1.Must("startPrimary")
	s.asBefore(s.DB1, s.DB2)
	if _, provisional, err := s.archive(s.DB2).Provisional(last); err != nil || provisional {
		s.Errorf("%s in the standby's archive: provisional %v, %v, want it replaced by the whole one", last, provisional, err)
	}
	s.DB1.Must("startPrimary") // once more changes nothing
	s.asBefore(s.DB1, s.DB2)
}

// checkFlushed: the archive ends exactly where the stopped server's WAL does.
func (s *state) checkFlushed(primary, standby *cluster.Node) walcore.SegmentName {
	s.Helper()
	control, err := primary.Server().Control()
	if err != nil {
		s.Fatal(err)
	}
	end, last, err := walcore.ShutdownEnd(walcore.WALDir(primary.Path(primary.PGData)), control)
	if err != nil {
		s.Fatal(err)
	}
	chain, err := s.archive(standby).Chain("")
	if err != nil || chain.End != end || chain.Last != last || chain.Newest != last {
		s.Errorf("the archive on %s holds WAL up to %s in %s, newest %s (%v), want %s in %s", standby.Name, chain.End, chain.Last, chain.Newest, err, end, last)
	}
	names, err := s.archive(standby).List()
	if err != nil {
		s.Fatal(err)
	}
	for _, name := range names {
		if segment := name.Segment(); segment != "" && segment.Position() > last.Position() {
			s.Errorf("the archive on %s has %s, beyond the end of the WAL in %s", standby.Name, name, last)
		}
	}
	if active(primary) {
		s.Errorf("archiving is still active on %s", primary.Name)
	}
	return last
}

// TestOverrideHasItsPlace: the parts above hang on this line of the runbook.
func TestOverrideHasItsPlace(t *testing.T) {
	text, err := os.ReadFile("../runbooks/flushPrimary.lua")
	if err != nil || strings.Count(string(text), flushing) != 1 {
		t.Errorf("flushPrimary.lua does not have %q once (%v)", flushing, err)
	}
}
