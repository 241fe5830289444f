// Package health looks at the nodes of a cluster and says how they are. It
// reads and asks; it changes nothing.
//
// Local looks at the node it runs on: the data directory, the server where one
// answers, the archive and the home directory. Gather puts the nodes together,
// and only then can say how far one is behind another.
//
// What cannot be found out is no error: it stays out of the result, and the
// reason is noted under its name in NodeStatus.Unknown. A node that cannot be
// reached is one of the things that a status has to show.
//
// Terms:
//
//   - role: what a node is doing now, as against its place in the site, which
//     is fixed.
//   - received: what lies in the node's own archive, without a gap.
//   - backlog: segments that wait in pg_wal until archive_command takes them.
//   - behind: the distance in WAL bytes from what the primary has written to
//     what a standby has replayed, or a relay has received. Time says less: it
//     grows while an idle primary has nothing to send.
package health

import (
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
)

// Role is what a node is doing now.
type Role string

// The roles that a node can be found in.
const (
	RolePrimary         Role = "primary"           // accepts writes
	RoleStandby         Role = "standby"           // replays what arrives
	RoleRecovery        Role = "recovery"          // recovers to a point, then opens
	RoleRelay           Role = "dr relay"          // receives WAL and runs no server
	RoleStoppedPrimary  Role = "stopped primary"   // would accept writes if started
	RoleStoppedStandby  Role = "stopped standby"   // would replay if started
	RoleStoppedRecovery Role = "stopped recovery"  // would recover and open if started
	RoleHalfRewound     Role = "half rewound"      // pg_rewind has begun there and has not ended
	RoleNoData          Role = "no data directory" // nothing here yet
	RoleUnreachable     Role = "unreachable"       // nobody answers for the node
	RoleNotInstalled    Role = "not installed"     // the host answers, but warmrun is not there
	RoleFailing         Role = "warmrun fails"     // the host answers, and warmrun there refuses to
	RoleUnknown         Role = "unknown"           // it answers, but its data directory cannot be read
)

