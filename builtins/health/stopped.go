package health

import (
	"fmt"
	"slices"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// EndedRun is a run of a runbook that was done.
type EndedRun struct {
	Run   string    `json:"run"`
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
}

// mostOff is how far the times of a run, by the clock of the node that drove it, and
// of pg_control on another node may be apart.
const mostOff = time.Minute

// within reports whether the node's server was shut down during a run.
func (n NodeStatus) within(r EndedRun) bool {
	return !n.StoppedAt.IsZero() && !n.StoppedAt.Before(r.Began.Add(-mostOff)) && !n.StoppedAt.After(r.Ended.Add(mostOff))
}

// runs notes what the node has on record of runs.
func (l *look) runs() {
	if l.control != nil && !l.n.Running && (l.control.State == walcore.StateShutDown || l.control.State == walcore.StateShutDownInRecovery) {
		l.n.StoppedAt = l.control.ModifiedAt.UTC()
	}
	if l.StopSite != nil && !l.n.Running {
		l.n.StopSite = l.StopSite()
	}
	if l.Unfinished == nil {
		return
	}
	open, err := l.Unfinished()
	if err != nil {
		l.n.unknown(err, "unfinished_runs")
	}
	l.n.Unfinished = open
}

// stoppedBy is the stopSite that has stopped the servers, where nothing has become
// of that since: the primary was neither started again nor fenced, and nobody was
// promoted. Where the primary's host is silent, the others tell. nil: they are not
// stopped, or not on purpose.
func (c *ClusterStatus) stoppedBy() *EndedRun {
	var last *EndedRun
	for _, n := range c.Nodes {
		if n.StopSite != nil && (last == nil || n.StopSite.Ended.After(last.Ended)) {
			last = n.StopSite
		}
	}
	if last == nil {
		return nil
	}
	stopped := 0
	for _, n := range c.Nodes {
		switch {
		case n.Role == RolePrimary || n.Fenced != "":
			return nil
		case n.Role == RoleStoppedPrimary && n.ControlState == walcore.StateShutDown.String() && n.within(*last) && !c.newer(n.Timeline):
			return last
		case n.Place == cluster.RoleDR || n.silent():
		case n.Role != RoleStoppedStandby || n.WasPrimary || !n.within(*last):
			return nil
		default:
			stopped++
		}
	}
	if stopped == 0 {
		return nil
	}
	return last
}

// newer reports whether a node is on a later timeline.
func (c *ClusterStatus) newer(than walcore.Timeline) bool {
	return slices.ContainsFunc(c.Nodes, func(n NodeStatus) bool { return n.Timeline > than })
}

// startAgain says what to do about a site that was stopped on purpose.
func (c *ClusterStatus) startAgain(by EndedRun, primary *NodeStatus) string {
	text := fmt.Sprintf("the site was stopped on purpose, by stopSite, %s; ", clock(by.Ended))
	silent := c.where(func(n NodeStatus) bool { return n.silent() })
	if len(silent) > 0 {
		text += fmt.Sprintf("once %s answers, ", listOf(silent))
	}
	text += "warmrun startSite starts it again"
	lost := c.where(func(n NodeStatus) bool { return n.silent() && n.Place == cluster.RolePair })
	if primary != nil {
		lost = []cluster.NodeName{primary.Node}
	}
	if heir := c.heir(); heir != "" && len(lost) > 0 {
		text += fmt.Sprintf("; only where the host of %s is lost: warmrun failover on %s", listOf(lost), heir)
	}
	return text
}
