package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pgHBA lets in who owns the node, and the test.
const pgHBA = `local all         all peer map=site
local replication all peer map=site
`

// configure leaves every node as its operator would: db1 with the program and
// the site's global files, the others with their saved postgresql.conf only.
func (c *Cluster) configure() {
	c.t.Helper()
	for _, n := range c.Nodes() {
		c.write(n.Path(filepath.Join(n.Home, "local", "postgresql.conf")), c.postgresqlConf(n))
	}
	n := c.DB1
	binary := n.Path(n.Binary())
	c.write(binary, string(c.program))
	if err := os.Chmod(binary, 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.write(n.Path(filepath.Join(n.Home, "global", "pg_hba.conf")), pgHBA)
	if c.layout == TwoWarm {
		c.configure2warm()
		return
	}
	c.write(n.Path(filepath.Join(n.Home, "global", "cluster.toml")), c.clusterTOML())
	c.write(n.Path(filepath.Join(n.Home, "local", "node")), n.Name+"\n")
}

// configure2warm writes what a 2warm site has: one-word files on db1, the
// template of recovery.conf, and trusted ssh between the accounts.
func (c *Cluster) configure2warm() {
	c.t.Helper()
	n := c.DB1
	replication := filepath.Join(n.Home, "local", "replication")
	c.write(n.Path(filepath.Join(replication, "othernode")), "db2\n")
	c.write(n.Path(filepath.Join(replication, "drnode")), "dr\n")
	c.write(n.Path(filepath.Join(n.Home, "global", "recovery.conf")),
		"restore_command = '../2warm/global/replication/restoreWALFile %f %p %r'\n")
	// The script that archive_command names is there from the start in a
	// 2warm tree; here it is already the link that distrib makes.
	c.link(n, filepath.Join(n.Home, "global", "replication", "archiveWALFile"), "../../bin/warmrun")
	key, err := os.ReadFile(c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, n := range c.Nodes() {
		ssh := n.Path(filepath.Join(n.Dir, ".ssh"))
		c.write(filepath.Join(ssh, "id_ed25519"), string(key))
		c.write(filepath.Join(ssh, "known_hosts"), c.knownHosts())
		c.write(filepath.Join(ssh, "config"), c.sshConfig())
	}
}

func (c *Cluster) link(n *Node, inside, target string) {
	c.t.Helper()
	c.mkdir(filepath.Dir(n.Path(inside)))
	if err := os.Symlink(target, n.Path(inside)); err != nil {
		c.t.Fatal(err)
	}
	c.own(n.Path(inside))
}

func (c *Cluster) knownHosts() string {
	var b strings.Builder
	for _, n := range c.Nodes() {
		b.WriteString(n.sshd.HostKeyLine + "\n")
	}
	return b.String()
}

func (c *Cluster) sshConfig() string {
	var b strings.Builder
	for _, n := range c.Nodes() {
		fmt.Fprintf(&b, "Host %s\n  HostName %s\n  Port %d\n\n", n.Name, n.Address, n.sshd.Port)
	}
	return b.String() + "Host *\n  User " + c.account.name + "\n"
}

func (c *Cluster) clusterTOML() string {
	known := filepath.Join(c.root, "ssh", "known_hosts")
	c.write(known, c.knownHosts())
	var b strings.Builder
	b.WriteString("[cluster]\nname = 'test'\n")
	if c.stream {
		fmt.Fprintf(&b, "[streaming]\nenabled = true\nslots = true\nuser = '%s'\n", c.account.name)
	}
	for _, n := range c.Nodes() {
		fmt.Fprintf(&b, "\n[[node]]\nname = '%s'\nrole = '%s'\nhost = '%s'\nport = %d\npgdata = '%s'\nhome = '%s'\nbin_dir = '%s'\n",
			n.Name, n.Role, n.Address, n.Port, n.PGData, n.Home, c.pgBin)
		if c.stream {
			fmt.Fprintf(&b, "stream_host = '%s'\n", n.SocketDir)
		}
		fmt.Fprintf(&b, "[node.ssh]\nuser = '%s'\nport = %d\nidentity_file = '%s'\nknown_hosts = '%s'\n",
			c.account.name, n.sshd.Port, c.key, known)
	}
	return b.String()
}

// Stream has every node's cluster.toml ask for streaming with slots, as Options
// does, where the nodes have run without it. Each streams when it is next
// configured as a standby.
func (c *Cluster) Stream() {
	c.t.Helper()
	c.stream = true
	for _, n := range c.Nodes() {
		c.write(n.Path(filepath.Join(n.Home, "global", "cluster.toml")), c.clusterTOML())
	}
}

func (c *Cluster) postgresqlConf(n *Node) string {
	archive := n.Binary() + " --home " + n.Home + " archive %p %f"
	if c.layout == TwoWarm {
		archive = "../2warm/global/replication/archiveWALFile %p %f"
	}
	lines := append([]string{
		"listen_addresses = ''",
		fmt.Sprintf("port = %d", n.Port),
		"unix_socket_directories = '" + n.SocketDir + "'",
		"max_connections = 50",
		"shared_buffers = 64MB",
		"wal_level = replica",
		"hot_standby = on",
		"archive_mode = on",
		"archive_command = '" + archive + "'",
		"archive_timeout = 5s",
		"max_wal_size = 256MB",
		"logging_collector = on",
		"log_directory = '" + filepath.Dir(n.Log) + "'",
		"log_filename = '" + filepath.Base(n.Log) + "'",
		"log_rotation_age = 0",
		"log_rotation_size = 0",
		"log_line_prefix = '%m [%p] '",
		"log_timezone = 'UTC'",
	}, c.settings...)
	return strings.Join(lines, "\n") + "\n"
}
