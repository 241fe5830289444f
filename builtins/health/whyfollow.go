package health

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// following looks for why a node does not follow. Only the first is told.
func (d *doctor) following(n NodeStatus) {
	if n.silent() {
		return // told already
	}
	for _, look := range []func(NodeStatus) bool{
		d.halfRewound, d.nothingThere, d.otherCluster, d.wouldOpen, d.leftBehind, d.isDown, d.triggered, d.restoreFails, d.held, d.waitsInVain, d.slow,
	} {
		if look(n) {
			return
		}
	}
}

// halfRewound: a pg_rewind was cut, or is under way.
func (d *doctor) halfRewound(n NodeStatus) bool {
	if n.Role != RoleHalfRewound {
		return false
	}
	d.add(CauseHalfRewound, n, fmt.Sprintf("on %s: %s", n.Node, mendRewind), n.HalfRewound, "no server starts there: the mode of the data directory keeps every one from it", n.logPlace())
	return true
}

func (d *doctor) nothingThere(n NodeStatus) bool {
	switch {
	case n.ArchiveMissing != "" && n.Role != RolePrimary:
		d.add(CauseNoArchive, n, fmt.Sprintf("warmrun configStandby on %s", n.Node), fmt.Sprintf("%s has no archive directory, so no WAL can reach it", n.Node),
			n.ArchiveMissing+" is not there (is its file system mounted?)")
	case n.Role == RoleNoData:
		d.add(CauseNoData, n, "warmrun copyToStandby --start on the primary", fmt.Sprintf("%s has no data directory: no base copy was made onto it", n.Node))
	case n.Role == RoleUnknown:
		d.add(CauseDown, n, "mend that first", fmt.Sprintf("what %s does cannot be told: %s", n.Node, n.Unknown["role"]))
	default:
		return false
	}
	return true
}

func (d *doctor) otherCluster(n NodeStatus) bool {
	if d.primary == nil {
		return false
	}
	p := *d.primary
	switch {
	case n.SystemID != 0 && p.SystemID != 0 && n.SystemID != p.SystemID:
		d.add(CauseOtherCluster, n, fmt.Sprintf("if that data may be given up: warmrun configStandby --erase on %s, then warmrun copyToStandby --start on %s", n.Node, p.Node),
			fmt.Sprintf("%s holds another cluster than %s", n.Node, p.Node), fmt.Sprintf("system identifier %d there, %d on %s", n.SystemID, p.SystemID, p.Node))
		return true
	case d.told(CauseOtherCluster, n.Node):
		return true
	case n.Facts != nil && n.Facts.Stamp.SystemID != 0 && p.SystemID != 0 && n.Facts.Stamp.SystemID != p.SystemID:
		return d.archiveOfOther(p, nil)
	}
	return false
}

func (d *doctor) told(cause Cause, node cluster.NodeName) bool {
	return slices.ContainsFunc(d.found, func(f Finding) bool { return f.Cause == cause && f.Node == node })
}

// wouldOpen: a node that is no standby at all.
func (d *doctor) wouldOpen(n NodeStatus) bool {
	if d.primary == nil || n.Role != RoleStoppedPrimary && n.Role != RoleRecovery && n.Role != RoleStoppedRecovery {
		return n.Role == RolePrimary // two primaries, told already
	}
	if !slices.ContainsFunc(d.c.Nodes, func(o NodeStatus) bool { return o.Role == RolePrimary }) {
		return true // the primary that is down, told already
	}
	d.add(CauseNotStandby, n, fmt.Sprintf("warmrun switchback --rebuild-only makes it a standby of %s, without a copy where that can be", d.primary.Node),
		fmt.Sprintf("%s is no standby: it is %s", n.Node, article(n.Role)), "no standby.signal (recovery.conf) is in its data directory", fmt.Sprintf("its pg_control says: %s", n.ControlState))
	return true
}

func (d *doctor) leftBehind(n NodeStatus) bool {
	if n.Diverged == "" {
		return false
	}
	next := "warmrun switchback --erase --rebuild-only (what only it has is given up)"
	for _, hint := range d.c.Hints {
		if strings.HasPrefix(hint, string(n.Node)+": rebuild it: ") {
			next = strings.TrimPrefix(hint, string(n.Node)+": rebuild it: ")
		}
	}
	d.add(CauseDiverged, n, next, fmt.Sprintf("%s has diverged from %s", n.Node, d.c.Primary), n.Diverged)
	return true
}

