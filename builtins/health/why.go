package health

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// Cause names what keeps WAL from flowing, or a node from following.
type Cause string

// The causes, in the order in which they are looked for: what comes first often
// explains what comes after it.
const (
	CauseUnfinishedRun    Cause = "run unfinished"
	CauseTwoPrimaries     Cause = "two primaries"
	CausePrimaryDown      Cause = "primary down"
	CauseStopped          Cause = "stopped on purpose"
	CauseNoPrimary        Cause = "no primary"
	CauseArchiveModeOff   Cause = "archive_mode off"
	CauseArchiveLibrary   Cause = "archive_library"
	CauseNotActive        Cause = "archiving not active"
	CauseFenced           Cause = "fenced"
	CauseUnreachable      Cause = "node unreachable"
	CauseNotInstalled     Cause = "warmrun missing"
	CauseFailing          Cause = "warmrun fails"
	CauseNoArchive        Cause = "no archive"
	CauseNoData           Cause = "no base copy"
	CauseOtherCluster     Cause = "other cluster"
	CauseDiskFull         Cause = "disk full"
	CauseAgent            Cause = "agent unreachable"
	CauseArchiveCommand   Cause = "archive_command fails"
	CauseBacklog          Cause = "archiver behind"
	CauseHalfRewound      Cause = "half rewound"
	CauseDiverged         Cause = "diverged"
	CauseDown             Cause = "server down"
	CauseNotStandby       Cause = "no standby"
	CauseTrigger          Cause = "trigger file"
	CausePaused           Cause = "replay paused"
	CauseDelayed          Cause = "replay delayed"
	CauseConflict         Cause = "replay conflict"
	CauseRestoreCommand   Cause = "restore_command fails"
	CauseHistoryMissing   Cause = "history missing"
	CauseSegmentMissing   Cause = "segment missing"
	CauseArchiveNotServed Cause = "segment not served"
	CauseSlow             Cause = "replay behind"
)

// Finding is one thing that is wrong: what in a sentence, what shows it, and the
// command that mends it.
type Finding struct {
	Cause    Cause            `json:"cause"`
	Node     cluster.NodeName `json:"node,omitempty"`
	Sentence string           `json:"sentence"`
	Evidence []string         `json:"evidence,omitempty"`
	Next     string           `json:"next"`
}

// Diagnosis is why WAL does not flow or a node does not follow.
type Diagnosis struct {
	// Sentence is the first finding's, or that nothing is wrong.
	Sentence string `json:"sentence"`
	// Findings are in the order in which to mend them; none is wrong where it is
	// empty, and Proof tells how that is known.
	Findings []Finding `json:"findings"`
	Proof    []string  `json:"proof,omitempty"`
}

// Places are where a file was found: node to the directories there.
type Places map[walcore.FileName][]string

// Why looks for what is wrong on nodes that were examined. places says where the
// segments are that nodes wait for in vain; see WaitedFor.
func Why(places Places, nodes ...NodeStatus) Diagnosis {
	c := Gather(nodes...)
	d := &doctor{c: c, places: places}
	for i := range c.Nodes {
		if c.Nodes[i].Node == c.Primary {
			d.primary = &c.Nodes[i]
		}
	}
	d.theCluster()
	if d.primary != nil && d.primary.Role == RolePrimary {
		d.shipping(*d.primary)
	}
	for _, n := range c.Nodes {
		if d.primary == nil || n.Node != d.primary.Node {
			d.following(n)
		}
	}
	result := Diagnosis{Findings: append([]Finding{}, d.found...)}
	if len(d.found) > 0 {
		result.Findings = d.unfinished(result.Findings)
		result.Sentence = result.Findings[0].Sentence
		return result
	}
	result.Sentence, result.Proof = d.allIsWell()
	return result
}

// unfinished puts the runs before everything else that have to be brought to an
// end first: until then what mends the rest is refused, and is not told.
func (d *doctor) unfinished(rest []Finding) (found []Finding) {
	open := d.c.openRuns()
	for _, r := range open {
		holds := func(n NodeStatus) bool {
			return slices.ContainsFunc(n.Unfinished, func(other UnfinishedRun) bool { return other.Run == r.Run })
		}
		on := d.c.where(holds)[0]
		found = append(found, Finding{Cause: CauseUnfinishedRun, Node: on, Sentence: r.sentence(), Next: fmt.Sprintf("on %s: %s", on, r.Next)})
	}
	for _, f := range rest {
		switch {
		case len(open) == 0:
		case f.Cause == CausePrimaryDown, f.Cause == CauseNoPrimary, f.Cause == CauseDown, Refused(f.Next):
			f.Next = endFirst(open, "warmrun why")
		}
		found = append(found, f)
	}
	return found
}

