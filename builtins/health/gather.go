package health

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// ClusterStatus is the nodes of a cluster put together.
type ClusterStatus struct {
	// Sentence is the whole in one line.
	Sentence string `json:"sentence"`
	// Primary is the node whose WAL the others follow, if there is one. A
	// stopped primary counts where none runs.
	Primary cluster.NodeName `json:"primary,omitempty"`
	// Outage is what the death of the primary would cost now; nil where there is
	// none, or no other node.
	Outage *Outage `json:"outage,omitempty"`
	// Problems are what an operator should look at, one line each.
	Problems []string `json:"problems,omitempty"`
	// Hints are what to do next where a node is not set up yet.
	Hints []string     `json:"hints,omitempty"`
	Nodes []NodeStatus `json:"nodes"`
}

// Gather puts the nodes together: it finds the primary, works out how far the
// others are behind it, and notes what is wrong between them.
func Gather(nodes ...NodeStatus) ClusterStatus {
	c := ClusterStatus{Nodes: slices.Clone(nodes)}
	for i := range c.Nodes {
		c.Nodes[i].Unknown = maps.Clone(c.Nodes[i].Unknown)
		c.Nodes[i].Fenced = fencedBy(c.Nodes[i], nodes)
	}
	primary := c.choosePrimary()
	for i := range c.Nodes {
		if primary != nil && c.Nodes[i].Node != primary.Node {
			if c.Nodes[i].Diverged = c.Nodes[i].divergedFrom(*primary); c.Nodes[i].Diverged == "" {
				c.Nodes[i].measure(*primary)
			}
		}
	}
	c.Outage = c.outageOf(primary)
	c.Problems = c.problems(primary)
	c.Hints = c.hints(primary)
	c.Sentence = c.sentence(primary)
	return c
}

// choosePrimary finds the primary: one that runs before one that is stopped,
// one that is not fenced before one that is, then the newer timeline.
func (c *ClusterStatus) choosePrimary() *NodeStatus {
	var chosen *NodeStatus
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.writes() && (chosen == nil || preferred(*n, *chosen)) {
			chosen = n
		}
	}
	if chosen != nil {
		c.Primary = chosen.Node
	}
	return chosen
}

func preferred(a, b NodeStatus) bool {
	if a.Running != b.Running {
		return a.Running
	}
	if (a.Fenced == "") != (b.Fenced == "") {
		return a.Fenced == ""
	}
	return a.Timeline > b.Timeline
}

// fencedBy is the cut that ends the timeline of a server that would write on
// it, from any node's archive.
func fencedBy(n NodeStatus, nodes []NodeStatus) string {
	if !n.writes() || n.Timeline == 0 {
		return ""
	}
	for _, other := range nodes {
		cut, ok := other.Fence.Cut(n.Timeline)
		if !ok {
			continue
		}
		by := ""
		if cut.By != "" {
			by = ", by " + cut.By
		}
		return fmt.Sprintf("timeline %d was cut at %s (epoch %d%s, in the archive of %s)", uint32(n.Timeline), cut.LSN, cut.Epoch, by, other.Node)
	}
	return ""
}

// measure works out how far a node is behind the primary.
func (n *NodeStatus) measure(primary NodeStatus) {
	var has walcore.LSN
	switch {
	case n.follows():
		has = n.ReplayedLSN
	case n.Role == RoleRelay:
		has = n.ReceivedLSN
	default:
		return
	}
	switch {
	case primary.CurrentLSN == 0:
		n.unknown(fmt.Errorf("where the WAL of %s ends is not known", primary.Node), "lag_bytes")
	case n.Role == RoleRelay && n.LastReceived == "":
		return // it has received nothing, which is said elsewhere
	case has == 0 && n.Role == RoleRelay:
		n.unknown(fmt.Errorf("the end of the WAL in its archive is not known"), "lag_bytes")
	case has == 0:
		n.unknown(fmt.Errorf("what it has replayed is not known"), "lag_bytes")
	default:
		behind := int64(0)
		if primary.CurrentLSN > has {
			behind = int64(primary.CurrentLSN - has)
		}
		n.LagBytes = &behind
	}
	n.LagSeconds = n.age()
}

