package health

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
)

// against judges a node beside the primary.
func (j *judge) against(n, primary NodeStatus) {
	if n.SystemID != 0 && primary.SystemID != 0 && n.SystemID != primary.SystemID {
		j.add(Critical, n, "cluster", "build it anew: warmrun configStandby --erase on it, then copy", "it holds another cluster: system identifier %d, %s has %d", n.SystemID, primary.Node, primary.SystemID)
		return
	}
	j.versions(n, primary)
	j.libraries(n, primary)
	j.collations(n, primary)
	if n.follows() {
		j.standbyLimits(n, primary)
	}
	j.behind(n, primary)
}

func (j *judge) versions(n, primary NodeStatus) {
	a, b := n.ServerVersion, primary.ServerVersion
	switch {
	case a == "" || b == "":
	case major(a) != major(b):
		j.add(Critical, n, "version", "install PostgreSQL "+major(b)+" there", "it has PostgreSQL %s, %s has %s: another major version cannot replay this WAL", a, primary.Node, b)
	case a != b && n.Accepting && primary.Accepting:
		j.add(Warning, n, "version", "install the same minor version, on the standby first", "it has PostgreSQL %s, %s has %s", a, primary.Node, b)
	default:
		j.add(OK, n, "version", "", "PostgreSQL %s, as on %s", a, primary.Node)
	}
}

// libraries judges whether the node has what functions on the primary are from.
func (j *judge) libraries(n, primary NodeStatus) {
	f := n.Facts
	if primary.Facts == nil || f.LibDir == "" || len(primary.Facts.Loads) == 0 {
		return
	}
	var missing []string
	for _, name := range append(slices.Clone(primary.Facts.Loads), pgctl.Preloads(primary.Facts.Settings["shared_preload_libraries"])...) {
		if !slices.Contains(f.Libraries, name) && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		j.add(Critical, n, "libraries", "install the packages of these extensions on "+string(n.Node), "%s has extensions whose libraries are not in %s: %s; after a promotion they would fail", primary.Node, f.LibDir, strings.Join(missing, ", "))
		return
	}
	j.add(OK, n, "libraries", "", "it has the %d libraries that the extensions of %s load", len(primary.Facts.Loads), primary.Node)
}

func (j *judge) collations(n, primary NodeStatus) {
	f := n.Facts
	switch {
	case len(f.Collations) > 0:
		j.add(Critical, n, "collations", "install the same version of the C library and of ICU as on "+string(primary.Node)+"; after a promotion: REINDEX, then ALTER ... REFRESH VERSION",
			"%s: indexes on text give wrong answers", strings.Join(f.Collations, "; "))
	case primary.Facts != nil && f.Libc != primary.Facts.Libc && f.Libc != "" && primary.Facts.Libc != "":
		j.add(Warning, n, "collations", "install the same version of the operating system on both", "it has %s, %s has %s: text may be sorted in another order", f.Libc, primary.Node, primary.Facts.Libc)
	default:
		j.add(OK, n, "collations", "", "it sorts text as %s does (%s)", primary.Node, orNone(f.Libc))
	}
}

// standbyLimits judges the settings that a hot standby must not have lower than
// its primary (CheckRequiredParameterValues in xlogrecovery.c).
func (j *judge) standbyLimits(n, primary NodeStatus) {
	f := n.Facts
	if primary.Facts == nil || f.Settings["hot_standby"] == "off" {
		return
	}
	fine := true
	for _, name := range []string{"max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"} {
		if name == "max_wal_senders" && before12(n.ServerVersion) {
			continue
		}
		own, known := number(f.Settings[name])
		if next, set := number(f.Next[name]); set {
			own = min(own, next)
		}
		wants, also := number(primary.Facts.Settings[name])
		if next, set := number(primary.Facts.Next[name]); set {
			wants = max(wants, next)
		}
		if known && also && own < wants {
			fine = false
			j.add(Critical, n, "limits", fmt.Sprintf("set %s = %d there, and restart its server", name, wants), "%s is %d, and %d on %s: the standby would not start, or would pause", name, own, wants, primary.Node)
		}
	}
	if fine {
		j.add(OK, n, "limits", "", "its limits are at least those of %s", primary.Node)
	}
}

func number(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// behind judges how far a node is behind: by bytes, and by how long nothing has
// come though there is something. Time alone says nothing: on an idle primary it
// grows while nothing is missing.
func (j *judge) behind(n, primary NodeStatus) {
	heard := ""
	if age, known := n.heartbeat(); known {
		heard = fmt.Sprintf("; the newest file came %s ago", duration(age))
	}
	switch {
	case n.Diverged != "":
		j.add(Critical, n, "lag", "warmrun why", "%s", n.Diverged)
	case n.LagBytes == nil && n.Role == RoleRelay && n.LastReceived == "":
		j.add(Warning, n, "lag", "warmrun rsyncDR on the standby", "it has received nothing")
	case n.LagBytes == nil && (n.follows() || n.Role == RoleRelay):
		j.add(Unknown, n, "lag", "warmrun status says why", "how far it is behind is not known: %s", n.Unknown["lag_bytes"])
	case n.LagBytes == nil:
	case *n.LagBytes >= j.LagCritical:
		j.add(Critical, n, "lag", "warmrun why", "%s behind %s%s", bytesOf(*n.LagBytes), primary.Node, heard)
	case n.stalled():
		j.add(Critical, n, "lag", "warmrun why", "%s behind %s, more than a segment, and nothing has come for long%s", bytesOf(*n.LagBytes), primary.Node, heard)
	case *n.LagBytes >= j.LagWarning:
		j.add(Warning, n, "lag", "warmrun why", "%s behind %s%s", bytesOf(*n.LagBytes), primary.Node, heard)
	default:
		j.add(OK, n, "lag", "", "%s behind %s%s", bytesOf(*n.LagBytes), primary.Node, heard)
	}
}

// mostSilence is how long nothing may come into an archive that lacks a whole
// segment. Relays by cron come every few minutes.
const mostSilence = 15 * time.Minute

// stalled: it lacks more than the segment that is being written, and nothing
// comes.
func (n NodeStatus) stalled() bool {
	age, known := n.heartbeat()
	return known && n.LagBytes != nil && n.SegmentSize > 0 && *n.LagBytes > int64(n.SegmentSize) && age > mostSilence
}

// heartbeat is how long ago the newest file came into the node's archive.
func (n NodeStatus) heartbeat() (time.Duration, bool) {
	if n.Facts == nil || n.Facts.LastFileAt.IsZero() {
		return 0, false
	}
	return max(0, n.At.Sub(n.Facts.LastFileAt)), true
}

func spanOf(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
