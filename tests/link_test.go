package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/ship"
)

// noticed is how long a call may take to fail after its link was cut, on a
// machine that is busy with other things.
const noticed = 75 * time.Second

// TestLinkCutInMidSegment: the link goes while segments are on their way. The
// server hears of it before long, and when the link is back WAL flows again
// without anybody's help.
func TestLinkCutInMidSegment(t *testing.T) {
	t.Parallel()
	s := newShipping(t)
	agents := commandsOf(s.DB2, "agent")
	s.signal(syscall.SIGSTOP, agents...)
	s.DB1.SQL("INSERT INTO incompressible SELECT i, (SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 50) j) FROM generate_series(1, 12000) i")
	cluster.Eventually(t, time.Minute, "several segments are on their way at once", func() (bool, error) {
		s.signal(syscall.SIGCONT, agents...)
		s.signal(syscall.SIGSTOP, agents...)
		return len(s.onTheWay()) > 2, nil
	})
	stuck := walcore.SegmentName(s.onTheWay()[0])
	s.DB1.CutLink(s.DB2)
	s.signal(syscall.SIGCONT, agents...)

	start := time.Now()
	line := s.said("could not ship " + string(stuck) + " to standby db2")
	t.Logf("the call failed after %s: %s", time.Since(start).Round(time.Second), line)
	if took := time.Since(start); took > noticed {
		t.Errorf("the call took %s to fail", took)
	}
	if !strings.Contains(line, "stays in pg_wal and the server will try again") {
		t.Errorf("the server's log says %q, want also what becomes of the segment", line)
	}
	if !s.waits(stuck) || s.has(s.DB2, stuck) {
		t.Errorf("%s must wait on the primary, and nothing may have its name on the standby", stuck)
	}

	s.DB1.RestoreLink(s.DB2)
	start = time.Now()
	s.archived(s.DB2, stuck)
	t.Logf("shipping went on %s after the link was back", time.Since(start).Round(time.Second))
	s.allThere()
}

// shipping is a cluster of machines with small segments whose standby follows,
// while clients write.
type shipping struct {
	state
	load *cluster.Load
}

func newShipping(t *testing.T) *shipping {
	t.Helper()
	c := cluster.New(t, cluster.Options{Machines: true, SegmentSize: 1, Settings: []string{"archive_timeout = 2s"}})
	s := &shipping{state: state{T: t, Cluster: c}}
	s.DB1.Must("distrib")
	s.DB2.Must("configStandby")
	s.DR.Must("configStandby")
	s.load = s.StartLoad(1, 5, 100*time.Millisecond)
	s.load.WaitRows(50, time.Minute)
	s.DB1.SQL("CREATE TABLE incompressible (i int, filler text)")
	s.DB1.Must("copyToStandby", "--start")
	s.segment(s.DB2)
	return s
}

// segment ends one and waits until the archive of a node has it.
func (s *shipping) segment(at *cluster.Node) walcore.SegmentName {
	s.Helper()
	name := s.switched()
	s.archived(at, name)
	return name
}

// switched ends a segment.
func (s *shipping) switched() walcore.SegmentName {
	s.Helper()
	return walcore.SegmentName(s.DB1.SQL("SELECT pg_walfile_name(pg_switch_wal()) FROM pg_create_restore_point('test')"))
}

// allThere: the standby replays all that was written, and no acknowledged row
// is missing on it.
func (s *shipping) allThere() {
	s.Helper()
	resume := s.load.Pause()
	defer resume()
	must := s.load.Ledger.Snapshot()
	s.DB2.WaitReplay(s.DB1, catchUp)
	cluster.Check(s, "afterwards", s.DB2, must)
}

// said waits until the server on db1 has written a line with a text to its log,
// and returns the line.
func (s *shipping) said(text string) (line string) {
	s.Helper()
	cluster.Eventually(s, 2*time.Minute, fmt.Sprintf("the server says %q", text), func() (bool, error) {
		for l := range strings.Lines(s.DB1.LogTail(1_000_000)) {
			if strings.Contains(l, text) {
				line = strings.TrimSpace(l)
				return true, nil
			}
		}
		return false, errors.New("not yet")
	})
	return line
}

// onTheWay are the files that the shipper on db1 is sending.
func (s *shipping) onTheWay() (names []walcore.FileName) {
	s.Helper()
	var running []ship.ShipperStatus
	result := s.DB1.Run("shipper", "status", "--json")
	if err := json.Unmarshal([]byte(result.Stdout), &running); err != nil {
		s.Fatalf("%s\n%v", result, err)
	}
	for _, shipper := range running {
		for _, link := range shipper.Links {
			names = append(names, link.OnTheWay...)
		}
	}
	return names
}

func (s *shipping) signal(what syscall.Signal, pids ...int) {
	s.Helper()
	if len(pids) == 0 {
		s.Fatal("no process to signal")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, what); err != nil {
			s.Fatal(err)
		}
	}
}
