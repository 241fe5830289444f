package health

import (
	"fmt"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// shipping looks for what keeps WAL on the primary. Only the first is told: it
// explains the rest.
func (d *doctor) shipping(p NodeStatus) {
	if len(d.c.Nodes) < 2 {
		return
	}
	for _, look := range []func(NodeStatus) bool{d.archiveOff, d.libraryInstead, d.notActive, d.fenced, d.archiverFails, d.cannotShip, d.archiverBehind} {
		if look(p) {
			return
		}
	}
}

func (d *doctor) archiveOff(p NodeStatus) bool {
	if p.ArchiveMode != "off" {
		return false
	}
	if p.Facts != nil && p.Facts.Next["archive_mode"] == "on" {
		d.add(CauseArchiveModeOff, p, "restart the server on "+string(p.Node), fmt.Sprintf("archive_mode is off on %s until its server is restarted, so it ships nothing", p.Node),
			"its configuration says on, the running server off", neverArchived)
		return true
	}
	d.add(CauseArchiveModeOff, p, fmt.Sprintf("on %s: ALTER SYSTEM SET archive_mode = on, then restart the server", p.Node),
		fmt.Sprintf("archive_mode is off on %s, so it ships nothing", p.Node), "SHOW archive_mode there says off", neverArchived)
	return true
}

// neverArchived is what archive_mode = off costs.
const neverArchived = "segments that are finished meanwhile are never archived: where a standby then waits for one, it must be copied anew"

func (d *doctor) libraryInstead(p NodeStatus) bool {
	if p.Facts == nil || p.Facts.Settings["archive_library"] == "" {
		return false
	}
	d.add(CauseArchiveLibrary, p, fmt.Sprintf("on %s: ALTER SYSTEM SET archive_library = '', then SELECT pg_reload_conf()", p.Node),
		fmt.Sprintf("archive_library is set on %s, so archive_command is not called", p.Node), "archive_library = "+p.Facts.Settings["archive_library"])
	return true
}

func (d *doctor) notActive(p NodeStatus) bool {
	if p.Archiving || p.Unknown["archiving_active"] != "" {
		return false
	}
	next := orElse(d.c.shipAgain(p), fmt.Sprintf("warmrun copyToStandby --start on %s", p.Node))
	d.add(CauseNotActive, p, next, fmt.Sprintf("archiving is not active on %s: its WAL is acknowledged and dropped", p.Node),
		"local/replication/archiving_active is not there")
	return true
}

func (d *doctor) fenced(p NodeStatus) bool {
	if p.Fenced == "" {
		return false
	}
	next := fmt.Sprintf("if that change of state was called off and nobody was promoted: warmrun lowerFence on %s", p.Node)
	for _, hint := range d.c.Hints {
		if strings.Contains(hint, "lowerFence") {
			next = hint
		}
	}
	d.add(CauseFenced, p, next, fmt.Sprintf("%s is fenced: WAL that it writes is refused everywhere", p.Node), p.Fenced, p.said())
	return true
}

// said is this program's last complaint in a server's log.
func (n NodeStatus) said() string {
	if n.Facts == nil || n.Facts.Said == "" {
		return ""
	}
	return "its server's log says: " + n.Facts.Said
}

// archiverFails finds why archive_command fails.
func (d *doctor) archiverFails(p NodeStatus) bool {
	if !p.LastFailedAt.After(p.LastArchivedAt) || p.Backlog == 0 {
		return false
	}
	evidence := []string{
		fmt.Sprintf("pg_stat_archiver: %s failed last %s, %s was archived last", p.LastFailed, clock(p.LastFailedAt), orNone(p.LastArchived)),
		fmt.Sprintf("%s in its pg_wal to archive", backlogCell(p)), p.said(), p.logPlace(),
	}
	command := ""
	if p.Facts != nil {
		command = p.Facts.Settings["archive_command"]
	}
	if p.Facts != nil && command != "" && !ours(command) {
		d.add(CauseArchiveCommand, p, fmt.Sprintf("on %s: ALTER SYSTEM SET archive_command = '%s', then SELECT pg_reload_conf()", p.Node, p.Facts.ArchiveCommand),
			fmt.Sprintf("archive_command on %s fails, and it does not call warmrun", p.Node), append(evidence, "archive_command = "+command)...)
		return true
	}
	if d.fullDisk(p, evidence) || d.archiveOfOther(p, evidence) || d.brokenLink(p, evidence) {
		return true
	}
	next := "mend what the error says; the archiver tries again within a minute"
	if p.Facts != nil && p.Facts.SaidHint != "" {
		next = p.Facts.SaidHint
	}
	d.add(CauseArchiveCommand, p, next, fmt.Sprintf("archive_command fails on %s for %s", p.Node, p.LastFailed), evidence...)
	return true
}

// fullDisk finds a destination without room for a segment.
func (d *doctor) fullDisk(p NodeStatus, evidence []string) bool {
	for _, n := range d.c.Nodes {
		if n.Node == p.Node || n.Facts == nil {
			continue
		}
		for _, disk := range n.Facts.Disks {
			if disk.Path != d.archiveDisk(n) || disk.Free >= uint64(max(p.SegmentSize, 1))+1<<20 {
				continue
			}
			d.add(CauseDiskFull, n, fmt.Sprintf("free space on %s, below %s, or enlarge that file system: shipping goes on by itself", n.Node, disk.Path),
				fmt.Sprintf("the disk with the archive on %s is full", n.Node), append([]string{fmt.Sprintf("%s: %s of %s free", disk.Path, bytesOf(int64(disk.Free)), bytesOf(int64(disk.Size)))}, evidence...)...)
			return true
		}
	}
	return false
}

// archiveDisk is the path under which the disk with a node's archive was
// measured: disks are measured once.
func (d *doctor) archiveDisk(n NodeStatus) string {
	for _, disk := range n.Facts.Disks {
		if disk.What == "archive" {
			return disk.Path
		}
	}
	if len(n.Facts.Disks) > 0 {
		return n.Facts.Disks[0].Path
	}
	return ""
}

// archiveOfOther finds an archive that belongs to another cluster.
func (d *doctor) archiveOfOther(p NodeStatus, evidence []string) bool {
	for _, n := range d.c.Nodes {
		if n.Facts == nil || n.Node == p.Node || n.Facts.Stamp.SystemID == 0 || n.Facts.Stamp.SystemID == p.SystemID {
			continue
		}
		d.add(CauseOtherCluster, n, fmt.Sprintf("give each cluster an archive of its own (archive in cluster.toml); after an initdb or pg_upgrade on %s: warmrun configStandby --erase on %s, then copy anew", p.Node, n.Node),
			fmt.Sprintf("the archive on %s belongs to another cluster", n.Node),
			append([]string{fmt.Sprintf("its stamp has system identifier %d, %s has %d", n.Facts.Stamp.SystemID, p.Node, p.SystemID)}, evidence...)...)
		return true
	}
	return false
}

// brokenLink finds a node that the primary cannot ship to.
func (d *doctor) brokenLink(p NodeStatus, evidence []string) bool {
	if p.Facts == nil {
		return false
	}
	for _, link := range p.Facts.Links {
		n := d.node(link.To)
		if link.Error == "" || n.silent() {
			continue
		}
		if n.ArchiveMissing != "" {
			return false // told as such
		}
		d.add(CauseAgent, p, fmt.Sprintf("on %s: %s", p.Node, orElse(link.Hint, "try ssh to it by hand")), fmt.Sprintf("%s cannot ship to %s: %s", p.Node, link.To, link.Error), evidence...)
		return true
	}
	return false
}

// cannotShip is a link that is broken though archive_command has not failed
// yet: nothing was to be shipped.
func (d *doctor) cannotShip(p NodeStatus) bool {
	return d.brokenLink(p, []string{fmt.Sprintf("nothing has failed yet: %s was archived last, %s", orNone(p.LastArchived), clock(p.LastArchivedAt))})
}

// archiverBehind: nothing fails, and much waits.
func (d *doctor) archiverBehind(p NodeStatus) bool {
	if p.Backlog < backlogWarning {
		return false
	}
	d.add(CauseBacklog, p, fmt.Sprintf("on %s: warmrun shipper status shows what is on its way, and how fast", p.Node), fmt.Sprintf("%s archives more slowly than it writes", p.Node),
		fmt.Sprintf("%d segments wait, none has failed", p.Backlog), fmt.Sprintf("%s was archived last, %s", orNone(p.LastArchived), clock(p.LastArchivedAt)))
	return true
}

func (d *doctor) node(name cluster.NodeName) NodeStatus {
	for _, n := range d.c.Nodes {
		if n.Node == name {
			return n
		}
	}
	return NodeStatus{Node: name}
}

// finished reports whether a primary has written a segment to its end.
func (p NodeStatus) finished(name walcore.SegmentName) bool {
	return p.SegmentSize > 0 && name.Start(p.SegmentSize)+walcore.LSN(p.SegmentSize) <= p.CurrentLSN
}
