package tests

import (
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestRestarts: servers and the whole site are stopped and started in the right
// order, and what does not fit the state of a node is refused with the reason.
func TestRestarts(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"the standby", (*state).standbyRestarted},
		chapter{"the primary", (*state).primaryRestarted},
		chapter{"the site", (*state).siteRestarted},
	)
}

// forbidden is a command that a node's state does not allow.
type forbidden struct {
	node    *cluster.Node
	command []string
	reason  string
}

func (s *state) forbid(all ...forbidden) {
	s.Helper()
	for _, f := range all {
		s.refused(f.node, 1, f.reason, f.command...)
	}
}

func (s *state) standbyRestarted() {
	s.says(s.DB2.Must("stopStandby"), "its archive still takes what is shipped")
	s.forbid(
		forbidden{s.DB2, []string{"stopStandby"}, "db2 is a stopped standby"},
		forbidden{s.DB1, []string{"switchover", "--drain", "0s"}, "the standby db2 is not running"},
		forbidden{s.DB1, []string{"stopSite"}, "the standby db2 is not running"},
	)
	s.write(s.DB1)
	s.says(s.DB2.Must("startStandby"), "db2 follows db1 on timeline 1")
	s.asBefore(s.DB1, s.DB2)
	s.DR.Must("stopStandby")
	s.write(s.DB1)
	s.DR.StartServer()
}

func (s *state) primaryRestarted() {
	s.write(s.DB1)
	s.DB1.SQL("ALTER SYSTEM SET wal_buffers = '2MB'")
	s.says(s.DB1.Must("restartPrimary", "--drain", "0s"), "db1 accepts writes on timeline 1")
	if got := s.DB1.SQL("SHOW wal_buffers"); got != "2MB" {
		s.Errorf("wal_buffers is %s, want 2MB", got)
	}
	s.asBefore(s.DB1, s.DB2)
}

func (s *state) siteRestarted() {
	s.write(s.DB1)
	s.says(s.DB2.Must("stopSite", "--drain", "0s"), "db2 has replayed everything up to")
	for _, n := range s.Nodes() {
		if status, err := n.Server().StatusNow(); err != nil || status.Running {
			s.Errorf("%s runs: %v, %v", n.Name, status.Running, err)
		}
	}
	s.forbid(
		forbidden{s.DB1, []string{"switchover", "--drain", "0s"}, "no node of the pair is a running primary"},
		forbidden{s.DB1, []string{"startStandby"}, "db1 is a stopped primary"},
		forbidden{s.DB2, []string{"startStandby"}, "no other node that answers is a primary"},
		forbidden{s.DB2, []string{"rejoin"}, "no other node that answers is a primary"},
	)
	const advice = "the site was stopped on purpose, by stopSite, "
	s.says(s.DR.Must("status"), "hint: "+advice, "; warmrun startSite starts it again; only where the host of db1 is lost: warmrun failover on db2")
	s.check(s.DB2, 2, "primary: no node accepts writes; next: "+advice)
	s.why(s.DB1, "the servers were stopped on purpose", "next: "+advice)
	s.says(s.DR.Must("startSite"), "Standby server on db2 started", "Standby server on dr started", "db1 accepts writes on timeline 1", "db2 follows db1")
	s.asBefore(s.DB1, s.DB2)
}
