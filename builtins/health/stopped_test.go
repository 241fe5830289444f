package health

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// TestStoppedOnPurpose: after a stopSite the advice is to start the site again, in
// status, check and why, and failover only where a host is lost. Whatever has
// become of the servers since takes that back.
func TestStoppedOnPurpose(t *testing.T) {
	run := &EndedRun{Run: "7-stopSite", Began: noon.Add(-30 * time.Second), Ended: noon}
	down := func(role Role, control string) func(*NodeStatus) {
		return func(n *NodeStatus) {
			n.Role, n.Running, n.Accepting, n.ControlState, n.StoppedAt, n.StopSite = role, false, false, control, noon.Add(-10*time.Second), run
			n.WasPrimary = role == RoleStoppedPrimary
		}
	}
	one, two := with(db1(), down(RoleStoppedPrimary, "shut down")), with(db2(), down(RoleStoppedStandby, "shut down in recovery"))
	gone := Unreachable(cluster.Node{Name: "db1", Role: cluster.RolePair}, errors.New("no route"))
	const purpose = "the site was stopped on purpose, by stopSite, 2026-03-01 12:00:00 UTC; "
	for _, test := range []struct {
		name  string
		nodes []NodeStatus
		want  string // the only hint; empty: another one
	}{
		{"all are down", []NodeStatus{one, two}, purpose + "warmrun startSite starts it again; only where the host of db1 is lost: warmrun failover on db2"},
		{"the standby is up again", []NodeStatus{one, db2()}, purpose + "warmrun startSite starts it again; only where the host of db1 is lost: warmrun failover on db2"},
		{"the primary's host is off", []NodeStatus{gone, two}, purpose + "once db1 answers, warmrun startSite starts it again; only where the host of db1 is lost: warmrun failover on db2"},
		{"started again and stopped by hand", []NodeStatus{with(one, func(n *NodeStatus) { n.StoppedAt = noon.Add(time.Hour) }), two}, ""},
		{"started again and killed", []NodeStatus{with(one, func(n *NodeStatus) { n.ControlState, n.StoppedAt = "in production", time.Time{} }), two}, ""},
		{"fenced since", []NodeStatus{one, with(two, func(n *NodeStatus) {
			n.Fence = walcore.Fence{Epoch: 1, Cuts: []walcore.Cut{{Epoch: 1, Timeline: 1, LSN: 5}}}
		})}, ""},
		{"promoted since", []NodeStatus{one, with(two, func(n *NodeStatus) { n.Timeline = 2 })}, ""},
		{"flushed since", []NodeStatus{with(one, func(n *NodeStatus) { n.Role, n.StoppedAt = RoleStoppedStandby, noon.Add(time.Hour) }), two}, ""},
		{"no such run", []NodeStatus{with(one, func(n *NodeStatus) { n.StopSite = nil }), with(two, func(n *NodeStatus) { n.StopSite = nil })}, ""},
		{"the primary's host is off, and the standby was down before", []NodeStatus{gone, with(two, func(n *NodeStatus) { n.StoppedAt = noon.Add(-time.Hour) })}, ""},
	} {
		hints := Gather(test.nodes...).Hints
		up, why := plugin(t, Check(usual, test.nodes...)), strings.Join(Why(nil, test.nodes...).Lines(), "\n")
		if test.want == "" {
			if all := strings.Join(hints, "\n") + up + why; strings.Contains(all, "on purpose") || strings.Contains(all, "startSite") {
				t.Errorf("%s: got\n%s", test.name, all)
			}
			continue
		}
		if len(hints) != 1 || hints[0] != test.want {
			t.Errorf("%s: got hints %q, want %q alone", test.name, hints, test.want)
		}
		if !strings.Contains(up, "primary: no node accepts writes; next: "+test.want) || strings.Contains(up, "pg_ctl") {
			t.Errorf("%s: check says\n%s", test.name, up)
		}
		if !strings.Contains(why, "next: "+test.want) || strings.Contains(why, "pg_ctl") || strings.Contains(why, "is down") {
			t.Errorf("%s: why says\n%s", test.name, why)
		}
	}
}
