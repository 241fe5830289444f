// Package lab makes a throw-away cluster of three nodes on this machine: real
// PostgreSQL servers, each with a data directory and a warmrun home of its own,
// and an ssh server each on a loopback address of its own.
//
// Terms:
//
//   - node: db1 and db2 are the pair, dr is the disaster recovery node. db1
//     begins as a running primary; the other two begin empty, with nothing but
//     their ssh server and their saved postgresql.conf, as fresh machines do.
//   - lab process: the process that holds the ssh servers. `lab up` leaves one
//     in the background; `lab demo` is its own.
//
// Everything lies below one directory and goes with it. The lab runs as an
// ordinary user, because PostgreSQL refuses to run as root; see Demote.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/warmrun/warmrun/builtins/lab/orphans"
	"github.com/warmrun/warmrun/builtins/lab/sshserver"
	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Options say where a lab is made and of what. The zero value is a lab in
// DefaultDir with the newest PostgreSQL installed.
type Options struct {
	// Dir is made by Up and removed by Close.
	Dir string
	// Binary is the program that the nodes run; empty means this one.
	Binary string
	// PGBin is the directory with pg_ctl and postgres; empty means to look
	// where distributions put it and take the newest version.
	PGBin string
	// Out takes one line for each thing that is being done; nil is allowed.
	Out io.Writer
}

// Node is one node of a lab. Paths are absolute.
type Node struct {
	Name    string `json:"name"`
	Role    string `json:"role"` // pair or dr
	Address string `json:"address"`
	SSHPort int    `json:"ssh_port"`
	// Port is the server's. It listens on the unix socket in SocketDir only.
	Port      int    `json:"port"`
	SocketDir string `json:"socket_dir"`
	// Dir is the node's whole world: data directory, home, sockets, logs.
	Dir    string `json:"dir"`
	PGData string `json:"pgdata"`
	Home   string `json:"home"`
	Log    string `json:"log"` // the server's log
}

// Binary is the program on this node; it is there from the start on db1, and
// after distrib on the others.
func (n Node) Binary() string { return filepath.Join(n.Home, "bin", "warmrun") }

// Lab is a cluster whose ssh servers this process holds.
type Lab struct {
	Dir     string
	Nodes   []Node
	PGBin   string
	Version pgctl.Version
	User    string

	out     io.Writer
	servers map[string]*sshserver.Server
	// stopReaping ends the reaping of servers that died.
	stopReaping func()
}

// Up makes the lab: the directories, the keys, the ssh servers and the running
// primary on db1. It refuses to run as root and to use a directory that exists.
// Where it fails, it leaves nothing behind. The ssh servers end with ctx.
func Up(ctx context.Context, o Options) (*Lab, error) {
	l, err := plan(o)
	if err != nil {
		return nil, err
	}
	if err := makeDir(l.Dir); err != nil {
		return nil, err
	}
	if err := l.build(ctx, o); err != nil {
		return nil, errors.Join(err, l.Close(ctx))
	}
	return l, nil
}

// plan finds out all that can be known before anything is made.
func plan(o Options) (*Lab, error) {
	account, err := ordinaryUser()
	if err != nil {
		return nil, err
	}
	dir := o.Dir
	if dir == "" {
		dir = DefaultDir()
	}
	if dir, err = checkDir(dir); err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, User: account, out: o.Out, servers: map[string]*sshserver.Server{}}
	if l.out == nil {
		l.out = io.Discard
	}
	if l.PGBin, l.Version, err = findServer(o.PGBin); err != nil {
		return nil, err
	}
	for i, name := range []string{"db1", "db2", "dr"} {
		role := "pair"
		if name == "dr" {
			role = "dr"
		}
		own := filepath.Join(dir, name)
		l.Nodes = append(l.Nodes, Node{
			Name: name, Role: role, Port: firstPort + i, Dir: own,
			PGData: filepath.Join(own, "data"), Home: filepath.Join(own, "warmrun"),
			SocketDir: filepath.Join(own, "run"), Log: filepath.Join(own, "log", "postgresql.log"),
		})
	}
	return l, nil
}

// firstPort is db1's; each node has a number of its own, so that a server that
// was given another node's configuration would be found out.
const firstPort = 54311

