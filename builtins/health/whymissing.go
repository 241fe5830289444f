package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// waitsInVain: the server asks for a segment that the primary has written long
// ago.
func (d *doctor) waitsInVain(n NodeStatus) bool {
	if n.Facts != nil && n.Facts.WantHistory != 0 {
		d.historyMissing(n)
		return true
	}
	want := n.Wanted.Segment()
	if want == "" && n.Facts != nil && len(n.Facts.Gaps) > 0 {
		want = n.Facts.Gaps[0].Want
	}
	if want == "" || d.primary == nil || !d.primary.finished(want) {
		return false
	}
	since := ""
	if n.Wanted != "" && !n.WantedSince.IsZero() {
		since = fmt.Sprintf("it waits for %s since %s", n.Wanted, clock(n.WantedSince))
	}
	at := d.places[walcore.FileName(want)]
	if d.onItsWay(n, at) {
		return false
	}
	if slices.Contains(at, ArchiveOn(n.Node)) {
		d.add(CauseArchiveNotServed, n, orElse(n.saidHint(), fmt.Sprintf("on %s: warmrun wal show %s, and look at its server's log", n.Node, want)),
			fmt.Sprintf("%s does not restore %s, though its archive has it", n.Node, want), since, n.said(), n.logPlace())
		return true
	}
	d.segmentMissing(n, want, at, since)
	return true
}

// momentarily is how long a file may take from one place to the next.
const momentarily = 10 * time.Second

// onItsWay: the segment has only just been finished or has only just come, or
// the next run of the relay brings it.
func (d *doctor) onItsWay(n NodeStatus, at []string) bool {
	age, known := n.heartbeat()
	waited := n.At.Sub(n.WantedSince)
	switch {
	case n.Wanted == "" || len(at) == 0 && len(d.silent()) == 0:
		return false
	case n.Place == cluster.RoleDR && !slices.Contains(at, ArchiveOn(n.Node)):
		return waited < mostSilence || known && age < mostSilence
	case slices.Contains(at, ArchiveOn(n.Node)):
		return known && age < momentarily
	}
	p := *d.primary
	return !p.LastFailedAt.After(p.LastArchivedAt) && slices.Contains(at, PGWALOn(p.Node)) && (p.Backlog > 0 && p.Backlog < backlogWarning || p.At.Sub(p.LastArchivedAt) < momentarily)
}

func (n NodeStatus) saidHint() string {
	if n.Facts == nil {
		return ""
	}
	return n.Facts.SaidHint
}

// ArchiveOn is a node's archive as one of Places.
func ArchiveOn(node cluster.NodeName) string { return "the archive on " + string(node) }

// PGWALOn is the WAL directory of a node's server as one of Places.
func PGWALOn(node cluster.NodeName) string { return "pg_wal on " + string(node) }

// segmentMissing tells of a gap, and where the segment could be had.
func (d *doctor) segmentMissing(n NodeStatus, want walcore.SegmentName, at []string, since string) {
	sentence := fmt.Sprintf("%s is missing in the archive on %s", want, n.Node)
	if n.Place == cluster.RoleDR && len(at) > 0 {
		d.add(CauseSegmentMissing, n, "warmrun rsyncDR on the standby (cron may not run it, or say why it fails)", sentence, since, placesText(at))
		return
	}
	// What is wrong with shipping is told before anything of a standby.
	shipping := d.told(CauseDiskFull, n.Node) || slices.ContainsFunc(d.found, func(f Finding) bool { return f.Node == d.primary.Node })
	silent := d.silent()
	switch {
	case len(at) == 0 && len(silent) > 0:
		d.add(CauseSegmentMissing, n, fmt.Sprintf("bring back %s first; then: warmrun why", listOf(silent)), sentence, since, fmt.Sprintf("no node that answers has it, and %s cannot be asked", listOf(silent)))
	case shipping:
		d.add(CauseSegmentMissing, n, "mend shipping first, as said above; then it comes by itself", sentence, since, placesText(at))
	case len(at) > 0:
		d.add(CauseSegmentMissing, n, fmt.Sprintf("on %s: warmrun fetch %s (it is tried by itself, too: local/fetch.log says what came of it)", n.Node, want), sentence, since, placesText(at))
	case n.Place == cluster.RoleDR:
		d.add(CauseSegmentMissing, n, fmt.Sprintf("stop the server on %s; warmrun configStandby --erase on it; warmrun copyToDR --start on %s", n.Node, d.c.Primary), sentence, since, placesText(at))
	default:
		d.add(CauseSegmentMissing, n, fmt.Sprintf("stop the server on %s; warmrun configStandby --erase on it; warmrun copyToStandby --start on %s", n.Node, d.c.Primary), sentence, since, placesText(at))
	}
}

// silent are the nodes that cannot be asked what they have.
func (d *doctor) silent() []cluster.NodeName {
	return d.c.where(func(n NodeStatus) bool { return n.silent() })
}

func placesText(at []string) string {
	if len(at) == 0 {
		return "no archive and no pg_wal has it: only a new copy helps"
	}
	return "it is in " + strings.Join(at, " and in ")
}

func (d *doctor) historyMissing(n NodeStatus) {
	name := n.Facts.WantHistory.HistoryName()
	at := d.places[name]
	next := fmt.Sprintf("look for %s in backups of the archive and of pg_wal; without it %s must be copied anew", name, n.Node)
	if len(at) > 0 {
		next = fmt.Sprintf("on %s: warmrun fetch %s", n.Node, name)
	}
	d.add(CauseHistoryMissing, n, next, fmt.Sprintf("%s, the history of timeline %d, is missing in the archive on %s", name, uint32(n.Facts.WantHistory), n.Node), placesText(at))
}
