package health

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
)

func (j *judge) onePrimary() {
	running := j.c.where(func(n NodeStatus) bool { return n.Role == RolePrimary })
	everyone := NodeStatus{Node: "cluster"}
	switch {
	case len(running) > 1:
		j.add(Critical, everyone, "primary", "stop the one that is wrong at once: warmrun why", "%s accept writes at the same time", strings.ReplaceAll(listOf(running), ", ", " and "))
	case len(running) == 0:
		j.add(Critical, everyone, "primary", cmp.Or(firstOf(j.c.Hints), "warmrun why"), "no node accepts writes")
	default:
		j.add(OK, everyone, "primary", "", "%s alone accepts writes", running[0])
	}
}

func firstOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// reached judges whether there is word from a node at all.
func (j *judge) reached(n NodeStatus) bool {
	switch n.Role {
	case RoleUnreachable:
		j.add(Critical, n, "reach", cmp.Or(n.Advice, "bring its host or the network back"), "it cannot be reached: %s", n.Unknown["role"])
	case RoleNotInstalled:
		j.add(Critical, n, "reach", "run warmrun distrib", "its host answers, and warmrun is not there: %s", n.Unknown["role"])
	case RoleFailing:
		j.add(Critical, n, "reach", cmp.Or(n.Advice, "correct on it what its warmrun fails at"), "its host answers, and its warmrun fails: %s", n.Unknown["role"])
	default:
		j.add(OK, n, "reach", "", "it answers")
		return true
	}
	return false
}

// mostSkew is how far clocks may be apart, in seconds.
const mostSkew = 2

// host judges the node itself.
func (j *judge) host(n NodeStatus) {
	j.program(n)
	j.server(n)
	if n.Lost != nil {
		j.add(Critical, n, "lost", "copy the DR node or the backup anew, then remove "+n.LostFile, "WAL from %s to %s was given up for archive.max_size", n.Lost.First, n.Lost.Last)
	}
	f := n.Facts
	if f == nil {
		return
	}
	switch {
	case f.AheadLeast > mostSkew:
		j.add(Warning, n, "clock", "let a time service set both clocks (chrony, systemd-timesyncd)", "its clock is at least %.1f s ahead of this node's", f.AheadLeast)
	case f.AheadMost < -mostSkew:
		j.add(Warning, n, "clock", "let a time service set both clocks (chrony, systemd-timesyncd)", "its clock is at least %.1f s behind this node's", -f.AheadMost)
	default:
		j.add(OK, n, "clock", "", "its clock agrees within %.1f s", max(f.AheadMost, -f.AheadLeast))
	}
	j.permissions(n)
	j.disks(n)
	j.trigger(n)
	j.service(n)
	j.unfinished(n)
	j.secrets(n)
}

// permissions judges the mode of the data directory. That of one which is half
// rewound keeps servers from starting.
func (j *judge) permissions(n NodeStatus) {
	switch mode := n.Facts.DataMode; {
	case mode == "" || n.Role == RoleHalfRewound:
	case mode != "0700" && mode != "0750":
		j.add(Critical, n, "permissions", "chmod 700 its data directory", "its data directory has mode %s, with which no server starts", mode)
	default:
		j.add(OK, n, "permissions", "", "its data directory has mode %s", mode)
	}
}

// service judges whether a service manager would bring an old primary back.
func (j *judge) service(n NodeStatus) {
	f := n.Facts
	switch {
	case f.Unit == "" || n.Place == cluster.RoleDR:
	case f.Restart == "":
		j.add(Unknown, n, "service", "systemctl show --property=Restart "+f.Unit, "whether %s starts a server again that has ended is not known", f.Unit)
	case f.Restart == "no":
		j.add(OK, n, "service", "", "%s does not start a server by itself that has ended", f.Unit)
	default:
		j.add(Warning, n, "service", fmt.Sprintf("systemctl edit %s: [Service] Restart=no", f.Unit),
			"%s starts the server again by itself (Restart=%s): one that was killed may be back before a failover has fenced it", f.Unit, f.Restart)
	}
}

