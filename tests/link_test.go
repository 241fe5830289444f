package tests

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// noticed is how long a call may take to fail after its link was cut, on a
// machine that is busy with other things.
const noticed = 75 * time.Second

// TestLinkCutInMidSegment: the link goes while segments are on their way. The
// server hears of it before long, and when the link is back WAL flows again
// without anybody's help.
func TestLinkCutInMidSegment(t *testing.T) {
	t.Parallel()
	// ssh's window and the pipes may hold a small segment as a whole on the other
	// side of the cut.
	s := newShippingOf(t, 4)
	agents := commandsOf(s.DB2, "agent")
	s.signal(syscall.SIGSTOP, agents...)
	for range 3 {
		s.DB1.SQL(muchWAL)
	}
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
