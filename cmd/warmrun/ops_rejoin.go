package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// A node that was a primary, or went its own way, becomes a standby again.

type returnsOptions struct {
	Primary standby.Lineage `json:"primary"`
}

type keepWALOptions struct {
	Timeline walcore.Timeline `json:"timeline"`
	Fork     walcore.LSN      `json:"fork"`
	End      walcore.LSN      `json:"end_lsn"`
}

// keptWAL is WAL that only this node had, and where it is now.
type keptWAL struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
}

func rejoinOperations() []operation {
	return []operation{
		onNode("standby", "lineage", engine.Read, "the history that the running primary writes",
			func(ctx context.Context, s *session, _ none) (standby.Lineage, error) { return s.self().Lineage(ctx) }),
		onNode("standby", "returns", engine.Read, "what it takes to make the node follow a primary: nothing, a start, pg_rewind or a copy",
			func(ctx context.Context, s *session, o returnsOptions) (standby.Return, error) {
				return s.self().Returns(ctx, o.Primary)
			}),
		here("cluster", "superseding", engine.Read, "the primary whose history has left the node's behind", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (superseding, error) {
				return findSuperseding(ctx, s, cluster.NodeName(node))
			}
		}),
		onNode("standby", "keep_wal", engine.Change, "copy WAL that only this node has to local/kept, with its marks", keepWAL),
		onNode("standby", "clear_wal", engine.Change, "take segments that the primary's history has nothing of out of the stopped node's pg_wal; those with WAL are copied to local/kept first",
			func(_ context.Context, s *session, o returnsOptions) (keptWAL, error) {
				kept := keptWAL{Path: s.site.Local("kept", cmp.Or(s.run, "wal"))}
				var err error
				kept.Files, err = s.self().ClearWAL(o.Primary, kept.Path)
				return kept, err
			}),
		onNode("standby", "rewind", engine.Change, "pg_rewind the stopped server to a primary, with its own configuration and archive left as they are", rewind),
	}
}

// superseding is a primary and what it writes.
type superseding struct {
	Node    cluster.NodeName `json:"node"`
	Lineage standby.Lineage  `json:"lineage"`
}

// findSuperseding finds the primary that a node is to follow: the one other node
// that runs and accepts writes, and where the node itself does, too, whose history
// has left the node's timeline.
func findSuperseding(ctx context.Context, s *session, node cluster.NodeName) (superseding, error) {
	var found superseding
	others := make([]cluster.Node, 0, len(s.site.Nodes))
	for _, n := range s.site.Nodes {
		if n.Name != node {
			others = append(others, n)
		}
	}
	for i, look := range askAll(others, func(n cluster.Node) (standby.State, error) { return stateOf(ctx, s, n.Name) }) {
		name := others[i].Name
		switch {
		case look.err != nil:
			say(ctx, s, "%s cannot be asked whether it is the primary (%s)", name, oneLine(look.err))
		case look.value.Role != standby.RolePrimary:
		case found.Node != "":
			return found, hint.Wrap(fmt.Errorf("both %s and %s accept writes", found.Node, name), "decide which one is right and stop the other: warmrun status shows their timelines")
		default:
			found.Node = name
		}
	}
	if found.Node == "" {
		return found, hint.Wrap(fmt.Errorf("no other node that answers is a primary which %s could follow", node), "look at: warmrun status; to have %s as the primary: warmrun failover there, or warmrun startPrimary where it was one and was flushed", node)
	}
	var err error
	found.Lineage, err = callOn(ctx, s, found.Node, "standby.lineage", none{},
		func(ctx context.Context, s *session, _ none) (standby.Lineage, error) { return s.self().Lineage(ctx) })
	if err != nil {
		return found, fmt.Errorf("ask %s for its history: %w", found.Node, err)
	}
	return found, notNewer(ctx, s, node, found)
}

// notNewer refuses where the node accepts writes and is not the one that was left
// behind.
func notNewer(ctx context.Context, s *session, node cluster.NodeName, found superseding) error {
	state, err := stateOf(ctx, s, node)
	if err != nil || state.Role != standby.RolePrimary {
		return err
	}
	own, err := callOn(ctx, s, node, "standby.opened", none{},
		func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Opened(ctx) })
	if err != nil {
		return err
	}
	if _, left := found.Lineage.History.Fork(own.Timeline); left {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s accepts writes on timeline %d, and nothing in the history of %s (timeline %d) says that it was left behind", node, own.Timeline, found.Node, found.Lineage.Timeline),
		"decide which of the two is the primary; the other is to be stopped first: pg_ctl stop -m fast there, then warmrun rejoin")
}

func keepWAL(_ context.Context, s *session, o keepWALOptions) (keptWAL, error) {
	kept := keptWAL{Path: s.site.Local("kept", cmp.Or(s.run, "wal"))}
	var err error
	kept.Files, err = s.self().KeepWAL(o.Timeline, o.Fork, o.End, kept.Path)
	return kept, err
}