// program judges the program on the node, against the one that asks.
func (j *judge) program(n NodeStatus) {
	asks := n.Program
	for _, other := range j.c.Nodes {
		if other.Facts != nil && other.Facts.Asks {
			asks = other.Program
		}
	}
	if n.Program != asks {
		j.add(Warning, n, "program", "run warmrun distrib, on the node with the newer one", "it has warmrun %s, and this node %s", n.Program, asks)
		return
	}
	j.add(OK, n, "program", "", "warmrun %s", n.Program)
}

// server judges whether the server is up that should be.
func (j *judge) server(n NodeStatus) {
	start := "start its server"
	if n.Facts != nil && n.Facts.Start != "" {
		start += ": " + n.Facts.Start
	}
	by := j.c.stoppedBy()
	switch n.Role {
	case RoleStoppedPrimary, RoleStoppedStandby:
		if by != nil && n.within(*by) {
			j.add(Critical, n, "server", "warmrun startSite, when the site may run again", "its server was stopped on purpose, by stopSite (%s)", n.Role)
			return
		}
		if n.WasPrimary && n.Role == RoleStoppedStandby && (j.primary == nil || j.primary.Role != RolePrimary) {
			start = cmp.Or(firstOf(j.c.Hints), start) // it would only make a second standby
		}
		j.add(Critical, n, "server", start, "its server is down (%s)", n.Role)
	case RoleHalfRewound:
		j.add(Critical, n, "server", mendRewind, "%s; no server starts there", n.HalfRewound)
	case RoleNoData:
		j.add(Critical, n, "server", "warmrun configStandby on it, then warmrun copyToStandby --start on the primary", "it has no data directory")
	case RoleRecovery, RoleStoppedRecovery:
		j.add(Warning, n, "server", "see that this is meant", "it is in a recovery that ends and opens the database (%s)", n.Role)
	case RoleUnknown:
	case RoleRelay:
		j.add(OK, n, "server", "", "it receives WAL and runs no server")
	default:
		j.add(OK, n, "server", "", "%s, PostgreSQL %s", n.Role, n.ServerVersion)
	}
}

// Room: how long a file system must last at the rate at which WAL is written.
const (
	roomWarning  = 2 * time.Hour
	roomCritical = 30 * time.Minute
)

func (j *judge) disks(n NodeStatus) {
	rate, segment := 0.0, uint64(16<<20)
	if j.primary != nil && j.primary.Facts != nil {
		rate, segment = j.primary.Facts.WALRate, max(segment, uint64(j.primary.SegmentSize))
	}
	for _, d := range n.Facts.Disks {
		level, lasts := OK, ""
		if rate > 0 && d.What != "data" {
			left := time.Duration(min(float64(d.Free)/rate, 1e9) * float64(time.Second))
			lasts = fmt.Sprintf(", room for %s of WAL at the rate of now", duration(left))
			switch {
			case left < roomCritical:
				level = Critical
			case left < roomWarning:
				level = Warning
			}
		}
		switch percent := 100 * float64(d.Free) / float64(d.Size); {
		case d.Free < 4*segment || percent < j.FreeCritical:
			level = Critical
		case percent < j.FreeWarning:
			level = max(level, Warning)
		}
		j.add(level, n, "disk", "free space there, or enlarge it", "%s (%s): %s of %s free%s", d.Path, d.What, bytesOf(int64(d.Free)), bytesOf(int64(d.Size)), lasts)
	}
}

