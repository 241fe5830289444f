package health

import (
	"errors"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// What the death of the primary costs is told from what was measured, and what
// was not is said to be unknown.
func TestOutage(t *testing.T) {
	promoted := func(n *NodeStatus) { n.Promotion = &Promotion{Seconds: 0.4} }
	archived := func(n *NodeStatus) { n.ArchivedTo, n.ArchivedUntil = 0x7000000, noon.Add(-5*time.Second) }
	has := func(n *NodeStatus) { n.ReceivedLSN, n.SegmentSize = 0x7000000, 16<<20 }
	gone := Unreachable(cluster.Node{Name: "db2"}, errors.New("connection refused"))
	for _, test := range []struct {
		name  string
		nodes []NodeStatus
		want  string
	}{
		{"all is there", []NodeStatus{primary("db1", 0x7000000), with(standby("db2", 0x7000000), promoted)},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; the promotion of db2 takes about 0.4 s"},
		{"no promotion was seen", []NodeStatus{primary("db1", 0x7000000), standby("db2", 0x7000000)},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; how long the promotion of db2 takes is unknown: no promotion of db2 is on record"},
		{"only another one was promoted", []NodeStatus{with(primary("db1", 0x7000000), promoted), standby("db2", 0x7000000)},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; the promotion of db2 takes about 0.4 s, as the last one of db1"},
		{"its own promotion counts more", []NodeStatus{with(primary("db1", 0x7000000), func(n *NodeStatus) { n.Promotion = &Promotion{Seconds: 7.8, At: noon} }), with(standby("db2", 0x7000000), promoted)},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; the promotion of db2 takes about 0.4 s"},
		{"a promotion of no time to speak of", []NodeStatus{primary("db1", 0x7000000), with(standby("db2", 0x7000000), func(n *NodeStatus) { n.Promotion = &Promotion{Seconds: 0.03} })},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; the promotion of db2 takes about 0.1 s"},
		{"a little is not shipped", []NodeStatus{with(primary("db1", 0x7000148), archived), with(standby("db2", 0x7000000), promoted)},
			"if db1 dies now: 328 bytes of WAL are lost if its disk is gone too, the last 5 s at most; the promotion of db2 takes about 0.4 s"},
		{"the time by the last commit replayed", []NodeStatus{primary("db1", 0x7000148), with(standby("db2", 0x7000000), promoted)},
			"if db1 dies now: 328 bytes of WAL are lost if its disk is gone too, the last 1 min 30 s at most; the promotion of db2 takes about 0.4 s"},
		{"the time is unknown", []NodeStatus{primary("db1", 0x7000148), with(standby("db2", 0x7000000), func(n *NodeStatus) { n.ReplayedAt = time.Time{} }, promoted)},
			"if db1 dies now: 328 bytes of WAL are lost if its disk is gone too, of how long a time is unknown; the promotion of db2 takes about 0.4 s"},
		{"archived further than it was received", []NodeStatus{with(primary("db1", 0x8000000), func(n *NodeStatus) { n.ArchivedTo, n.ArchivedUntil = 0x8000000, noon }), with(standby("db2", 0x7000000), promoted)},
			"if db1 dies now: 16 MB of WAL are lost if its disk is gone too, the last 1 min 30 s at most; the promotion of db2 takes about 0.4 s"},
		{"received and not replayed, at a pace that was seen", []NodeStatus{primary("db1", 0x7000000), with(standby("db2", 0x4000000), has, promoted, func(n *NodeStatus) { n.ReplayPace = 2 })},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; the promotion of db2 takes about 6.4 s, with 48 MB to replay first"},
		{"received and not replayed, at an unknown pace", []NodeStatus{primary("db1", 0x7000000), with(standby("db2", 0x4000000), has, promoted)},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; how long the promotion of db2 takes is unknown: how fast db2 replays has not been seen yet"},
		{"streamed further than archived", []NodeStatus{primary("db1", 0x7000148), with(standby("db2", 0x7000100), has, promoted, func(n *NodeStatus) { n.StreamedLSN = 0x7000148 })},
			"if db1 dies now: nothing is lost, db2 has all of its WAL; how long the promotion of db2 takes is unknown: how fast db2 replays has not been seen yet"},
		{"the relay has more", []NodeStatus{primary("db1", 0x7000000), with(standby("db2", 0x6000000), func(n *NodeStatus) { n.Role = RoleStoppedStandby }), relay("dr")},
			"if db1 dies now: nothing is lost, dr has all of its WAL; how long the promotion of db2 takes is unknown: no server runs on db2: its start and what it has to replay come first"},
		{"a diverged node saves nothing", []NodeStatus{with(primary("db1", 9), func(n *NodeStatus) { n.Timeline = 2 }), with(standby("db2", 9), func(n *NodeStatus) { n.SystemID = 5 })},
			"if db1 dies now: what is lost is unknown: no other node has any of its WAL: all would be lost; how long the promotion of db2 takes is unknown: no promotion of db2 is on record"},
		{"nobody can be asked", []NodeStatus{primary("db1", 9), gone},
			"if db1 dies now: what is lost is unknown: db2 cannot be asked what it has; no node can take over"},
		{"where the WAL ends is unknown", []NodeStatus{primary("db1", 0), with(standby("db2", 9), promoted)},
			"if db1 dies now: what is lost is unknown: where the WAL of db1 ends is not known; the promotion of db2 takes about 0.4 s"},
	} {
		o := Gather(test.nodes...).Outage
		if o == nil {
			t.Errorf("%s: there is no outage", test.name)
			continue
		}
		if got := o.String(); got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
	if o := Gather(standby("db1", 9), standby("db2", 9)).Outage; o != nil {
		t.Errorf("without a primary: got %q, want none", o)
	}
}
