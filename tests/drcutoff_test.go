package tests

import (
	"strings"
	"testing"
)

// TestDRCutOff: nobody knows here whether a DR node that cannot be asked was
// promoted, whatever it was when it was last seen. One that was, and is stopped,
// is the primary still.
func TestDRCutOff(t *testing.T) {
	t.Parallel()
	s := newState(t)
	s.DR.Cut()
	s.DB1.Must("switchover", "--drain", "0s") // from a primary that it has seen run
	s.DB1.Must("switchover", "--drain", "0s")
	s.DR.Uncut()
	s.DR.StartServer()
	s.drFollows()

	s.DB1.Cut()
	s.DB2.Cut()
	s.DR.Must("failover", "--accept-split", "--yes")
	s.write(s.DR)
	s.DR.StopServer("fast")
	s.DB1.Uncut()
	s.DB2.Uncut()
	s.DB2.StartServer()
	s.refused(s.DB2, 1, "dr, the DR node, was the primary on timeline", "failover", "--yes")
	s.DR.Cut()
	for _, command := range [][]string{{"failover", "--yes"}, {"triggerStandby", "--accept-loss"}} {
		result := s.refused(s.DB2, 1, "dr, the DR node, cannot be asked whether it was promoted", command...)
		if !strings.Contains(result.Stderr, "last seen from here as a stopped primary on timeline") || !strings.Contains(result.Stderr, "--accept-split") {
			t.Errorf("%s\nwant what dr was when it was last seen, and --accept-split", result)
		}
		if got := s.DB2.SQL("SELECT pg_is_in_recovery()::text"); got != "true" {
			t.Fatalf("db2 is in recovery: %s, want true", got)
		}
	}
	if result := s.DB2.Must("failover", "--accept-split", "--yes"); !strings.Contains(result.Stdout, "RISK: dr cannot be reached") {
		t.Errorf("%s\nwant the risk printed", result)
	}
}
