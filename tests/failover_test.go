package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// TestFailovers: an archive that is fenced by mistake, a primary whose server
// dies, and one whose host is gone; and what an operator is told each time.
func TestFailovers(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"fenced by mistake", (*state).fencedByMistake},
		chapter{"the DR node gets what only the new primary has", (*state).relayAfterFailover},
		chapter{"rebuilt from a primary that was just promoted", (*state).rebuildAtOnce},
		chapter{"salvaged over the connection that is there", (*state).salvagedBack},
		chapter{"the primary's host stays away", (*state).hostStaysAway},
	)
}

// fencedByMistake: a fence is left and nobody was promoted. The archiver fails,
// nothing can be flushed, and one command sets it right.
func (s *state) fencedByMistake() {
	s.says(s.DB1.Must("startPrimary"), "db1 runs as the primary already; nothing was done")
	s.write(s.DB1)
	lsn := s.DB1.SQL("SELECT pg_current_wal_lsn()")
	place(s.DB1, filepath.Join(s.DB1.Home, "global", "runbooks", "fenceIt.lua"), fmt.Sprintf(`return runbook {
  api = 1, name = "fenceIt", summary = "x", runs_on = "any", lock = "none",
  steps = { step { "raise", run = function(c) fence.raise(c.node, { timeline = 1, lsn = lsn("%s"), by = "a mistake" }) end } },
}`, lsn))(s.T)
	s.DB1.Must("fenceIt")
	s.write(s.DB1)
	s.DB1.SQL("SELECT pg_switch_wal()")
	cluster.Eventually(s, time.Minute, "the archiver fails", func() (bool, error) {
		failed, err := s.DB1.TrySQL("SELECT (last_failed_time > coalesce(last_archived_time, '-infinity'))::text FROM pg_stat_archiver")
		return failed == "true", err
	})
	began := time.Now()
	s.says(s.refused(s.DB1, 1, "db1 cannot archive", "flushPrimary", "--drain", "0s"), "fenced", "warmrun lowerFence")
	if took := time.Since(began); took > time.Minute {
		s.Errorf("the refusal took %s", took)
	}
	s.says(s.DB1.Must("status"), "db1 is fenced", "warmrun lowerFence on db1")
	s.why(s.DB2, "db1 is fenced: WAL that it writes is refused everywhere\n", "(epoch 1, by a mistake", "next: db1: if that change of state was called off and nobody was promoted: warmrun lowerFence on db1\n")
	s.check(s.DB2, 2, "CRITICAL  db1      fence: timeline 1 was cut at "+lsn)
	s.refused(s.DB2, 1, "db2 is a standby", "lowerFence")
	s.says(s.DB1.Must("lowerFence"), "The archive on db2 takes WAL of timeline 1 past "+lsn+" again (fence by a mistake on db1)", "The archive on dr takes")
	s.asBefore(s.DB1, s.DB2)
	s.says(s.DB1.Must("lowerFence"), "No archive that could be asked is fenced against db1")
}

// relayAfterFailover: the old primary's own archive has nothing but the new
// history, so it cannot tell what the DR node lacks.
func (s *state) relayAfterFailover() {
	s.DB2.Must("rsyncDR")
	var names []walcore.SegmentName
	for range 3 {
		names = append(names, s.shipped(s.DB2))
	}
	s.DB1.KillServer()
	s.says(s.DB2.Must("status"), "db1 is down: start its server, or, when that cannot be done: warmrun failover on db2")
	s.DB2.Must("failover", "--yes")
	s.write(s.DB2)
	cluster.Eventually(s, time.Minute, "db1 has the new history", func() (bool, error) {
		return s.DB1.Exists(filepath.Join(s.DB1.Archive(), "00000002.history")), nil
	})
	s.DB1.Must("rsyncDR")
	for _, name := range names {
		if !s.has(s.DR, name) {
			s.Errorf("rsyncDR has succeeded, and dr lacks %s", name)
		}
	}
	// The fence is right now.
	s.refused(s.DB1, 1, "the fence stays: ", "lowerFence")
}

// rebuildAtOnce: the copy names the segment that it really begins with.
func (s *state) rebuildAtOnce() {
	s.says(s.DB1.Must("rejoin", "--copy", "--yes"), "Starting online backup at WAL file 00000002")
	s.follows(s.DB1, s.DB2)
}

// salvagedBack: the dead primary cannot connect to the node that takes over, and need
// not. One with an older program does so. Nobody is promoted where the program there
// dies, or ends without a word.
func (s *state) salvagedBack() {
	s.write(s.DB2)
	s.DB2.KillServer()
	for _, end := range []string{"kill -9 $$", "exit 0"} {
		restore := s.shipsBack(s.DB2, end)
		s.refused(s.DB1, 1, "salvage the WAL of db2: ", "failover", "--yes")
		restore()
	}
	restore := s.shipsBack(s.DB2, "exit 2")
	s.says(s.DB1.Must("failover", "--yes"), "Nothing is lost: db1 has every byte that db2 had flushed")
	restore()
	s.write(s.DB1)
	s.checkRows(s.DB1)
	s.DB2.Must("rejoin", "--yes")
	s.follows(s.DB2, s.DB1)

	s.write(s.DB1)
	s.DB1.KillServer()
	s.DB2.StopSSH()
	s.says(s.DB2.Must("failover", "--yes"), "Nothing is lost: db2 has every byte that db1 had flushed")
	s.DB2.StartSSH()
	s.write(s.DB2)
	s.checkRows(s.DB2)
	s.DB1.Must("rejoin", "--yes")
	s.follows(s.DB1, s.DB2)
}

// shipsBack has the program on a node do something else, a line of shell, where it is
// told to ship back. The function it returns ends that.
func (s *state) shipsBack(n *cluster.Node, instead string) (restore func()) {
	program := n.Path(n.Binary())
	if err := os.Rename(program, program+".real"); err != nil {
		s.Fatal(err)
	}
	n.Write(n.Binary(), "#!/bin/sh\nfor word; do if test \"$word\" = ship-back; then "+instead+"; fi; done\nexec \"$0.real\" \"$@\"\n")
	if err := os.Chmod(program, 0o755); err != nil {
		s.Fatal(err)
	}
	return func() {
		if err := os.Rename(program+".real", program); err != nil {
			s.Fatal(err)
		}
	}
}

// hostStaysAway: what to type, by name, before and after.
func (s *state) hostStaysAway() {
	s.DB2.Cut()
	s.says(s.DB1.Must("status"), "no primary answers; when db2 is dead: warmrun failover on db1")
	s.refused(s.DB1, 1, "db2 cannot be asked", "failover") // no terminal, but that is not the point
	s.says(s.DB1.Must("failover", "--accept-split", "--yes"),
		"Until db2 can be reached again, archive_command on db1 fails", s.DB1.PGData+"/pg_wal", "warmrun status on db1", `require = "any"`)
	s.write(s.DB1)
	s.checkRows(s.DB1)
}
