package health

import (
	"fmt"
	"strings"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// hints are the next steps of setting up and of mending, in the order to take
// them.
func (c *ClusterStatus) hints(primary *NodeStatus) []string {
	hints := c.takeBack()
	add := func(nodes []cluster.NodeName, format string) {
		if len(nodes) > 0 {
			hints = append(hints, fmt.Sprintf(format, listOf(nodes)))
		}
	}
	add(c.where(func(n NodeStatus) bool { return n.Role == RoleNotInstalled }), "%s: run warmrun distrib, on a node that has it")
	add(c.where(func(n NodeStatus) bool { return n.ArchiveMissing != "" && !n.writes() }),
		"%s: the archive directory is not there yet; run warmrun configStandby on it")
	for _, n := range c.Nodes {
		if n.Lost != nil {
			hints = append(hints, fmt.Sprintf("%s: copy the DR node or the backup anew, then remove %s", n.Node, n.LostFile))
		}
	}
	if primary == nil || primary.Role != RolePrimary {
		return hints
	}
	add(c.where(func(n NodeStatus) bool { return n.Role == RoleNoData && n.ArchiveMissing == "" }),
		"%s: no base copy yet; run warmrun copyToStandby on "+string(primary.Node))
	return hints
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