func (l *Lab) build(ctx context.Context, o Options) error {
	var err error
	if l.stopReaping, err = orphans.Adopt(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if err := l.writeState(stateStarting); err != nil {
		return err
	}
	l.say("PostgreSQL %s from %s, three nodes below %s", l.Version, l.PGBin, l.Dir)
	for _, n := range l.Nodes {
		for _, dir := range []string{n.SocketDir, filepath.Dir(n.Log), filepath.Join(n.Home, "local")} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
	}
	if err := l.startSSH(ctx); err != nil {
		return err
	}
	if err := l.writeConfiguration(); err != nil {
		return err
	}
	if err := l.installBinary(ctx, o.Binary); err != nil {
		return err
	}
	if err := l.startPrimary(ctx); err != nil {
		return err
	}
	return l.writeState(stateReady)
}

// startSSH makes the keys and starts a server on every node's address.
func (l *Lab) startSSH(ctx context.Context) error {
	listeners, err := listen(ctx, len(l.Nodes))
	if err != nil {
		return err
	}
	client, private, err := sshserver.NewKey("warmrun lab")
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	var known []knownHost
	for i := range l.Nodes {
		n := &l.Nodes[i]
		addr, ok := listeners[i].Addr().(*net.TCPAddr)
		if !ok {
			return errors.Join(fmt.Errorf("listening on %s, not on TCP", listeners[i].Addr()), closeAll(listeners[i:]))
		}
		n.Address, n.SSHPort = addr.IP.String(), addr.Port
		host, _, err := sshserver.NewKey(n.Name)
		if err != nil {
			return errors.Join(err, closeAll(listeners[i:]))
		}
		known = append(known, knownHost{node: *n, key: host.PublicKey()})
		l.servers[n.Name] = sshserver.Start(ctx, listeners[i], sshserver.Config{
			HostKey: host, User: l.User, ClientKey: client.PublicKey(), Env: l.env(*n), Dir: n.Dir,
		})
	}
	return l.writeKeys(private, client.PublicKey(), known)
}

// startPrimary makes db1's database and starts its server.
func (l *Lab) startPrimary(ctx context.Context) error {
	n := l.Nodes[0]
	args := []string{"-D", n.PGData, "-E", "UTF8", "--locale=C", "--auth-local=peer", "--auth-host=reject", "--data-checksums"}
	if l.Version >= 11 {
		// Small segments: what is written reaches the others soon, and three
		// archives do not fill the disk.
		args = append(args, "--wal-segsize=1")
	}
	l.say("%s: initdb", n.Name)
	if err := l.program(ctx, n, "initdb", args...); err != nil {
		return err
	}
	if err := installConfiguration(n); err != nil {
		return err
	}
	return l.StartServer(ctx, n)
}

// StartServer starts a node's server and waits until it is ready.
func (l *Lab) StartServer(ctx context.Context, n Node) error {
	l.say("%s: starting the server", n.Name)
	startup := filepath.Join(n.Dir, "log", "startup.log")
	err := l.program(ctx, n, "pg_ctl", "-D", n.PGData, "-l", startup, "-w", "-t", "60", "start")
	if err != nil {
		// The logs go with the lab: what they say is wanted now.
		return fmt.Errorf("%w\n%s\n%s", err, indent(tail(startup)), indent(tail(n.Log)))
	}
	return nil
}

// program runs one of PostgreSQL's programs as the node would.
func (l *Lab) program(ctx context.Context, n Node, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(l.PGBin, name), args...)
	cmd.Dir, cmd.Env = n.Dir, l.env(n)
	// A server that was started keeps the pipe; it is not waited for.
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %s: %w\n%s", n.Name, name, err, indent(string(out)))
	}
	return nil
}

// Node finds a node by its name.
func (l *Lab) Node(name string) (Node, error) {
	for _, n := range l.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return Node{}, hint.Wrap(fmt.Errorf("the lab has no node %q", name), "its nodes are db1, db2 and dr")
}

// Target is how the lab itself reaches a node's server: by its socket.
func (l *Lab) Target(n Node) psql.Target {
	return psql.Target{SocketDir: n.SocketDir, Port: n.Port, User: l.User, Database: "postgres", ApplicationName: "warmrun lab"}
}

// Command prepares `warmrun ARGS` on a node, as somebody types it who is
// logged in there: the node's own binary, home and environment. When ctx ends
// the command is asked to go, and killed if it does not.
func (l *Lab) Command(ctx context.Context, n Node, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, n.Binary(), append([]string{"--home", n.Home}, args...)...)
	cmd.Dir, cmd.Env = n.Dir, l.env(n)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience
	return cmd
}

// env is the environment on a node. Nothing of the caller's own PostgreSQL or
// ssh settings comes through, and HOME is the node's: the lab must not depend
// on somebody's ~/.ssh/config, nor touch it.
func (l *Lab) env(n Node) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	return []string{
		"PATH=" + l.PGBin + ":" + path, "HOME=" + n.Dir, "USER=" + l.User, "LOGNAME=" + l.User,
		"SHELL=/bin/sh", "LC_ALL=C", "TMPDIR=" + filepath.Join(n.Dir, "run"),
	}
}

func (l *Lab) say(format string, args ...any) {
	// Progress for people; that it could not be shown is no failure of the lab.
	_, _ = fmt.Fprintf(l.out, format+"\n", args...)
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, listener := range listeners {
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

// knownHost is a node and the key that its ssh server shows.
type knownHost struct {
	node Node
	key  ssh.PublicKey
}