// age is how old the newest thing is that the node has. A node that lacks
// nothing is not behind, however long ago the last transaction was.
func (n NodeStatus) age() *float64 {
	seconds := 0.0
	switch {
	case n.LagBytes != nil && *n.LagBytes == 0:
	case n.ReplayedAt.IsZero() || n.At.IsZero():
		return nil
	default:
		seconds = max(0, n.At.Sub(n.ReplayedAt).Round(100*time.Millisecond).Seconds())
	}
	return &seconds
}

// problems are what is wrong between the nodes.
func (c *ClusterStatus) problems(primary *NodeStatus) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	var running []string
	for _, n := range c.Nodes {
		if n.Role == RolePrimary {
			running = append(running, string(n.Node))
		}
	}
	if len(running) > 1 {
		add("%s accept writes at the same time: their data differs from the first write on", strings.Join(running, " and "))
	}
	for _, n := range c.Nodes {
		if n.Fenced != "" {
			add("%s is fenced: %s; WAL that it writes past that is refused everywhere", n.Node, n.Fenced)
		}
		if n.LastFailedAt.After(n.LastArchivedAt) {
			add("%s cannot archive %s, last tried %s; %d segments wait in its pg_wal", n.Node, n.LastFailed, clock(n.LastFailedAt), n.Backlog)
		}
		if n.HalfRewound != "" {
			add("%s; no server starts there", n.HalfRewound)
		}
		if n.Lost != nil {
			add("LOST: the archive on %s went over archive.max_size, last %s: WAL from %s to %s was removed though %s needed it",
				n.Node, clock(n.Lost.At), n.Lost.First, n.Lost.Last, strings.Join(n.Lost.Broken, " and "))
		}
		if primary == nil || n.Node == primary.Node {
			continue
		}
		if n.SystemID != 0 && primary.SystemID != 0 && n.SystemID != primary.SystemID {
			add("%s holds another cluster than %s: system identifier %d against %d", n.Node, primary.Node, n.SystemID, primary.SystemID)
			continue
		}
		if n.Role == RoleStandby && n.ArchiveMissing != "" {
			add("%s has no archive directory (%s): no WAL can reach it", n.Node, n.ArchiveMissing)
		}
		if oldest := c.outOfReach(n); oldest != "" {
			add("%s waits for %s, and the archives of the pair go back without a gap only to %s", n.Node, n.Wanted, oldest)
		}
		switch {
		case n.Diverged != "":
			found = append(found, n.Diverged)
		case n.Role == RoleStandby && n.apart(*primary) && len(primary.History) == 0:
			add("%s is on timeline %d, %s on %d", n.Node, uint32(n.Timeline), primary.Node, uint32(primary.Timeline))
		}
	}
	if primary != nil && primary.Role == RolePrimary && !primary.Archiving && len(c.Nodes) > 1 && primary.Unknown["archiving_active"] == "" {
		add("archiving is not active on %s: its WAL is acknowledged and dropped", primary.Node)
	}
	return found
}

// outOfReach is the oldest segment without a gap in the archives of the pair,
// where the DR node waits for one before it: no relay can bring that.
func (c *ClusterStatus) outOfReach(n NodeStatus) walcore.SegmentName {
	wanted := n.Wanted.Segment()
	if n.Place != cluster.RoleDR || wanted == "" {
		return ""
	}
	var oldest walcore.SegmentName
	for _, other := range c.Nodes {
		if other.Place != cluster.RolePair {
			continue
		}
		if other.silent() {
			return "" // it may have what is wanted
		}
		if first := other.FirstReceived; first != "" && (oldest == "" || first.Position() < oldest.Position()) {
			oldest = first
		}
	}
	if oldest == "" || oldest.Position() <= wanted.Position() {
		return ""
	}
	return oldest
}

