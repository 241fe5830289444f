package tests

import (
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestWarmStandby: with hot_standby = off the standby answers no question, so
// that it has replayed everything is proved by its restart point, and it is
// promoted all the same.
func TestWarmStandby(t *testing.T) {
	t.Parallel()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{Settings: []string{"hot_standby = off"}})}
	s.DB1.Must("distrib")
	s.DB2.Must("configStandby")
	s.DB1.SQL("CREATE TABLE t (i int)")
	s.DB1.Must("copyToStandby", "--start")
	s.write(s.DB1)
	if _, err := s.DB2.TrySQL("SELECT 1"); err == nil {
		t.Fatal("the standby accepts connections, and this test is for one that does not")
	}
	primary, standby := s.DB1, s.DB2
	for range 2 { // there, and back onto the old primary, which is a warm standby then
		s.write(primary)
		s.says(primary.Must("switchover", "--drain", "0s"),
			standby.Name+" has replayed everything up to", "its restart point is the primary's shutdown checkpoint",
			primary.Name+" follows "+standby.Name)
		primary, standby = standby, primary
		s.write(primary)
		s.checkRows(primary)
		if _, err := standby.TrySQL("SELECT 1"); err == nil {
			t.Errorf("%s accepts connections after it was the primary", standby.Name)
		}
	}
}
