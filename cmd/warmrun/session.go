package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/ship"
)

// session is what one command works with: the site, the streams, and the
// connections to other nodes, opened when first needed and kept.
type session struct {
	site *cluster.Site
	out  io.Writer
	err  io.Writer
	yes  bool
	run  string // the outermost run this command is part of
	// driver is a random word for the process that drives that run: after a
	// take-over the run has another.
	driver string
	// part: this process runs a part of the run, for a driver elsewhere.
	part bool
	// color lets runs on other nodes write in colour.
	color bool

	// stopUndo, when closed, ends also the undo of runs on other nodes.
	stopUndo <-chan struct{}

	// events tells programs what happens in runs; nil tells none.
	events *runEvents

	// serving is true in `warmrun call`: standard output is the reply.
	serving bool

	// quiet drops what other nodes say beside their answer.
	quiet bool
	// connectTimeout bounds connecting and logging in to a node.
	connectTimeout time.Duration
	// aliveInterval is how long a node may be silent before it is asked for a
	// sign of life; 0 means the usual time.
	aliveInterval time.Duration

	mu       sync.Mutex
	links    map[cluster.NodeName]*link
	shipping map[cluster.NodeName]*link // for WAL, with keys of its own
	copies   map[cluster.NodeName]*copyLinks
	// ready are connections to archives that were opened before they are needed.
	ready map[cluster.NodeName]*ship.Client
	// kept is the session of keptSQL, and dropKept closes it; keeping guards both.
	keeping  sync.Mutex
	kept     *psql.Conn
	dropKept func() error
	// guarded are held open while what this process has begun is to be guarded.
	guarded []*os.File
}

// link is the connection to one node. It has a lock of its own, so that a node
// that does not answer keeps nobody from the others.
type link struct {
	mu     sync.Mutex
	client *remote.Client // nil: not connected
	// calls are processes there that wait for a request; the session's lock
	// guards them.
	calls []*heldCall
	// refused: the node does not let the key in that WAL is shipped with.
	refused bool
}

func newSession(site *cluster.Site, out, errOut io.Writer) *session {
	return &session{site: site, out: out, err: errOut, connectTimeout: 15 * time.Second,
		links: map[cluster.NodeName]*link{}, shipping: map[cluster.NodeName]*link{},
		copies: map[cluster.NodeName]*copyLinks{}, ready: map[cluster.NodeName]*ship.Client{}}
}

// drive makes this process the one that drives a run from now on.
func (s *session) drive(run string) { s.run, s.driver = run, rand.Text() }

// joins makes this process part of a run that another one drives.
func (s *session) joins(run, driver string) { s.run, s.driver, s.part = run, driver, true }

// Close ends every connection.
func (s *session) Close() error {
	ready := s.closeReady()
	s.mu.Lock()
	links := slices.Collect(maps.Values(s.links))
	links = slices.AppendSeq(links, maps.Values(s.shipping))
	s.links, s.shipping = map[cluster.NodeName]*link{}, map[cluster.NodeName]*link{}
	copies := s.copies
	s.copies = map[cluster.NodeName]*copyLinks{}
	guarded := s.guarded
	s.guarded = nil
	s.mu.Unlock()
	errs := []error{ready, s.dropSQL()}
	for _, f := range guarded {
		errs = append(errs, f.Close())
	}
	for _, l := range copies {
		l.close()
	}
	for _, l := range links {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

func (l *link) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		return nil
	}
	err := l.client.Close()
	l.client = nil
	return err
}

func (s *session) link(name cluster.NodeName) *link { return ofNode(&s.mu, &s.links, name) }

// ofNode is what is kept of one node, made when it is first asked for. The lock guards
// the map itself, too.
func ofNode[T any](mu *sync.Mutex, all *map[cluster.NodeName]*T, name cluster.NodeName) *T {
	mu.Lock()
	defer mu.Unlock()
	if (*all)[name] == nil {
		(*all)[name] = new(T)
	}
	return (*all)[name]
}

