package tests

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestStreaming: the pair streams with slots, the DR node from the standby, and
// the archive is the net below. A switchover, a failover and a rejoin leave the
// streams where they belong, and no slot that keeps WAL for nobody.
func TestStreaming(t *testing.T) {
	t.Parallel()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{Streaming: true, Settings: []string{"wal_log_hints = on"}})}
	s.prepare()
	s.inTurn(
		chapter{"it streams", func(s *state) { s.streams(s.DB1, s.DB2) }},
		chapter{"switchover", (*state).streamingSwitchover},
		chapter{"the archive alone", (*state).archiveAlone},
		chapter{"failover", (*state).streamingFailover},
	)
}

// streams: the standby receives from the primary by its slot, and the DR node from
// one of the two.
func (s *state) streams(primary, standby *cluster.Node) {
	s.Helper()
	for _, n := range []*cluster.Node{standby, s.DR} {
		cluster.Eventually(s, time.Minute, n.Name+" streams", func() (bool, error) {
			got, err := n.TrySQL("SELECT status FROM pg_stat_wal_receiver")
			return got == "streaming", err
		})
	}
	cluster.Eventually(s, time.Minute, "one of the pair sends to dr", func() (bool, error) {
		const sends = "SELECT count(*)::text FROM pg_stat_replication WHERE application_name = 'dr'"
		here, err := primary.TrySQL(sends)
		there, errThere := standby.TrySQL(sends)
		return here+there == "10" || here+there == "01", errors.Join(err, errThere)
	})
	cluster.Eventually(s, time.Minute, "the slot of the standby is in use", func() (bool, error) {
		got, err := primary.TrySQL("SELECT string_agg(slot_name || ' ' || active, ',') FROM pg_replication_slots")
		return got == "warmrun_"+standby.Name+" true", err
	})
	if got := standby.SQL("SELECT count(*)::text FROM pg_replication_slots"); got != "0" {
		s.Errorf("%s slots are left on %s, which nobody streams from by one", got, standby.Name)
	}
}

func (s *state) streamingSwitchover() {
	s.write(s.DB1)
	s.says(s.DB2.Must("switchover", "--drain", "0s"), "db1 follows db2 on timeline 2, without a rewind or a new copy")
	s.streams(s.DB2, s.DB1)
	s.asBefore(s.DB2, s.DB1)
	s.drFollowsTo(s.DB2)
	s.DB1.Must("switchover", "--drain", "0s")
	s.streams(s.DB1, s.DB2)
	s.asBefore(s.DB1, s.DB2)
}

// drFollowsTo waits until the DR node has every row, by streaming: nothing relays
// here.
func (s *state) drFollowsTo(primary *cluster.Node) {
	s.Helper()
	s.write(primary)
	lsn := primary.SQL("SELECT pg_current_wal_lsn()::text")
	cluster.Eventually(s, catchUp, "dr has replayed "+lsn, func() (bool, error) { return s.DR.Replayed(lsn) })
	s.checkRows(s.DR)
}

// archiveAlone: nobody lets the standby stream, and it follows all the same.
func (s *state) archiveAlone() {
	hba := s.DB1.Path(filepath.Join(s.DB1.PGData, "pg_hba.conf"))
	s.replace(hba, "local replication all reject\nlocal all all peer map=site\n")
	s.DB1.SQL("SELECT pg_reload_conf()")
	s.DB1.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)
	s.replace(hba, "local all all peer map=site\nlocal replication all peer map=site\n")
	s.DB1.SQL("SELECT pg_reload_conf()")
	s.streams(s.DB1, s.DB2)
}

// streamingFailover: what the standby has received counts, and the old primary
// streams when it is back.
func (s *state) streamingFailover() {
	s.write(s.DB1)
	s.DB1.KillServer()
	s.says(s.DB2.Must("failover", "--yes"), "Nothing is lost")
	s.checkRows(s.DB2)
	s.write(s.DB2)
	s.DB1.Must("rejoin", "--yes")
	s.streams(s.DB2, s.DB1)
	s.asBefore(s.DB2, s.DB1)
}