// trigger judges a trigger file that lies about: nobody promotes at this moment.
func (j *judge) trigger(n NodeStatus) {
	f := n.Facts
	switch {
	case f.TriggerFile == "":
		j.add(OK, n, "trigger", "", "no trigger file")
	case n.writes():
		j.add(Warning, n, "trigger", "rm "+f.TriggerFile, "a trigger file lies in %s: a standby there would open at once", f.TriggerFile)
	default:
		j.add(Critical, n, "trigger", "unless it is to be promoted now: rm "+f.TriggerFile, "a trigger file lies in %s (%s): it opens the database", f.TriggerFile, f.Trigger)
	}
}

// links judges the ways that WAL takes from a node.
func (j *judge) links(n NodeStatus) {
	if n.Facts == nil {
		return
	}
	for _, link := range n.Facts.Links {
		level := Warning
		if n.writes() {
			level = Critical
		}
		if link.Error == "" {
			j.add(OK, n, "link", "", "it reaches the agent on %s", link.To)
			continue
		}
		j.add(level, n, "link", cmp.Or(link.Hint, "on "+string(n.Node)+": warmrun status"), "it cannot ship to %s: %s", link.To, link.Error)
	}
}

// archive judges the node's own archive.
func (j *judge) archive(n NodeStatus) {
	f := n.Facts
	if n.Fenced != "" {
		j.add(Critical, n, "fence", "warmrun why", "%s", n.Fenced)
	} else if n.Unknown["fence"] == "" {
		j.add(OK, n, "fence", "", "no fence is in its way (epoch %d)", n.Fence.Epoch)
	}
	if n.ArchiveMissing != "" {
		if !n.writes() && n.Role != RoleHalfRewound {
			j.add(Critical, n, "archive", "warmrun configStandby on it", "its archive directory %s is not there", n.ArchiveMissing)
		}
		return
	}
	switch {
	case f.Stamp.SystemID != 0 && n.SystemID != 0 && f.Stamp.SystemID != n.SystemID:
		j.add(Critical, n, "stamp", "warmrun archive retire, where the old archive is not needed any more", "its archive belongs to the cluster with system identifier %d, and its data to %d", f.Stamp.SystemID, n.SystemID)
	case f.Stamp.SystemID != 0 && n.SegmentSize != 0 && f.Stamp.SegmentSize != n.SegmentSize:
		j.add(Critical, n, "stamp", "retire the archive", "its archive has segments of %s, and its server of %s", bytesOf(int64(f.Stamp.SegmentSize)), bytesOf(int64(n.SegmentSize)))
	case f.Stamp.SystemID != 0:
		j.add(OK, n, "stamp", "", "its archive belongs to this cluster (%d)", f.Stamp.SystemID)
	}
	if f.GapsFrom == "" {
		return
	}
	switch {
	case len(f.Gaps) > 0:
		j.add(Critical, n, "gaps", "warmrun why", "%s is missing in its archive, and WAL after it is there", f.Gaps[0].Want)
	case f.WantHistory != 0:
		j.add(Critical, n, "gaps", "warmrun why", "the history of timeline %d is missing in its archive", uint32(f.WantHistory))
	default:
		j.add(OK, n, "gaps", "", "its archive has everything from %s on", f.GapsFrom)
	}
}

// waits reports whether a restore_command waits for its segment.
func waits(restoreCommand string) bool {
	return slices.ContainsFunc([]string{"--wait", "restoreWALFile", "pg_standby"}, func(word string) bool { return strings.Contains(restoreCommand, word) })
}

// major is a server version's first part.
func major(version string) string {
	first, rest, _ := strings.Cut(version, ".")
	if len(first) == 1 { // before 10 a major version has two
		second, _, _ := strings.Cut(rest, ".")
		return first + "." + second
	}
	return first
}

// sameCommand compares commands of a configuration as far as it matters: by
// what they run.
func sameCommand(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

// ours reports whether a command calls this program, under whatever name.
func ours(command string) bool {
	for word := range strings.FieldsSeq(command) {
		switch filepath.Base(strings.Trim(word, `"'`)) {
		case "warmrun", "archiveWALFile", "restoreWALFile", "pg_standby":
			return true
		}
	}
	return false
}
