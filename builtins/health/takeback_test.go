package health

import (
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

// TestTakeBack: what to type when a run was killed between the stop of the
// primary and the promotion.
func TestTakeBack(t *testing.T) {
	stopped := func(role Role) func(*NodeStatus) {
		return func(n *NodeStatus) {
			n.Role, n.Running, n.Accepting, n.WasPrimary, n.ControlState = role, false, false, true, "shut down"
		}
	}
	cut := func(n *NodeStatus) {
		n.Fence = walcore.Fence{Epoch: 1, Cuts: []walcore.Cut{{Epoch: 1, Timeline: 1, LSN: 9, By: "switchover on db2"}}}
	}
	died := func(n *NodeStatus) { n.ControlState = "in production" }
	flushed, down := with(primary("db1", 9), stopped(RoleStoppedStandby)), with(primary("db1", 9), stopped(RoleStoppedPrimary))
	rewound := with(standby("db2", 9), func(n *NodeStatus) {
		n.Role, n.Running, n.Accepting, n.HalfRewound, n.ArchiveMissing = RoleHalfRewound, false, false, "a pg_rewind of db2 has not ended", "/w/data/archive"
	})
	for _, test := range []struct {
		name  string
		nodes []NodeStatus
		want  []string // nil: no hint
		not   string
	}{
		{"flushed", []NodeStatus{flushed, standby("db2", 9), relay("dr")}, []string{"warmrun startPrimary on db1", "warmrun triggerStandby --archiving on db2"}, "none"},
		{"flushed and fenced", []NodeStatus{flushed, with(standby("db2", 9), cut)}, []string{"switchover on db2", "go on with warmrun triggerStandby --archiving on db2", "warmrun startPrimary on db1"}, "would start only"},
		{"only stopped", []NodeStatus{down, standby("db2", 9)}, []string{"start its server"}, "startPrimary"},
		{"died", []NodeStatus{with(down, died), standby("db2", 9)}, []string{"db1 is down: start its server", "warmrun failover on db2"}, "triggerStandby"},
		{"died and fenced", []NodeStatus{with(flushed, died), standby("db2", 9)}, []string{"warmrun startPrimary on db1", "warmrun failover on db2"}, "triggerStandby"},
		{"half rewound", []NodeStatus{primary("db1", 9), rewound}, []string{"db2: warmrun rejoin on it"}, "configStandby"},
		{"half rewound, and the primary died", []NodeStatus{with(down, died), rewound}, []string{"db2: warmrun rejoin on it"}, "db2 is down"},
		{"promoted", []NodeStatus{flushed, primary("db2", 9)}, nil, "startPrimary"},
		{"a stopped standby", []NodeStatus{primary("db1", 9), with(standby("db2", 9), func(n *NodeStatus) { n.Role = RoleStoppedStandby })}, nil, "startPrimary"},
	} {
		got := strings.Join(Gather(test.nodes...).Hints, "\n")
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: hints %q, want %q", test.name, got, want)
			}
		}
		if strings.Contains(got, test.not) {
			t.Errorf("%s: hints %q, do not want %q", test.name, got, test.not)
		}
	}
}

// TestFlushedIsToldOnce: after a flushPrimary the way on and the way back are the only
// advice, and nobody is told to start the server by hand, which would make it a second
// standby.
func TestFlushedIsToldOnce(t *testing.T) {
	flushed := with(db1(), func(n *NodeStatus) {
		n.Role, n.Running, n.Accepting, n.WasPrimary, n.ControlState = RoleStoppedStandby, false, false, true, "shut down"
	})
	const way = "db1 was stopped as the primary and would start only as a standby; to go on: warmrun triggerStandby --archiving on db2, then start the server on db1, which follows; to take it back instead: warmrun startPrimary on db1"
	if hints := Gather(flushed, db2()).Hints; len(hints) != 1 || hints[0] != way {
		t.Errorf("got hints %q, want %q alone", hints, way)
	}
	for _, v := range Check(usual, flushed, db2()).Verdicts {
		if (v.Check == "primary" || v.Check == "server" && v.Node == "db1") && v.Next != way {
			t.Errorf("check %s: next: %s", v.Check, v.Next)
		}
	}
	if d := Why(nil, flushed, db2()); len(d.Findings) != 1 || d.Findings[0].Cause != CausePrimaryDown || d.Findings[0].Next != way {
		t.Errorf("why says\n%s", strings.Join(d.Lines(), "\n"))
	}
}
