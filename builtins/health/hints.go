package health

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// hints are the next steps. A run that is unfinished comes before all others.
func (c *ClusterStatus) hints(primary *NodeStatus) []string {
	var failing []string
	if nodes := c.where(func(n NodeStatus) bool { return n.Role == RoleFailing }); len(nodes) > 0 {
		failing = []string{listOf(nodes) + ": it answers, and its server may well run; correct on it what its warmrun fails at, then ask again"}
	}
	hints := c.steps(primary, failing)
	if open := c.openRuns(); len(open) > 0 {
		return c.besideRuns(open, failing, hints)
	}
	return hints
}

// steps are what to do in an outage, to set up, and to mend, in the order to take
// them.
func (c *ClusterStatus) steps(primary *NodeStatus, failing []string) []string {
	var hints []string
	if by := c.stoppedBy(); by != nil {
		hints = []string{c.startAgain(*by, primary)}
	} else {
		hints = append(c.outage(primary), c.takeBack()...)
	}
	add := func(nodes []cluster.NodeName, format string) {
		if len(nodes) > 0 {
			hints = append(hints, fmt.Sprintf(format, listOf(nodes)))
		}
	}
	add(c.where(func(n NodeStatus) bool { return n.Role == RoleNotInstalled }), "%s: run warmrun distrib, on a node that has it")
	hints = append(hints, failing...)
	add(c.where(func(n NodeStatus) bool { return n.Role == RoleHalfRewound }), "%s: "+mendRewind)
	add(c.where(func(n NodeStatus) bool { return n.ArchiveMissing != "" && !n.writes() && n.Role != RoleHalfRewound }),
		"%s: the archive directory is not there yet; run warmrun configStandby on it")
	for _, n := range c.Nodes {
		if n.Lost != nil {
			hints = append(hints, fmt.Sprintf("%s: copy the DR node or the backup anew, then remove %s", n.Node, n.LostFile))
		}
	}
	hints = append(hints, c.leftBehind()...)
	if primary == nil || primary.Role != RolePrimary {
		return hints
	}
	add(c.where(func(n NodeStatus) bool { return n.Role == RoleNoData && n.ArchiveMissing == "" }),
		"%s: no base copy yet; run warmrun copyToStandby on "+string(primary.Node))
	diverged := func(dr bool) func(NodeStatus) bool {
		return func(n NodeStatus) bool { return n.Diverged != "" && (n.Place == cluster.RoleDR) == dr }
	}
	if primary.Place == cluster.RoleDR {
		return append(hints, c.wayHome(*primary)...)
	}
	add(c.where(diverged(false)), "%s: make it a standby again: warmrun rejoin on it (WAL that only it has is kept there)")
	add(c.where(func(n NodeStatus) bool { return n.Diverged == "" && c.outOfReach(n) != "" }),
		"%s: rsyncDR says what is missing; where it is nowhere any more, copy the node anew: stop its server, warmrun configStandby on it, warmrun copyToDR --start on "+string(primary.Node))
	add(c.where(diverged(true)), "%s: rebuild it: warmrun configStandby --erase on it, then warmrun copyToDR --start on "+string(primary.Node))
	if next := c.shipAgain(*primary); next != "" {
		hints = append(hints, next)
	}
	if primary.Fenced != "" {
		hints = append(hints, fmt.Sprintf("%[1]s: if that change of state was called off and nobody was promoted: warmrun lowerFence on %[1]s", primary.Node))
	}
	return hints
}

// mendRewind is what to do where a pg_rewind has not ended.
const mendRewind = "warmrun rejoin on it, which takes a base copy then; where a rejoin of it is under way (warmrun runs list), wait for its end"