// apart reports whether both timelines are known, and differ.
func (n NodeStatus) apart(primary NodeStatus) bool {
	return n.Timeline != 0 && primary.Timeline != 0 && n.Timeline != primary.Timeline
}

// divergedFrom says why a node that is there to replay cannot get from its
// timeline to the primary's; empty when it can, or when where the primary's
// comes from is not known. One that has not reached the fork yet is only behind.
func (n NodeStatus) divergedFrom(primary NodeStatus) string {
	if !n.follows() && n.Role != RoleRelay || !n.apart(primary) || len(primary.History) == 0 && primary.Timeline > 1 {
		return ""
	}
	if n.SystemID != 0 && primary.SystemID != 0 && n.SystemID != primary.SystemID {
		return "" // another cluster, which is told by itself
	}
	where := fmt.Sprintf("%s is on timeline %d, %s on %d", n.Node, uint32(n.Timeline), primary.Node, uint32(primary.Timeline))
	fork, descends := primary.History.Fork(n.Timeline)
	switch {
	case !descends:
		return where + ", which does not descend from it: it must be rebuilt"
	case n.ReplayedLSN > fork:
		return fmt.Sprintf("%s, and has replayed up to %s, past the fork at %s: it must be rebuilt", where, n.ReplayedLSN, fork)
	}
	return ""
}

// sentence is the cluster in one line.
func (c *ClusterStatus) sentence(primary *NodeStatus) string {
	var parts []string
	switch {
	case primary == nil:
		parts = append(parts, "no node is a primary")
	default:
		parts = append(parts, fmt.Sprintf("%s is %s", primary.Node, article(primary.Role)))
	}
	for _, n := range c.Nodes {
		if primary == nil || n.Node != primary.Node {
			parts = append(parts, n.clause())
		}
	}
	return strings.Join(parts, "; ")
}

func article(r Role) string {
	switch r {
	case RoleStoppedPrimary, RoleStoppedStandby, RoleStandby, RoleStoppedRecovery:
		return "a " + string(r)
	}
	return string(r)
}

// clause says how a node is that is not the primary.
func (n NodeStatus) clause() string {
	switch {
	case n.Role == RoleNotInstalled:
		return fmt.Sprintf("%s has no warmrun yet", n.Node)
	case n.Role == RoleNoData:
		return fmt.Sprintf("%s has no data directory", n.Node)
	case n.Role == RolePrimary:
		return fmt.Sprintf("%s is primary too", n.Node)
	case n.Diverged != "":
		return fmt.Sprintf("%s has diverged", n.Node)
	case n.Role == RoleRelay && n.LastReceived == "":
		return fmt.Sprintf("%s has received nothing", n.Node)
	case n.Role == RoleRelay:
		return fmt.Sprintf("%s has everything to %s", n.Node, n.LastReceived)
	case n.Role == RoleStandby && n.LagBytes != nil:
		return fmt.Sprintf("%s follows, %s behind", n.Node, bytesOf(*n.LagBytes))
	case n.Role == RoleStandby && n.LastReplayed != "":
		return fmt.Sprintf("%s follows, at %s", n.Node, n.LastReplayed)
	case n.Role == RoleStandby:
		return fmt.Sprintf("%s follows", n.Node)
	case n.Role == RoleRecovery:
		return fmt.Sprintf("%s recovers", n.Node)
	case n.Role == RoleFailing:
		return fmt.Sprintf("%s answers, but its warmrun fails", n.Node)
	case n.Role == RoleUnknown:
		return fmt.Sprintf("%s cannot tell (%s)", n.Node, n.Unknown["role"])
	}
	return fmt.Sprintf("%s is %s", n.Node, article(n.Role))
}

// bytesOf prints a number of bytes for people. What is small stays exact.
func bytesOf(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%d kB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d GB", n>>30)
}

// clock prints a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