// NodeStatus is what one look at a node has shown. A field that could not be
// found out is zero, and Unknown says why under the field's name.
type NodeStatus struct {
	Node  cluster.NodeName `json:"node"`
	Host  string           `json:"host,omitempty"`
	Place cluster.Role     `json:"place"`
	Role  Role             `json:"role"`
	// Program is the version of warmrun that answered for the node.
	Program string    `json:"program,omitempty"`
	At      time.Time `json:"at,omitzero"` // by the node's own clock

	// Unknown maps the JSON name of a field to why it could not be found out.
	Unknown map[string]string `json:"unknown,omitempty"`

	Running       bool                `json:"running"`
	Accepting     bool                `json:"accepting"` // the server answers SQL
	ServerVersion string              `json:"server_version,omitempty"`
	SystemID      uint64              `json:"system_identifier,string,omitempty"`
	ControlState  string              `json:"control_state,omitempty"`
	SegmentSize   walcore.SegmentSize `json:"segment_size,omitempty"`
	// WasPrimary: the server is stopped and last ran as a primary.
	WasPrimary bool `json:"was_primary,omitempty"`
	// HalfRewound is why no server may start from the data directory.
	HalfRewound string `json:"half_rewound,omitempty"`
	// StoppedAt is when the server was shut down, by pg_control.
	StoppedAt time.Time `json:"stopped_at,omitzero"`
	// StopSite is the last stopSite that was done, as far as a node whose server is
	// down knows.
	StopSite *EndedRun `json:"stop_site,omitempty"`
	// Unfinished are the runs that nobody drives any more: until they are brought to
	// an end, no other begins that changes the cluster.
	Unfinished []UnfinishedRun `json:"unfinished_runs,omitempty"`
	// Timeline is the one that is written or replayed, History where it comes
	// from.
	Timeline walcore.Timeline `json:"timeline,omitempty"`
	History  walcore.History  `json:"history,omitempty"`

	// CurrentLSN is where a primary's WAL ends, also a cleanly stopped one's.
	CurrentLSN walcore.LSN `json:"current_lsn,omitzero"`
	// ReplayedLSN is how far a standby has replayed. Where SQL cannot say it is
	// from pg_control, which lags behind.
	ReplayedLSN walcore.LSN `json:"replayed_lsn,omitzero"`
	// ReplayedAt is the commit time of the last transaction replayed, by the
	// primary's clock.
	ReplayedAt time.Time `json:"replayed_at,omitzero"`

	// StreamedLSN is how far a standby has received by streaming.
	StreamedLSN walcore.LSN `json:"streamed_lsn,omitzero"`
	// ReplayPaused: somebody has told the server to stop replaying.
	ReplayPaused bool `json:"replay_paused,omitempty"`
	// ReplayPace is how long replay of a segment took at most of late, in
	// seconds; 0 is unknown. Promotion is how long the last one of this node's
	// server took.
	ReplayPace float64    `json:"replay_seconds_per_segment,omitempty"`
	Promotion  *Promotion `json:"last_promotion,omitempty"`

	// Archiving says whether archiving_active is there: WAL is shipped.
	Archiving      bool      `json:"archiving_active"`
	ArchiveMode    string    `json:"archive_mode,omitempty"`
	LastArchived   string    `json:"last_archived,omitempty"`
	LastArchivedAt time.Time `json:"last_archived_at,omitzero"`
	// ArchivedTo is the end of the newest segment that is marked as archived,
	// ArchivedUntil when that segment was full: what was committed before is in it
	// or before it.
	ArchivedTo    walcore.LSN `json:"archived_to,omitzero"`
	ArchivedUntil time.Time   `json:"archived_until,omitzero"`
	LastFailed    string      `json:"last_failed,omitempty"`
	LastFailedAt  time.Time   `json:"last_failed_at,omitzero"`
	Backlog       int         `json:"backlog"`

	// ArchiveMissing is the archive directory where it is not there, as on a
	// node that was not set up.
	ArchiveMissing string `json:"archive_missing,omitempty"`
	// ArchiveCompress is how archives store the segments that this node ships or
	// fetches; empty is plain.
	ArchiveCompress packed.Form `json:"archive_compress,omitempty"`
	// LastReceived is the end of the newest run of segments without a gap in
	// the node's archive, ReceivedLSN where the WAL in it ends.
	LastReceived  walcore.SegmentName `json:"last_received,omitempty"`
	FirstReceived walcore.SegmentName `json:"first_received,omitempty"`
	ReceivedLSN   walcore.LSN         `json:"received_lsn,omitzero"`
	LastReplayed  walcore.SegmentName `json:"last_replayed,omitempty"`
	// Wanted is the segment that a server in recovery asks for and does not
	// find.
	Wanted      walcore.FileName `json:"wanted,omitempty"`
	WantedSince time.Time        `json:"wanted_since,omitzero"`
	// Lost is what archive.max_size has cost the node's archive, LostFile the
	// note of it.
	Lost     *walcore.Lost `json:"lost,omitempty"`
	LostFile string        `json:"lost_file,omitempty"`
	// Relayed is how far the DR node is known to have everything from here,
	// where this is the standby.
	Relayed walcore.SegmentName `json:"relayed,omitempty"`
	Fence   walcore.Fence       `json:"fence,omitzero"`

	// Advice is what to do where nobody answers for the node.
	Advice string `json:"advice,omitempty"`
	// Facts is there when the look was for a check.
	Facts *Facts `json:"facts,omitempty"`
	// Delay is how far the node is to stay behind on purpose.
	Delay string `json:"delay,omitempty"`
	// BaseCopies are those that the node keeps, and Drill how the last one went.
	BaseCopies *Kept  `json:"base_copies,omitempty"`
	Drill      *Drill `json:"drill,omitempty"`

	// The rest is for Gather to find out.

	// LagBytes and LagSeconds say how far the node is behind the primary.
	// LagSeconds is at most what it says.
	LagBytes   *int64   `json:"lag_bytes,omitempty"`
	LagSeconds *float64 `json:"lag_seconds,omitempty"`
	// Diverged says why the node cannot get to the primary's timeline any more:
	// it has WAL that the primary has not, and no lag.
	Diverged string `json:"diverged,omitempty"`
	// Fenced says which cut ends the timeline that this server writes on.
	Fenced string `json:"fenced,omitempty"`
}

// Promotion is a promotion that was measured.
type Promotion struct {
	Seconds float64   `json:"seconds"`
	At      time.Time `json:"at"`
}

// unknown notes why fields could not be found out. The first reason stays.
func (n *NodeStatus) unknown(err error, fields ...string) {
	if n.Unknown == nil {
		n.Unknown = map[string]string{}
	}
	for _, field := range fields {
		if _, noted := n.Unknown[field]; !noted {
			n.Unknown[field] = err.Error()
		}
	}
}

// Unreachable is the status of a node that nobody answers for, and why.
func Unreachable(node cluster.Node, err error) NodeStatus {
	status := NodeStatus{Node: node.Name, Host: node.Host, Place: node.Role, Role: RoleUnreachable}
	status.unknown(err, "role")
	status.Advice = hint.Of(err)
	return status
}

// NotInstalled is the status of a node that answers, and on which this program
// is not there or does not work.
func NotInstalled(node cluster.Node, err error) NodeStatus {
	status := Unreachable(node, err)
	status.Role = RoleNotInstalled
	return status
}

// Failing is the status of a node that answers, and whose own warmrun fails, as
// with a mistake in its configuration: what its server does cannot be told.
func Failing(node cluster.Node, err error) NodeStatus {
	status := Unreachable(node, err)
	status.Role = RoleFailing
	return status
}

// writes reports whether the node is, or would be if started, a primary.
func (n NodeStatus) writes() bool { return n.Role == RolePrimary || n.Role == RoleStoppedPrimary }

// follows reports whether the node is there to replay another's WAL.
func (n NodeStatus) follows() bool {
	return n.Role == RoleStandby || n.Role == RoleStoppedStandby
}
