package health

import (
	"slices"
	"strings"
	"testing"
)

// TestUnfinishedComesFirst: while a run is unfinished, its own ways out are the
// advice, once, and nothing is advised that is refused until then.
func TestUnfinishedComesFirst(t *testing.T) {
	open := func(n *NodeStatus) {
		n.Unfinished = []UnfinishedRun{{"7-switchover", "go on with it: warmrun runs resume 7-switchover"}}
	}
	flushed := func(n *NodeStatus) {
		n.Role, n.Running, n.Accepting, n.WasPrimary, n.ControlState = RoleStoppedStandby, false, false, true, "shut down"
	}
	died := func(n *NodeStatus) {
		n.Role, n.Running, n.Accepting, n.WasPrimary, n.ControlState = RoleStoppedPrimary, false, false, true, "in production"
	}
	const way, rest = "run 7-switchover is unfinished; go on with it: warmrun runs resume 7-switchover", "nothing else that changes the cluster begins before that; warmrun status says then what is left to do"
	for _, test := range []struct {
		name  string
		nodes []NodeStatus
		hints []string
	}{
		{"the primary is flushed", []NodeStatus{with(db1(), open, flushed), with(db2(), open)}, []string{way, rest}},
		{"the primary has died", []NodeStatus{with(db1(), died), with(db2(), open)}, []string{way, rest}},
		{"the standby lacks everything", []NodeStatus{with(db1(), open), with(db2(), func(n *NodeStatus) { n.Role, n.Running, n.ArchiveMissing = RoleNoData, false, "/w/archive" })}, []string{way, rest}},
		{"the standby is down", []NodeStatus{with(db1(), open), with(db2(), func(n *NodeStatus) { n.Role, n.Running = RoleStoppedStandby, false })}, []string{way}},
		{"nothing else is wrong", []NodeStatus{with(db1(), open), db2()}, []string{way}},
	} {
		hints := Gather(test.nodes...).Hints
		if !slices.Equal(hints, test.hints) {
			t.Errorf("%s: got hints %q, want %q", test.name, hints, test.hints)
		}
		up := Check(usual, test.nodes...)
		told := 0
		for _, v := range up.Verdicts {
			if v.Check == "runs" {
				told++
			}
			if v.Level != OK && (Refused(v.Next) || strings.Contains(v.Next, "pg_ctl")) {
				t.Errorf("%s: %s %s: next: %s", test.name, v.Node, v.Check, v.Next)
			}
		}
		if told != 1 {
			t.Errorf("%s: the run is told of %d times in\n%s", test.name, told, plugin(t, up))
		}
		for i, f := range Why(nil, test.nodes...).Findings {
			if (f.Cause == CauseUnfinishedRun) != (i == 0) || Refused(f.Next) || strings.Contains(f.Next, "pg_ctl") {
				t.Errorf("%s: finding %d is %+v", test.name, i+1, f)
			}
		}
	}
}

// TestRefused: an advice is known by the command that it names.
func TestRefused(t *testing.T) {
	for advice, want := range map[string]bool{
		"to go on: warmrun failover on db2": true, "(warmrun rejoin)": true, "x; warmrun copyToStandby, then": true,
		"warmrun runs resume 7-switchover": false, "warmrun why": false, "warmrun rsyncDR on the standby": false, "start its server": false, "warmrun": false,
	} {
		if got := Refused(advice); got != want {
			t.Errorf("%s: got %v, want %v", advice, got, want)
		}
	}
}
