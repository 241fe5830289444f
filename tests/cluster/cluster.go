// Package cluster builds whole clusters for tests: three nodes on loopback
// addresses of their own, each with a real OpenSSH server, a real PostgreSQL
// server and the warmrun program, built from this source.
//
// Terms:
//
//   - node: db1 and db2 are the pair, dr the disaster recovery node. db1 begins
//     as a running primary, the others begin as fresh machines: an ssh server
//     and the saved postgresql.conf.
//   - inside and outside: with the 2warm layout every node has the same paths,
//     as 2warm's scripts assumed of different machines. Each node then has
//     namespaces of its own for mounts, host name and processes, and its
//     directory lies at the common place there. A path inside is what the node
//     sees; the test sees another one outside. With cluster.toml the two are
//     the same. The node's directory is its user's home directory there, too.
//   - machines: where they are asked for, nodes have namespaces with either
//     layout, and networks of their own, joined by links that can be cut, and
//     disks that can be filled.
//
// Started by root, everything on the nodes runs as the user postgres.
package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
	sitecluster "github.com/warmrun/warmrun/walcore/cluster"
)

// Layout is how the site's home directories look.
type Layout int

// The layouts.
const (
	// TOML: global/cluster.toml names the nodes, and each has paths of its own.
	TOML Layout = iota
	// TwoWarm: othernode and drnode name the others, the home is called 2warm,
	// the archive lies in PGDATA, and all nodes have the same paths.
	TwoWarm
)

// Options say what cluster to build. The zero value has cluster.toml and the
// newest PostgreSQL server installed.
type Options struct {
	Layout Layout
	// PGBin is the directory with pg_ctl and postgres; empty means the newest.
	PGBin string
	// Tags are build tags for the program.
	Tags string
	// Settings are more lines for every node's postgresql.conf.
	Settings []string
	// Machines makes every node a machine with a network and disks of its own.
	Machines bool
	// Pair leaves the DR node out.
	Pair bool
	// SegmentSize is that of the WAL in megabytes; 0 means 16.
	SegmentSize int
	// Streaming has the standbys stream, too, with slots in the pair.
	Streaming bool
	// SSHD are lines for every node's sshd_config, before all others.
	SSHD []string
}

// Cluster is three nodes, or two. They end with the test.
type Cluster struct {
	DB1, DB2, DR *Node

	t        testing.TB
	layout   Layout
	pgBin    string
	version  pgctl.Version
	account  account
	root     string // below it lies everything
	settings []string
	sshd     []string
	key      string // the private key that opens every node
	program  []byte // warmrun, as it was built
	segments int    // their size in megabytes
	stream   bool
	network  *network
}

// Node is one machine of the cluster. Paths are those that the node sees.
type Node struct {
	Name, Role string
	Address    string
	Port       int // of the server; it listens on the socket in SocketDir only
	Dir        string
	PGData     string
	Home       string
	SocketDir  string
	Log        string // the server's log

	c       *Cluster
	outside string // Dir, as the test sees it
	place   *place // nil: the test's own
	sshd    *sshdtest.Server
}

// New builds a cluster and starts the primary on db1. It fails the test when
// that cannot be done.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	watchOver(t)
	c := &Cluster{t: t, layout: o.Layout, settings: o.Settings, sshd: o.SSHD, segments: o.SegmentSize, stream: o.Streaming}
	c.account = testAccount(t)
	c.pgBin, c.version = findServer(t, o.PGBin)
	c.root = c.makeRoot()
	c.program = Program(t, o.Tags)
	c.key = filepath.Join(c.root, "ssh", "client_key")
	c.mkdir(filepath.Dir(c.key))
	sshdtest.WriteKey(t, c.key, "")
	c.own(c.key)
	c.own(c.key + ".pub")
	names := []string{"db1", "db2", "dr"}
	if o.Pair {
		names = names[:2]
	}
	if o.Machines {
		c.network = newNetwork(t, names)
	}
	for i, name := range names {
		c.addNode(name, i)
	}
	if err := reapServers(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end() })
	for _, n := range c.Nodes() {
		n.startSSH(0)
	}
	c.configure()
	c.startPrimary()
	return c
}

