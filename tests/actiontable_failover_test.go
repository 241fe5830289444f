package tests

import (
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestActionTableFailover walks through the rows of 2warm's action table in
// which another node becomes the primary.
func TestActionTableFailover(t *testing.T) {
	t.Parallel()
	s := newShipping(t)
	s.noticeSoon()
	s.DB1.Must("copyToDR", "--start")
	s.DB2.Must("rsyncDR")
	s.parts([]part{
		{"primary down, its host alive: failover to the standby", s.primaryDown},
		{"primary cut off: failover to the standby", s.primaryCutOff},
		{"primary and standby down: failover to the relay", s.bothDown},
	})
}

// primaryDown: the last WAL is fetched from the dead server's pg_wal.
func (*shipping) primaryDown(s *shipping) {
	s.moreRows()
	s.DB1.KillServer()
	said := s.DB2.Must("failover", "--yes")
	if !strings.Contains(said.Stdout+said.Stderr, "Nothing is lost") {
		s.Errorf("%s\nwant it to say that nothing is lost", said)
	}
	s.moreRows()
	s.checkAll(s.DB2)
	s.DB2.Must("switchback", "--erase", "--drain", "0s", "--yes") // db1 is the primary again
	s.moreRows()
}

// primaryCutOff: its server lives on and accepts writes, but no archive takes
// them, not even when the links are back.
func (*shipping) primaryCutOff(s *shipping) {
	resume := s.load.Pause()
	defer resume()
	s.segment(s.DB2)
	s.DB1.CutAll()
	s.refused(s.DB2, 1, "--accept-split", "failover", "--yes")
	s.DB2.Must("failover", "--accept-split", "--yes")
	cluster.Check(s, "after the failover", s.DB2, s.load.Ledger.Snapshot())

	s.DB1.SQL("CREATE TABLE nobody_else_sees AS SELECT 1 AS i")
	late := s.switched()
	s.listen()
	s.DB1.RestoreAll()
	line := s.said(" refused: fenced by a new timeline: ") // of the oldest that waits
	s.Logf("the server that was cut off says: %s", line)
	if first := notShipped(line); first > late {
		s.Errorf("%s was refused first, and %s is older", first, late)
	}
	if !s.waits(late) || s.has(s.DB2, late) || s.has(s.DR, late) {
		s.Errorf("%s was written after the failover: it must stay on db1 alone", late)
	}
	s.DB1.KillServer()
	resume()
	s.moreRows()
	s.checkAll(s.DB2)
}

// bothDown: hosts and all. What the DR node has been sent is there.
func (*shipping) bothDown(s *shipping) {
	s.DB2.Must("switchback", "--erase", "--rebuild-only", "--yes")
	s.moreRows()
	l := &life{T: s.T, Cluster: s.Cluster, load: s.load}
	resume := s.load.Pause()
	l.relay(s.DB2)
	sent := s.load.Ledger.Snapshot()
	resume()
	l.loseBoth()
	if missing := sent.Acknowledged.Minus(s.DR.Rows()); len(missing) > 0 {
		s.Errorf("rows %s were relayed, and are missing on the DR node", missing)
	}
}

// moreRows waits until clients have written a few more.
func (s *shipping) moreRows() {
	s.Helper()
	s.load.WaitRows(s.load.Ledger.Snapshot().Acknowledged.Len()+50, time.Minute)
}

// checkAll: no acknowledged row is missing on the primary.
func (s *shipping) checkAll(primary *cluster.Node) {
	s.Helper()
	resume := s.load.Pause()
	defer resume()
	cluster.Check(s, "on the new primary", primary, s.load.Ledger.Snapshot())
}
