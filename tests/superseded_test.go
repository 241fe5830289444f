package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// TestSuperseded: a primary that was superseded gets no WAL acknowledged, flushes
// nothing, and a promotion that cannot reach all there is says so and what to do.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"a failover that fails says what it leaves", (*state).failoverFails},
		chapter{"a DR node that cannot take the fence", (*state).sickDR},
		chapter{"the fence of a triggerStandby by itself", (*state).triggerFences},
		chapter{"flushPrimary beside another primary", (*state).flushSuperseded},
	)
}

// failoverFails: the old primary is fenced already, and that no undo takes back.
func (s *state) failoverFails() {
	s.write(s.DB1)
	s.DB1.KillServer()
	s.override(s.DB2, "failover", "return rivals.salvage(c.node)", `fail("the salvage fails")`)
	result := s.refused(s.DB2, 1, "db1 stays fenced", "failover", "--yes")
	if !strings.Contains(result.Stderr, "warmrun startPrimary on db1") || strings.Contains(result.Stderr, "everything") {
		s.Errorf("%s\nwant it to say how db1 comes back, and not that everything was undone", result)
	}
	s.DB1.Must("startPrimary")
	s.asBefore(s.DB1, s.DB2)
}

// sickDR: the DR node answers, and its archive can be read and not written. The
// old primary is fenced by its signal file, so that is no reason to stay down.
func (s *state) sickDR() {
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)
	dirs := []string{s.DR.Path(s.DR.Archive()), s.DR.Path(filepath.Join(s.DR.Archive(), ".warmrun"))}
	s.chmod(0o500, dirs...)
	s.DB1.KillServer()
	result := s.DB2.Must("failover", "--yes")
	if !strings.Contains(result.Stdout, "WARNING: the archive on dr cannot take the fence") {
		s.Errorf("%s\nwant a warning about dr", result)
	}
	s.chmod(0o700, dirs...)
	s.write(s.DB2)
	s.checkRows(s.DB2)
	s.checkFenced(s.DB1)
	s.DB2.Must("switchback", "--erase", "--rebuild-only", "--yes")
	s.asBefore(s.DB2, s.DB1)
}

func (s *state) chmod(mode os.FileMode, paths ...string) {
	s.Helper()
	for _, path := range paths {
		if err := os.Chmod(path, mode); err != nil {
			s.Fatal(err)
		}
	}
}

// triggerFences: db2 cannot be reached when db1 is promoted, and goes on as a
// primary afterwards. What it writes from then on is acknowledged nowhere.
func (s *state) triggerFences() {
	old := primaryTimeline(s.DB2)
	s.DB2.Cut()
	s.DB1.Must("triggerStandby", "--archiving", "--accept-split")
	fence, err := s.archive(s.DB1).Fence()
	if err != nil {
		s.Fatal(err)
	}
	cut := fence.Cuts[len(fence.Cuts)-1]
	if fmt.Sprint(uint32(cut.Timeline)) != old || cut.By != "triggerStandby on db1" {
		s.Errorf("the last cut in the archive on db1 is %+v, want one of timeline %s by triggerStandby on db1", cut, old)
	}
	s.DB2.Uncut()
	s.DB2.StartServer()
	s.DB2.SQL("CREATE TABLE split AS SELECT generate_series(1, 100)")
	name := walcore.SegmentName(s.DB2.SQL("SELECT pg_walfile_name(pg_switch_wal())"))
	cluster.Eventually(s, time.Minute, "the archiver of db2 has failed", func() (bool, error) {
		failed, err := s.DB2.TrySQL("SELECT (failed_count > 0)::text FROM pg_stat_archiver")
		return failed == "true", err
	})
	if s.has(s.DB1, name) || !s.DB2.Exists(filepath.Join(s.DB2.PGData, "pg_wal", "archive_status", string(name)+".ready")) {
		s.Errorf("%s of the superseded primary was acknowledged by the archive on db1", name)
	}
	if log := s.DB2.LogTail(40); !strings.Contains(log, "fenced") {
		s.Errorf("the server log of db2 does not say why:\n%s", log)
	}
	s.why(s.DR, "db1 and db2 accept writes at the same time, so neither can follow the other\n", "db2 is fenced: timeline ", "next: stop the server on db2, unless it is the right one")
}

// flushSuperseded: with no fence anywhere, as after a promotion by hand. The
// partner runs, and then it does not and only its files tell.
func (s *state) flushSuperseded() {
	for _, n := range s.Nodes() {
		if err := os.Remove(n.Path(filepath.Join(n.Archive(), ".warmrun", "fence"))); err != nil && !os.IsNotExist(err) {
			s.Fatal(err)
		}
	}
	before := s.listed(s.DR)
	refused := func() {
		s.Helper()
		s.refused(s.DB2, 1, "may have been superseded", "flushPrimary", "--drain", "0s")
		if got := s.DB2.SQL("SELECT pg_is_in_recovery()::text"); got != "false" {
			s.Errorf("db2 is in recovery: %s, want false: it was not to be stopped", got)
		}
		if after := s.listed(s.DR); after != before {
			s.Errorf("the archive on dr held %s and holds %s", before, after)
		}
	}
	refused()
	s.DB1.StopServer("fast")
	refused()
}

func (s *state) listed(n *cluster.Node) string {
	s.Helper()
	names, err := s.archive(n).List()
	if err != nil {
		s.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		b.WriteString(string(name) + " ")
	}
	return b.String()
}
