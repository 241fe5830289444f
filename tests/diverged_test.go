package tests

import (
	"strings"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestDivergedStandby: an old primary that had WAL of its own was given up and
// started again. It is in recovery, and further on than the new primary, but it
// has replayed something else: it must never be promoted as a standby.
func TestDivergedStandby(t *testing.T) {
	t.Parallel()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{})}
	s.DB1.Must("distrib")
	s.DB2.Must("configStandby")
	s.DB1.SQL("CREATE TABLE t (i int)")
	s.DB1.Must("copyToStandby", "--start")
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)

	// These transactions are only in the pg_wal of db1 when its server dies.
	s.DB1.SQL("CREATE TABLE lost AS SELECT g FROM generate_series(1, 20000) g")
	s.DB1.KillServer()
	refused := s.DB2.Run("triggerStandby", "--archiving")
	if refused.Code == 0 || !strings.Contains(refused.Stderr, "its transactions would be lost") {
		t.Fatalf("%s\nwant a refusal: db1 answers, and has transactions that db2 lacks", refused)
	}
	s.DB2.Must("triggerStandby", "--archiving", "--accept-loss")
	s.write(s.DB2)

	s.DB1.StartServer()
	s.eventuallyWhy(s.DB2, "db1 has diverged from db2\n", "next: warmrun switchback --erase --rebuild-only")
	for _, command := range [][]string{{"switchover", "--drain", "0s"}, {"switchback", "--drain", "0s", "--yes"}} {
		result := s.DB2.Run(command...)
		if result.Code == 0 {
			t.Fatalf("%s\nwant a refusal: db1 has gone its own way", result)
		}
		if got := s.DB2.SQL("SELECT pg_is_in_recovery()::text"); got != "false" {
			t.Fatalf("after a refused %s db2 is in recovery: %s, want false", command[0], got)
		}
		s.write(s.DB2)
	}
	s.DB1.StopServer("fast")
	s.DB2.Must("switchback", "--drain", "0s", "--erase", "--yes")
	s.checkRows(s.DB1)
	s.write(s.DB1)
}