func (d *doctor) isDown(n NodeStatus) bool {
	if n.Role != RoleStoppedStandby {
		return false
	}
	if by := d.c.stoppedBy(); by != nil && n.within(*by) || d.told(CausePrimaryDown, n.Node) {
		return true // told already
	}
	next := n.startNext()
	for _, v := range d.blocked(n) {
		next = v.Next + "; then " + next
	}
	evidence := []string{fmt.Sprintf("its pg_control says: %s", n.ControlState), n.lastWords(), n.logPlace()}
	for _, v := range d.blocked(n) {
		evidence = append(evidence, v.Text)
	}
	d.add(CauseDown, n, next, fmt.Sprintf("the server on %s is down", n.Node), evidence...)
	return true
}

// blocked are the verdicts on why a server would not start.
func (d *doctor) blocked(n NodeStatus) []Verdict {
	if n.Facts == nil || d.primary == nil {
		return nil
	}
	j := &judge{c: d.c, primary: d.primary}
	j.standbyLimits(n, *d.primary)
	j.preloads(n)
	return slices.DeleteFunc(j.verdicts, func(v Verdict) bool { return v.Level != Critical })
}

func (d *doctor) triggered(n NodeStatus) bool {
	if n.Facts == nil || n.Facts.TriggerFile == "" {
		return false
	}
	d.add(CauseTrigger, n, fmt.Sprintf("on %s: unless it is to be promoted, rm %s; else: warmrun triggerStandby --archiving", n.Node, n.Facts.TriggerFile),
		fmt.Sprintf("a trigger file lies on %s: it is told to open its database", n.Node), fmt.Sprintf("%s asks for %s", n.Facts.TriggerFile, n.Facts.Trigger))
	return true
}

// held: the server has WAL and does not replay it.
func (d *doctor) held(n NodeStatus) bool {
	if n.ReplayPaused {
		sentence, next := "replay is paused on "+string(n.Node), fmt.Sprintf("on %s: SELECT pg_wal_replay_resume()", n.Node)
		evidence := []string{fmt.Sprintf("it has replayed up to %s, and its archive goes to %s", n.ReplayedLSN, n.ReceivedLSN)}
		for _, v := range d.blocked(n) {
			// From 14 on the server pauses where it would have ended before.
			evidence, next = append(evidence, v.Text), v.Next
		}
		d.add(CausePaused, n, next, sentence, evidence...)
		return true
	}
	if n.Facts == nil {
		return false
	}
	switch wait := n.Facts.StartupWait; {
	case inConflict(wait):
		evidence, next := []string{"its startup process waits: " + wait}, "end the queries there that hold it up"
		if q := n.Facts.Oldest; q != nil {
			evidence = append(evidence, fmt.Sprintf("process %d of %s has a transaction open for %s", q.PID, q.User, seconds(q.Seconds)))
			next = fmt.Sprintf("on %s: SELECT pg_terminate_backend(%d), or wait for its end; max_standby_archive_delay (now %s) says how long replay waits", n.Node, q.PID, delayText(n.Facts.Settings["max_standby_archive_delay"]))
		}
		d.add(CauseConflict, n, next, fmt.Sprintf("replay on %s waits for a query", n.Node), evidence...)
		return true
	case wait == "RecoveryApplyDelay":
		undo := "ALTER SYSTEM SET recovery_min_apply_delay = 0, then SELECT pg_reload_conf()"
		if before12(n.ServerVersion) {
			undo = "take delay of this node out of cluster.toml, then: warmrun delayReplay"
		}
		d.add(CauseDelayed, n, fmt.Sprintf("nothing, if that is meant; else on %s: %s", n.Node, undo),
			fmt.Sprintf("%s replays late on purpose", n.Node), "recovery_min_apply_delay = "+n.Facts.Settings["recovery_min_apply_delay"])
		return true
	}
	return false
}

// delayText is max_standby_archive_delay for people.
func delayText(setting string) string {
	if setting == "-1" {
		return "-1, for ever"
	}
	return setting
}

