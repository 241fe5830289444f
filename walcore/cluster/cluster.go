// Package cluster describes a site: the nodes of one log-shipping cluster and
// the home directory that each node keeps for warmrun.
//
// Two layouts of the home directory are known. A site of our own has
// global/cluster.toml, which names every node. A 2warm site has no such file:
// local/replication/othernode and drnode name the partner and the disaster
// recovery node, which then use the same paths as this node.
package cluster

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
)

// NodeName is the name that the site gives a node.
type NodeName string

// Role is what a node is for. The two nodes of the pair swap the parts of
// primary and standby; only the disaster recovery node has a fixed role.
type Role string

// The roles a node can have in cluster.toml.
const (
	RolePair Role = "pair"
	RoleDR   Role = "dr"
)

// Node is one member of the cluster. Paths are absolute and on that node.
type Node struct {
	Name NodeName `toml:"name" json:"name"`
	Host string   `toml:"host" json:"host"`
	Role Role     `toml:"role" json:"role"`

	// Port is where the server listens; 0 means what the server itself says.
	Port   int    `toml:"port" json:"port"`
	PGData string `toml:"pgdata" json:"pgdata"`
	// ConfigFile is postgresql.conf where it lies outside PGDATA.
	ConfigFile string `toml:"config_file" json:"config_file,omitempty"`
	// BinDir holds pg_ctl; empty means to look where distributions put it.
	BinDir string `toml:"bin_dir" json:"bin_dir,omitempty"`
	// StreamHost is where other nodes' servers reach this one's, where that is not
	// Host: an address of another network, or the directory of a socket.
	StreamHost string `toml:"stream_host" json:"stream_host,omitempty"`
	// User and Database are used for SQL; empty means the operating system
	// user and "postgres".
	User     string `toml:"user" json:"user,omitempty"`
	Database string `toml:"database" json:"database,omitempty"`

	Home    string `toml:"home" json:"home"`
	Archive string `toml:"archive" json:"archive"`
	Trigger string `toml:"trigger" json:"trigger"`
	// Backups is where base copies are kept on the node, Scratch where servers
	// live that are there for a while: drills and looks at the past.
	Backups string `toml:"backups" json:"backups"`
	Scratch string `toml:"scratch" json:"scratch"`
	// Delay is how long after its commit a transaction is replayed when the node
	// is a standby; 0 is at once.
	Delay Duration `toml:"delay" json:"delay,omitempty"`

	// Compress is how WAL is packed on its way to this node; empty means S2.
	Compress Compression `toml:"compress" json:"compress,omitempty"`

	SSH SSH `toml:"ssh" json:"ssh"`
}

// SSH is how to reach a node. What is empty comes from the user's own
// ~/.ssh/config, and then from OpenSSH's defaults.
type SSH struct {
	User         string `toml:"user" json:"user,omitempty"`
	Port         int    `toml:"port" json:"port,omitempty"`
	IdentityFile string `toml:"identity_file" json:"identity_file,omitempty"`
	KnownHosts   string `toml:"known_hosts" json:"known_hosts,omitempty"`
	ProxyJump    string `toml:"proxy_jump" json:"proxy_jump,omitempty"`
}

// Binary is where distrib puts the program on the node.
func (n Node) Binary() string { return filepath.Join(n.Home, "bin", "warmrun") }

// Compression is how files are packed on the wire.
type Compression string

// The ways to pack. S2 costs about as much time as it saves on a fast network,
// and is ahead on any other; Zstandard is for slow links.
const (
	CompressNone Compression = "none"
	CompressS2   Compression = "s2"
	CompressZstd Compression = "zstd"
)

// Require says which destinations must hold a segment before archive_command
// may report success.
type Require string

// The archive policies of cluster.toml.
const (
	// RequireStandby: the standby must have it. With the standby down the DR
	// node gets it too, but the call fails and pg_wal is the queue. Where the DR
	// node is the primary, its standby is the first node of the pair, and the
	// other one gets what that cannot take.
	RequireStandby Require = "standby"
	// RequireAll: every destination must have it.
	RequireAll Require = "all"
	// RequireAny: one destination is enough.
	RequireAny Require = "any"
)

// Archiving is the archive section of cluster.toml.
type Archiving struct {
	Require Require `toml:"require" json:"require"`
	// KeepBackups is how many of the newest base backups keep all WAL that
	// they need, in every archive; 0 keeps none for them.
	KeepBackups int `toml:"keep_backups" json:"keep_backups,omitempty"`
	// Compress is how the archives store whole segments; empty means plain.
	Compress packed.Form `toml:"compress" json:"compress,omitempty"`
	// MaxSize is the size of an archive beyond which the oldest segments are
	// removed although the relay or a kept backup needs them; 0 is no limit.
	MaxSize Size `toml:"max_size" json:"max_size,omitempty"`
}

// Keeping is the backup section of cluster.toml: which base copies stay. With
// neither all of them do, and the newest good one always.
type Keeping struct {
	// Keep is how many of the newest stay.
	Keep int `toml:"keep" json:"keep,omitempty"`
	// KeepFor is how far back a recovery must be possible.
	KeepFor Duration `toml:"keep_for" json:"keep_for,omitempty"`
}

// Layout tells which of the two kinds of home directory a site has.
type Layout string

// The two layouts.
const (
	LayoutTOML  Layout = "cluster.toml"
	Layout2warm Layout = "2warm"
)

// Site is a loaded home directory, seen from the node it lies on.
type Site struct {
	Home      string
	Layout    Layout
	Name      string
	Archiving Archiving
	Keeping   Keeping
	Streaming Streaming
	Fencing   Fencing
	Self      Node
	Nodes     []Node // Self among them
}

// Node finds a node by name.
func (s *Site) Node(name NodeName) (Node, error) {
	names := make([]string, 0, len(s.Nodes))
	for _, n := range s.Nodes {
		if n.Name == name {
			return n, nil
		}
		names = append(names, string(n.Name))
	}
	return Node{}, hint.Wrap(fmt.Errorf("unknown node %q", name),
		"the nodes of this cluster are %s (%s)", strings.Join(names, ", "), s.source())
}

// Partner is the other node of the pair that self belongs to. For the DR node
// it is the first node of the pair.
func (s *Site) Partner() (Node, bool) {
	for _, n := range s.Nodes {
		if n.Name != s.Self.Name && n.Role == RolePair {
			return n, true
		}
	}
	return Node{}, false
}

// DR is the disaster recovery node, where the site has one.
func (s *Site) DR() (Node, bool) {
	for _, n := range s.Nodes {
		if n.Role == RoleDR {
			return n, true
		}
	}
	return Node{}, false
}

// IsSelf reports whether the node is the one this process runs on.
func (s *Site) IsSelf(name NodeName) bool { return name == s.Self.Name }

// Global is a path in the part of the home that is the same on every node.
func (s *Site) Global(elem ...string) string {
	return filepath.Join(append([]string{s.Home, "global"}, elem...)...)
}

// Local is a path in the part of the home that belongs to this node.
func (s *Site) Local(elem ...string) string {
	return filepath.Join(append([]string{s.Home, "local"}, elem...)...)
}

func (s *Site) source() string {
	if s.Layout == Layout2warm {
		return s.Local("replication", "othernode") + " and drnode"
	}
	return s.Global("cluster.toml")
}