// leftBehind is what to do about a primary that has come back beside the one that
// was promoted instead of it: the fence tells which of the two it is.
func (c *ClusterStatus) leftBehind() []string {
	fenced := c.where(func(n NodeStatus) bool { return n.Role == RolePrimary && n.Fenced != "" })
	heirs := c.where(func(n NodeStatus) bool { return n.Role == RolePrimary && n.Fenced == "" })
	if len(fenced) != 1 || len(heirs) != 1 {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s was promoted instead of it; make it a standby: warmrun rejoin on it (WAL that only it has is kept there)", fenced[0], heirs[0])}
}

// wayHome says how to return to the pair where the DR node is the primary. It
// ships to the first node of the pair.
func (c *ClusterStatus) wayHome(primary NodeStatus) []string {
	pair := c.where(func(n NodeStatus) bool { return n.Place == cluster.RolePair })
	if len(pair) == 0 {
		return nil
	}
	left := c.where(func(n NodeStatus) bool { return n.Place == cluster.RolePair && n.Role == RoleStoppedPrimary })
	if len(left) > 0 {
		return []string{fmt.Sprintf("%s: would start as a primary beside %s: warmrun configStandby --erase on it (what only it has is given up)", listOf(left), primary.Node)}
	}
	home := c.Nodes[slices.IndexFunc(c.Nodes, func(n NodeStatus) bool { return n.Node == pair[0] })]
	switch {
	case home.silent():
		return []string{fmt.Sprintf("%s is the primary; to return to %s, mend that node first", primary.Node, home.Node)}
	case home.Role == RoleStandby && home.Diverged == "" && primary.Archiving:
		return []string{fmt.Sprintf("to return to %[2]s: warmrun flushPrimary on %[1]s, warmrun triggerStandby --archiving on %[2]s, then start the server on %[1]s", primary.Node, home.Node)}
	case home.Role == RoleStoppedStandby && home.Diverged == "" && primary.Archiving:
		return []string{fmt.Sprintf("to return to %[2]s, make it follow %[1]s first: start its server; where it then does not follow, stop it again, warmrun configStandby --erase on %[2]s (what only it has is given up), and warmrun copyToStandby --start on %[1]s", primary.Node, home.Node)}
	}
	return []string{fmt.Sprintf("to return to %[2]s, make it follow %[1]s first: warmrun configStandby --erase on %[2]s (what only it has is given up), then warmrun copyToStandby --start on %[1]s", primary.Node, home.Node)}
}

// shipAgain says how a primary gets a standby again whose WAL is dropped. What
// was dropped is nowhere else, so there is no way but a new copy.
func (c *ClusterStatus) shipAgain(primary NodeStatus) string {
	if primary.Archiving || primary.Unknown["archiving_active"] != "" {
		return ""
	}
	others := c.where(func(n NodeStatus) bool {
		return n.Node != primary.Node && n.Place == cluster.RolePair && n.SystemID != 0
	})
	if len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("%[1]s: to ship its WAL again: warmrun copyToStandby --start on %[1]s; it copies %[1]s anew onto %[2]s, whose server must be down", primary.Node, others[0])
}

// outage says how to get a primary where none runs.
func (c *ClusterStatus) outage(primary *NodeStatus) []string {
	heir := c.heir()
	if primary != nil && primary.Role == RolePrimary || heir == "" {
		return nil
	}
	gone := c.where(func(n NodeStatus) bool { return n.Role == RoleUnreachable && n.Place != cluster.RoleDR })
	flushed := c.where(func(n NodeStatus) bool {
		return n.Role == RoleStoppedStandby && n.WasPrimary && n.Place == cluster.RolePair && n.ControlState == walcore.StateShutDown.String()
	})
	switch {
	case primary != nil && primary.ControlState == walcore.StateShutDown.String() && primary.WasPrimary && primary.Place == cluster.RolePair,
		len(flushed) > 0:
		return nil // takeBack says it
	case primary != nil:
		return []string{fmt.Sprintf("%s is down: start its server, or, when that cannot be done: warmrun failover on %s", primary.Node, heir)}
	case len(gone) == 1:
		return []string{fmt.Sprintf("no primary answers; when %s is dead: warmrun failover on %s", gone[0], heir)}
	case len(gone) > 1:
		return []string{fmt.Sprintf("no primary answers; when %s are dead: warmrun failover on %s", strings.ReplaceAll(listOf(gone), ", ", " and "), heir)}
	}
	return nil
}

// heir is the node that takes over when the primary is dead: the running
// standby of the pair, else one that is stopped, else the DR node. Empty where
// nobody has a base copy.
func (c *ClusterStatus) heir() cluster.NodeName {
	for _, fits := range []func(NodeStatus) bool{
		func(n NodeStatus) bool { return n.Role == RoleStandby && n.Place != cluster.RoleDR },
		func(n NodeStatus) bool {
			return n.Role == RoleStoppedStandby && n.Place != cluster.RoleDR && n.ControlState != walcore.StateShutDown.String()
		},
		func(n NodeStatus) bool { return n.Role == RoleStandby || n.Role == RoleRelay && n.SystemID != 0 },
	} {
		if found := c.where(fits); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

func (c *ClusterStatus) where(holds func(NodeStatus) bool) []cluster.NodeName {
	var names []cluster.NodeName
	for _, n := range c.Nodes {
		if holds(n) {
			names = append(names, n.Node)
		}
	}
	return names
}

func listOf(nodes []cluster.NodeName) string {
	words := make([]string, len(nodes))
	for i, name := range nodes {
		words[i] = string(name)
	}
	return strings.Join(words, ", ")
}
