package tests

import (
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestStandbyArchives: archive_mode is always on the standby, whose server archives
// what it has restored. Nothing of it is shipped while it is a standby, a switchover
// refuses it, a failover says so and goes on, and the archives have one history.
func TestStandbyArchives(t *testing.T) {
	t.Parallel()
	s := newState(t)
	s.setting(s.DB2, "archive_mode", "'always'")
	s.DB2.Must("stopStandby")
	s.DB2.Must("startStandby")
	before := s.listed(s.DB1)
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)
	cluster.Eventually(t, time.Minute, "the standby has called archive_command", func() (bool, error) {
		called, err := s.DB2.TrySQL("SELECT (archived_count > 0 AND failed_count = 0)::text FROM pg_stat_archiver")
		return called == "true", err
	})
	if after := s.listed(s.DB1); after != before {
		t.Errorf("the archive on db1 held %q and holds %q: the standby has shipped", before, after)
	}
	s.says(s.DB1.Run("check"), "WARNING   db2      archive_mode: archive_mode is always: as a standby it calls archive_command for what it has restored, too")
	s.says(s.refused(s.DB1, 1, "archive_mode is always on db2", "switchover", "--drain", "0s"), "set archive_mode = on there, and restart it")

	s.write(s.DB1)
	s.DB1.KillServer()
	s.says(s.DB2.Must("failover", "--yes"), "Nothing is lost", "archive_mode is always on db2")
	s.write(s.DB2)
	s.DB1.Must("rejoin", "--yes")
	s.asBefore(s.DB2, s.DB1)
	oneHistory(t, s.Cluster, s.DB2)

	s.setting(s.DB2, "archive_mode", "")
	s.DB2.Must("restartPrimary", "--drain", "0s")
	s.DB1.Must("switchover", "--drain", "0s")
	s.asBefore(s.DB1, s.DB2)
}