// client is the held ssh connection to a node, or a new one where that has broken:
// nothing was asked over it yet, so a link that was cut and is back makes no node one
// that cannot be reached.
func (s *session) client(ctx context.Context, name cluster.NodeName) (*remote.Client, error) {
	node, err := s.site.Node(name)
	if err != nil {
		return nil, err
	}
	l := s.link(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil && l.client.Broken() {
		_ = l.client.Close() // which says again that it is broken
		l.client = nil
	}
	if l.client == nil {
		l.client, err = s.dial(ctx, node)
	}
	return l.client, err
}

// forget closes the connection to a node, so that the next use opens a new one.
func (s *session) forget(name cluster.NodeName) {
	s.dropCalls(name)
	_ = s.link(name).close() // it is broken already
}

func (s *session) dial(ctx context.Context, node cluster.Node) (*remote.Client, error) {
	return remote.Dial(ctx, node, s.dialOptions())
}

func (s *session) dialOptions() remote.Options {
	return remote.Options{
		Getenv: os.Getenv, HomeDir: homeDir(), ConnectTimeout: s.connectTimeout, AliveInterval: s.aliveInterval,
		Prompt: passphrasePrompt(),
		Warn:   func(text string) { fmt.Fprintf(s.err, "warmrun: %s\n", text) },
	}
}

// homeDir is where ~/.ssh is: $HOME where it is this user's own, else what the
// system says. A server that was started from root's shell hands root's HOME on
// to its archive_command.
func homeDir() string {
	dir := os.Getenv("HOME")
	if info, err := os.Stat(dir); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == os.Geteuid() {
			return dir
		}
	}
	if account, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		return account.HomeDir
	}
	return dir
}

// command is the command line that runs this program on a node. It names the
// data directory: what the environment of an ssh session there says of PGDATA
// does not count.
func (s *session) command(node cluster.Node, args ...string) string {
	words := []string{node.Binary(), "--home", node.Home}
	if node.PGData != "" {
		words = append(words, "--pgdata", node.PGData)
	}
	return remote.Quote(append(words, args...)...)
}

// archiveCommand is archive_command as it belongs into postgresql.conf here.
func (s *session) archiveCommand() string {
	node := s.site.Self
	words := []string{node.Binary(), "--home", node.Home}
	if s.site.Layout == cluster.Layout2warm && node.PGData != "" {
		words = append(words, "--pgdata", node.PGData)
	}
	return remote.Quote(append(words, "archive")...) + " %p %f"
}

// server is this node's PostgreSQL server.
func (s *session) server() pgctl.Server {
	n := s.site.Self
	return pgctl.Server{PGData: n.PGData, ConfigFile: n.ConfigFile, BinDir: n.BinDir, Port: n.Port}
}

// self is this node as the standby package wants it.
func (s *session) self() standby.Node {
	n := s.site.Self
	self := standby.Node{
		Name: string(n.Name), Server: s.server(), Archive: n.Archive, Trigger: n.Trigger,
		Template:  s.site.Global("recovery.conf"),
		LocalConf: s.site.Local("postgresql.conf"),
		LocalHBA:  s.site.Global("pg_hba.conf"),
		Rewinding: s.site.Local("rewinding"),
		LogFile:   s.site.Local("server.log"), Delay: time.Duration(n.Delay),
		SQL:   func(ctx context.Context) (*psql.Conn, error) { return s.sql(ctx, n.Name) },
		SQLIn: func(ctx context.Context, database string) (*psql.Conn, error) { return s.sqlIn(ctx, n.Name, database) },

		KeptSQL: s.keptSQL,
	}
	self.Upstream, self.Slot = s.site.Upstream, s.site.SlotOf(n.Name)
	self.Vars = map[string]string{
		"home": n.Home, "archive": n.Archive, "trigger": n.Trigger, "pgdata": n.PGData,
		"warmrun": strings.Join([]string{remote.Quote(n.Binary()), "--home", remote.Quote(n.Home)}, " "),
	}
	return self
}

// sql opens a session on a node's server, through its unix socket: peer
// authentication works and nothing has to be opened in pg_hba.conf.
func (s *session) sql(ctx context.Context, name cluster.NodeName) (*psql.Conn, error) {
	return s.sqlIn(ctx, name, "")
}

// sqlIn is sql in another database than the node's own; "" is that one.
func (s *session) sqlIn(ctx context.Context, name cluster.NodeName, database string) (*psql.Conn, error) {
	node, err := s.site.Node(name)
	if err != nil {
		return nil, err
	}
	status, err := pgctlStatus(ctx, s, name)
	if err != nil {
		return nil, err
	}
	if !status.Running {
		return nil, hint.Wrap(fmt.Errorf("no server is running on %s (%s)", name, node.PGData), "warmrun status shows what every node does")
	}
	target := psql.Target{SocketDir: status.SocketDir, Port: status.Port, User: node.User, Database: cmp.Or(database, node.Database), ApplicationName: "warmrun"}
	// Peer authentication takes us for who we are there.
	if !s.site.IsSelf(name) {
		client, err := s.client(ctx, name)
		if err != nil {
			return nil, err
		}
		target.Dial = client.DialUnix
		if target.User == "" {
			target.User = client.User()
		}
	}
	if target.User == "" {
		if target.User, err = ownName(); err != nil {
			return nil, err
		}
	}
	return psql.Connect(ctx, target)
}

// ownName is the name of the user that this process runs as now: os/user keeps
// its first answer, which may have been root's.
func ownName() (string, error) {
	account, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return "", fmt.Errorf("find the name of this user: %w", err)
	}
	return account.Username, nil
}