// rewind sees to what pg_rewind would destroy: an archive in the data directory is
// renamed aside, on the same file system, and the signal file is away only while
// pg_rewind may have to bring the server to a clean stop, which cannot be in
// standby mode.
func rewind(ctx context.Context, s *session, o primaryOption) (report none, err error) {
	if err := s.self().Server.Rewindable(false); err != nil {
		return none{}, err
	}
	if err := checkpointOn(ctx, s, o.Primary); err != nil {
		return none{}, err
	}
	from, hangUp, err := s.nearSocket(ctx, o.Primary)
	if err != nil {
		return none{}, err
	}
	defer func() { err = errors.Join(err, hangUp()) }()
	if err := setArchiveAside(s.site.Self); err != nil {
		return none{}, err
	}
	if err := s.self().Unfence(); err != nil {
		return none{}, err
	}
	said, err := s.server().Rewind(ctx, from, func(ctx context.Context, name walcore.SegmentName) error {
		return fetchForRewind(ctx, s, o.Primary, name)
	})
	// Whatever came of it: it must not start as a primary, and its archive is its own.
	if err := errors.Join(err, s.self().Fence(context.WithoutCancel(ctx)), putArchiveBack(s.site.Self)); err != nil {
		return none{}, err
	}
	if said != "" {
		say(ctx, s, "%s", said)
	}
	return none{}, nil
}

// fetchForRewind puts a segment back into pg_wal that the server has removed: from
// this node's archive, or from that of the primary, to which it was shipped.
func fetchForRewind(ctx context.Context, s *session, primary cluster.NodeName, name walcore.SegmentName) error {
	own, err := s.archiveNow()
	if err != nil {
		return err
	}
	there, err := own.Has(walcore.FileName(name))
	if err == nil && !there {
		err = fetchFile(ctx, s, own, primary, walcore.FileName(name))
	}
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	in, err := own.Open(walcore.FileName(name))
	if err != nil {
		return err
	}
	defer in.Close()
	return atomicfile.Write(filepath.Join(walcore.WALDir(s.site.Self.PGData), string(name)), atomicfile.Options{Perm: 0o600}, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// archiveNow is this node's archive, also while it is set aside.
func (s *session) archiveNow() (*walcore.Archive, error) {
	path := asideOf(s.site.Self)
	if path == "" {
		return s.ownArchive()
	}
	archive, err := walcore.OpenArchive(path)
	if err != nil {
		return nil, err
	}
	return archive.Storing(s.site.Archiving.Compress), nil
}

// fetchFile gets one file from the archive on another node into the one here.
func fetchFile(ctx context.Context, s *session, own *walcore.Archive, from cluster.NodeName, name walcore.FileName) error {
	client, err := s.shipTo(ctx, from)
	if err != nil {
		return err
	}
	return errors.Join(client.Fetch(ctx, own, name), client.Close())
}

// checkpointOn has the source's control file tell its new timeline, from which
// pg_rewind reads it through 15.
func checkpointOn(ctx context.Context, s *session, primary cluster.NodeName) error {
	conn, err := s.sql(ctx, primary)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return errors.Join(err, conn.Close(ctx))
}

// asideOf is where an archive in the data directory goes; "" where it is elsewhere.
func asideOf(n cluster.Node) string {
	if !within(n.PGData, n.Archive) {
		return ""
	}
	return n.PGData + ".archive-aside"
}

func setArchiveAside(n cluster.Node) error {
	aside := asideOf(n)
	if aside == "" {
		return nil
	}
	if _, err := os.Stat(aside); err == nil {
		return nil // an earlier try was cut off
	}
	err := atomicfile.Rename(n.Archive, aside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// putArchiveBack removes what pg_rewind has made of the source's archive first.
func putArchiveBack(n cluster.Node) error {
	aside := asideOf(n)
	if aside == "" {
		return nil
	}
	if _, err := os.Stat(aside); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(os.RemoveAll(n.Archive), atomicfile.Rename(aside, n.Archive))
}

// nearSocket is a unix socket on this node behind which the server of another
// listens, through ssh, for programs that know nothing of ssh.
func (s *session) nearSocket(ctx context.Context, name cluster.NodeName) (pgctl.RewindSource, func() error, error) {
	status, err := pgctlStatus(ctx, s, name)
	if err != nil {
		return pgctl.RewindSource{}, nil, err
	}
	node, err := s.site.Node(name)
	if err != nil {
		return pgctl.RewindSource{}, nil, err
	}
	client, err := s.client(ctx, name)
	if err != nil {
		return pgctl.RewindSource{}, nil, err
	}
	dir, err := os.MkdirTemp("", "wr") // mode 0700, and short, as sockets' names must be
	if err != nil {
		return pgctl.RewindSource{}, nil, err
	}
	socket := fmt.Sprintf(".s.PGSQL.%d", status.Port)
	listener, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		return pgctl.RewindSource{}, nil, errors.Join(err, os.RemoveAll(dir))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		forward(ctx, listener, client, filepath.Join(status.SocketDir, socket))
	}()
	from := pgctl.RewindSource{SocketDir: dir, Port: status.Port, User: cmp.Or(node.User, client.User()), Database: cmp.Or(node.Database, "postgres")}
	return from, func() error {
		err := listener.Close()
		<-done
		return errors.Join(err, os.RemoveAll(dir))
	}, nil
}

// forward serves connections until the listener is closed, and waits for them.
func forward(ctx context.Context, listener net.Listener, client *remote.Client, path string) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		group.Go(func() {
			defer conn.Close()
			far, err := client.DialUnix(ctx, path)
			if err != nil {
				return // the program sees its connection end
			}
			defer far.Close()
			group.Go(func() {
				_, _ = io.Copy(far, conn) // the end of either is the end of both
				_ = far.Close()
			})
			_, _ = io.Copy(conn, far)
		})
	}
}