// Nodes lists the nodes: db1, db2, and dr where there is one.
func (c *Cluster) Nodes() []*Node {
	var nodes []*Node
	for _, n := range []*Node{c.DB1, c.DB2, c.DR} {
		if n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

func (c *Cluster) addNode(name string, i int) {
	n := &Node{Name: name, Role: "pair", Address: fmt.Sprintf("127.0.72.%d", 11+i), c: c}
	if name == "dr" {
		n.Role = "dr"
	}
	if c.network != nil {
		n.Address = c.network.address(name)
	}
	n.outside = filepath.Join(c.root, name)
	n.Dir, n.Port = n.outside, 54411+i
	home := "warmrun"
	if c.layout == TwoWarm {
		n.Dir, n.Port, home = filepath.Join(c.root, "site"), 5432, "2warm"
	}
	n.PGData, n.Home = filepath.Join(n.Dir, "data"), filepath.Join(n.Dir, home)
	n.SocketDir, n.Log = filepath.Join(n.Dir, "run"), filepath.Join(n.Dir, "log", "postgresql.log")
	c.mkdir(n.outside)
	for _, dir := range []string{n.SocketDir, filepath.Dir(n.Log), filepath.Join(n.Home, "local"), filepath.Join(n.Dir, ".ssh")} {
		c.mkdir(n.Path(dir))
	}
	n.makePlace()
	switch name {
	case "db1":
		c.DB1 = n
	case "db2":
		c.DB2 = n
	default:
		c.DR = n
	}
}

func (n *Node) makePlace() {
	n.c.t.Helper()
	var net *os.File
	if n.c.network != nil {
		net = n.c.network.nodes[n.Name]
	}
	switch {
	case n.c.layout == TwoWarm:
		// sshd looks for keys in the home that the user database names.
		n.place = newPlace(n.c.t, n.Name, net, n.outside, n.Dir, n.c.account.home)
	case net != nil:
		n.place = newPlace(n.c.t, n.Name, net, n.outside)
	}
}

// Path is where the test finds what the node sees at inside.
func (n *Node) Path(inside string) string {
	if root := n.place.rootOf(inside); root != "" {
		return root + inside
	}
	if rest, ok := strings.CutPrefix(inside, n.Dir); ok {
		return n.outside + rest
	}
	return inside
}

// Binary is the program on this node, as the node sees it.
func (n *Node) Binary() string { return filepath.Join(n.Home, "bin", "warmrun") }

// Archive is the node's archive directory, as the node sees it.
func (n *Node) Archive() string {
	if n.c.layout == TwoWarm {
		return filepath.Join(n.PGData, "archive")
	}
	return filepath.Join(n.Home, "archive")
}

// AuthorizedKeys is where the node's sshd looks for keys, as the node sees it.
func (n *Node) AuthorizedKeys() string {
	return filepath.Join(n.c.root, "ssh", n.Name, "authorized_keys")
}

// SSHLog is what the node's sshd has said so far.
func (n *Node) SSHLog() string { return n.sshd.Log() }

// Write makes a file of the nodes' user, by the path that the node sees, with
// mode 0600 and directories of mode 0700.
func (n *Node) Write(inside, content string) {
	n.c.t.Helper()
	n.c.write(n.Path(inside), content)
}

// Mkdir makes a directory of the nodes' user, by the path that the node sees.
func (n *Node) Mkdir(inside string) {
	n.c.t.Helper()
	n.c.mkdir(n.Path(inside))
}

// SSH is how the node's sshd is reached with the key that opens every node.
func (n *Node) SSH() sitecluster.Node {
	return sitecluster.Node{Name: sitecluster.NodeName(n.Name), Host: n.Address, SSH: n.sshd.SSH()}
}

func (n *Node) startSSH(port int) {
	n.c.t.Helper()
	dir := filepath.Join(n.c.root, "ssh", n.Name)
	if port == 0 {
		n.c.mkdir(dir)
	}
	n.place.do(n.c.t, func() {
		n.sshd = sshdtest.Start(n.c.t, sshdtest.Config{
			Addr: n.Address, Port: port, User: n.c.account.name, Dir: dir, ClientKey: n.c.key,
			Env: []string{"HOME=" + n.Dir}, ExtraConfig: strings.Join(n.c.sshd, "\n"),
		})
	})
}

// makeRoot makes a directory that the nodes' user can reach, with a name short
// enough for sockets below it.
func (c *Cluster) makeRoot() string {
	c.t.Helper()
	root, err := os.MkdirTemp("", "wr")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			c.t.Errorf("remove %s: %v", root, err)
		}
	})
	if err := os.Chmod(root, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if c.layout == TwoWarm {
		c.mkdirAt(filepath.Join(root, "site"))
	}
	return root
}

func (c *Cluster) mkdirAt(dir string) {
	c.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
}

// mkdir makes a directory that belongs to the nodes' user.
func (c *Cluster) mkdir(dir string) {
	c.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	for ; dir != c.root; dir = filepath.Dir(dir) {
		c.own(dir)
	}
}

// write makes a file of the nodes' user.
func (c *Cluster) write(path, content string) {
	c.t.Helper()
	c.mkdir(filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.own(path)
}

func (c *Cluster) own(path string) {
	c.t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Lchown(path, int(c.account.uid), int(c.account.gid)); err != nil {
		c.t.Fatal(err)
	}
}

// end stops what runs on the nodes. When the test has failed it shows what the
// servers said first.
func (c *Cluster) end() {
	// The test's own context has ended by now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), time.Minute)
	defer cancel()
	for _, n := range c.Nodes() {
		if err := n.cut(ctx); err != nil {
			c.t.Errorf("%s: %v", n.Name, err)
		}
		if c.t.Failed() && n.Exists(n.Log) {
			c.t.Logf("the server on %s said last:\n%s", n.Name, n.LogTail(25))
		}
	}
}

// LogTail is the end of the server's log.
func (n *Node) LogTail(lines int) string {
	data, err := os.ReadFile(n.Path(n.Log))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