// restoreFails: restore_command does not work.
func (d *doctor) restoreFails(n NodeStatus) bool {
	if n.Facts == nil || n.Role != RoleStandby {
		return false
	}
	restore := n.Facts.Settings["restore_command"]
	switch {
	case restore != "" && !ours(restore) || restore == "" && n.Unknown["settings"] == "" && n.Accepting && n.Wanted == "" && n.LagBytes != nil && *n.LagBytes > 0 && n.StreamedLSN == 0:
		d.add(CauseRestoreCommand, n, fmt.Sprintf("on %s: set restore_command = '%s', and restart the server (from 14 on a reload is enough)", n.Node, n.Facts.RestoreCommand),
			fmt.Sprintf("restore_command on %s does not call warmrun", n.Node), fmt.Sprintf("restore_command = '%s'", restore), n.behindText())
	case n.Facts.Said != "":
		d.add(CauseRestoreCommand, n, orElse(n.Facts.SaidHint, "mend what the error says; the server asks again by itself"), fmt.Sprintf("restore_command fails on %s", n.Node), n.said(), n.logPlace(), n.behindText())
	default:
		return false
	}
	return true
}

func (n NodeStatus) behindText() string {
	if n.LagBytes == nil {
		return ""
	}
	return fmt.Sprintf("it is %s behind", bytesOf(*n.LagBytes))
}

// slow: all there is to have is there, and it is not replayed yet.
func (d *doctor) slow(n NodeStatus) bool {
	if d.primary == nil || n.LagBytes == nil || n.SegmentSize == 0 || *n.LagBytes <= int64(2*n.SegmentSize) {
		return false
	}
	if age, known := n.heartbeat(); known && age < mostSilence && n.Place == cluster.RoleDR {
		return false // the relay comes every few minutes
	}
	switch {
	case n.Role == RoleRelay:
		d.add(CauseSlow, n, "warmrun rsyncDR on the standby (cron may not run it, or say why it fails)", fmt.Sprintf("%s has not been relayed what the primary wrote", n.Node), n.behindText(), "the newest it has is "+orNone(string(n.LastReceived)))
	case n.ReceivedLSN > n.ReplayedLSN:
		d.add(CauseSlow, n, "wait; warmrun status shows whether it comes nearer", fmt.Sprintf("%s has WAL that it has not replayed yet", n.Node), n.behindText(),
			fmt.Sprintf("it has replayed up to %s, and its archive goes to %s", n.ReplayedLSN, n.ReceivedLSN))
	case len(d.found) == 0:
		d.add(CauseSlow, n, "wait; warmrun status shows whether it comes nearer", fmt.Sprintf("%s waits for WAL that %s is about to ship", n.Node, d.primary.Node), n.behindText())
	default:
		return false
	}
	return true
}

// allIsWell is the sentence when nothing is wrong, and how that is known.
func (d *doctor) allIsWell() (sentence string, proof []string) {
	var names []cluster.NodeName
	p := d.primary
	if p.Backlog == 0 && p.LastArchived != "" {
		proof = append(proof, fmt.Sprintf("%s has archived %s %s ago, and nothing waits", p.Node, p.LastArchived, duration(p.At.Sub(p.LastArchivedAt))))
	}
	for _, n := range d.c.Nodes {
		if n.Node == p.Node {
			continue
		}
		names = append(names, n.Node)
		line := fmt.Sprintf("%s has replayed up to %s", n.Node, n.ReplayedLSN)
		if n.Role == RoleRelay {
			line = n.clause()
		}
		if n.LagBytes != nil {
			line += ", " + bytesOf(*n.LagBytes) + " behind"
		}
		if want := n.Wanted.Segment(); want != "" {
			line += fmt.Sprintf(", and asks for %s, which %s", want, map[bool]string{true: "is on its way", false: string(p.Node) + " is still writing"}[p.finished(want)])
		}
		proof = append(proof, line)
	}
	if len(names) == 0 {
		return fmt.Sprintf("nothing is wrong: %s is the only node", p.Node), proof
	}
	return fmt.Sprintf("nothing is wrong: WAL flows from %s to %s", p.Node, strings.ReplaceAll(listOf(names), ", ", " and ")), proof
}