// WaitedFor are the segments that servers ask for and do not find, and the
// segments and histories that are missing in an archive.
func WaitedFor(nodes ...NodeStatus) []walcore.FileName {
	var names []walcore.FileName
	for _, n := range nodes {
		if n.Wanted != "" {
			names = append(names, n.Wanted)
		}
		if n.Facts != nil && len(n.Facts.Gaps) > 0 {
			names = append(names, walcore.FileName(n.Facts.Gaps[0].Want))
		}
		if n.Facts != nil && n.Facts.WantHistory != 0 {
			names = append(names, n.Facts.WantHistory.HistoryName())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// doctor collects findings.
type doctor struct {
	c       ClusterStatus
	primary *NodeStatus
	places  Places
	found   []Finding
}

func (d *doctor) add(cause Cause, n NodeStatus, next, sentence string, evidence ...string) {
	f := Finding{Cause: cause, Node: n.Node, Sentence: sentence, Next: next, Evidence: []string{}}
	for _, line := range evidence {
		if line != "" {
			f.Evidence = append(f.Evidence, line)
		}
	}
	d.found = append(d.found, f)
}

// theCluster looks for what is wrong with all of it.
func (d *doctor) theCluster() {
	running := d.c.where(func(n NodeStatus) bool { return n.Role == RolePrimary })
	if len(running) > 1 {
		d.twoPrimaries(running)
	}
	for _, n := range d.c.Nodes {
		switch n.Role {
		case RoleUnreachable:
			d.add(CauseUnreachable, n, orElse(n.Advice, "bring the host or the network back, then: warmrun why"), fmt.Sprintf("%s cannot be reached: %s", n.Node, n.Unknown["role"]))
		case RoleNotInstalled:
			d.add(CauseNotInstalled, n, "warmrun distrib", fmt.Sprintf("warmrun is not on %s, or does not run there: %s", n.Node, n.Unknown["role"]))
		case RoleFailing:
			d.add(CauseFailing, n, orElse(n.Advice, "correct on "+string(n.Node)+" what its warmrun fails at, then: warmrun why"), fmt.Sprintf("warmrun fails on %s: %s", n.Node, n.Unknown["role"]))
		}
	}
	if len(running) > 0 {
		return
	}
	next := orElse(strings.Join(d.c.Hints, "; "), "warmrun status")
	if d.c.stoppedBy() != nil {
		d.add(CauseStopped, NodeStatus{}, next, "the servers were stopped on purpose, so there is no WAL to follow", d.c.Sentence)
		return
	}
	for _, n := range d.c.Nodes {
		if !n.WasPrimary || n.silent() {
			continue
		}
		d.add(CausePrimaryDown, n, next, fmt.Sprintf("%s was the primary, and its server is down", n.Node),
			fmt.Sprintf("its pg_control says: %s", n.ControlState), n.lastWords(), n.logPlace())
		return
	}
	d.add(CauseNoPrimary, NodeStatus{}, next, "no node accepts writes, so there is no WAL to follow", d.c.Sentence)
}

func (d *doctor) twoPrimaries(running []cluster.NodeName) {
	var evidence []string
	for _, n := range d.c.Nodes {
		if n.Role == RolePrimary {
			evidence = append(evidence, fmt.Sprintf("%s writes on timeline %d, at %s", n.Node, uint32(n.Timeline), n.CurrentLSN))
		}
		if n.Fenced != "" {
			evidence = append(evidence, fmt.Sprintf("%s is fenced: %s", n.Node, n.Fenced))
		}
	}
	other := running[0]
	if other == d.c.Primary {
		other = running[1]
	}
	d.add(CauseTwoPrimaries, *d.primary, fmt.Sprintf("stop the server on %[1]s, unless it is the right one; then: warmrun switchback --rebuild-only (what only %[1]s has is given up)", other),
		fmt.Sprintf("%s accept writes at the same time, so neither can follow the other", strings.ReplaceAll(listOf(running), ", ", " and ")), evidence...)
}

func orElse(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// lastWords is what the server said last before it ended.
func (n NodeStatus) lastWords() string {
	if n.Facts == nil || n.Facts.Fatal == "" {
		return ""
	}
	return "its server's last error: " + n.Facts.Fatal
}

func (n NodeStatus) logPlace() string {
	if n.Facts == nil || n.Facts.Log == "" {
		return ""
	}
	return "its log: " + n.Facts.Log
}

// startNext is the command that starts a node's server.
func (n NodeStatus) startNext() string {
	if n.Facts == nil || n.Facts.Start == "" {
		return fmt.Sprintf("start the server on %s", n.Node)
	}
	return fmt.Sprintf("on %s: %s", n.Node, n.Facts.Start)
}

// Lines is the diagnosis for people: the sentence, what shows it, and what to
// type.
func (d Diagnosis) Lines() []string {
	if len(d.Findings) == 0 {
		lines := []string{d.Sentence}
		for _, proof := range d.Proof {
			lines = append(lines, "  "+proof)
		}
		return lines
	}
	var lines []string
	for i, f := range d.Findings {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, f.Sentence)
		for _, evidence := range f.Evidence {
			lines = append(lines, "  "+evidence)
		}
		lines = append(lines, "next: "+f.Next)
	}
	return lines
}
