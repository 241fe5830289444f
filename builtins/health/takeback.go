package health

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// wasPrimary notes that the server was stopped as a primary, also where a
// signal file has been left since to fence it off. A base copy that never ran
// still has the control file of the server it was taken from.
func (l *look) wasPrimary() {
	if l.control == nil || l.n.Running || l.n.HalfRewound != "" {
		return
	}
	switch l.control.State {
	case walcore.StateShutDown, walcore.StateInProduction, walcore.StateShuttingDown, walcore.StateInCrashRecovery:
		_, err := os.Stat(filepath.Join(l.Server.PGData, "backup_label"))
		l.n.WasPrimary = errors.Is(err, fs.ErrNotExist)
	}
}

// takeBack says what to type where no node accepts writes and one was stopped
// as the primary: by flushPrimary, by a failover that got no further, or by a
// run that was killed half way.
func (c *ClusterStatus) takeBack() []string {
	var hints []string
	for _, n := range c.Nodes {
		if n.Role == RolePrimary {
			return nil
		}
		if !n.WasPrimary || n.Place != cluster.RolePair {
			continue
		}
		forward := ""
		standbys := c.where(func(other NodeStatus) bool {
			return other.Node != n.Node && other.Place == cluster.RolePair && other.follows()
		})
		clean := n.ControlState == walcore.StateShutDown.String()
		switch {
		case n.Role == RoleStoppedPrimary && !clean && c.heir() != "":
			continue // it died, and outage says what to do
		case len(standbys) > 0 && clean:
			forward = "warmrun triggerStandby --archiving on " + listOf(standbys)
		case len(standbys) > 0:
			forward = "warmrun failover on " + listOf(standbys)
		}
		switch cut := c.cutOf(n.Timeline); {
		case n.Role == RoleStoppedPrimary:
			hints = append(hints, fmt.Sprintf("%s was the primary and is stopped; start its server as you always do; %s", n.Node, c.instead(forward)))
		case cut != "" && len(standbys) > 0:
			hints = append(hints, fmt.Sprintf("%s was stopped as the primary for a promotion (%s); go on with warmrun triggerStandby --archiving on %s, or take it back, with every node up: warmrun startPrimary on %s", n.Node, cut, listOf(standbys), n.Node))
		case len(standbys) > 0 && clean:
			hints = append(hints, fmt.Sprintf("%[1]s was stopped as the primary and would start only as a standby; to go on: %[2]s, then start the server on %[1]s, which follows; to take it back instead: warmrun startPrimary on %[1]s", n.Node, forward))
		default:
			hints = append(hints, fmt.Sprintf("%[1]s was stopped as the primary and would start only as a standby; to take that back: warmrun startPrimary on %[1]s; %[2]s", n.Node, c.instead(forward)))
		}
	}
	return hints
}

// instead is the way that does not bring the old primary back: forward, where a
// standby of the pair can go it.
func (c *ClusterStatus) instead(forward string) string {
	heir := c.heir()
	switch {
	case forward != "":
		return "to go on instead: " + forward
	case heir != "":
		return fmt.Sprintf("only where that cannot be done: warmrun failover on %s", heir)
	}
	return "no other node can take over"
}

// cutOf is the fence that ends a timeline in some archive, in words.
func (c *ClusterStatus) cutOf(timeline walcore.Timeline) string {
	for _, n := range c.Nodes {
		if cut, ok := n.Fence.Cut(timeline); ok {
			return fmt.Sprintf("the archive on %s ends timeline %d at %s: %s", n.Node, uint32(timeline), cut.LSN, cut.By)
		}
	}
	return ""
}
