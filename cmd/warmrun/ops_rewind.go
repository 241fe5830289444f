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
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/fault"
)

// pg_rewind on this node, from the server of another.

// rewind sees to what pg_rewind would destroy: an archive in the data directory is
// renamed aside, on the same file system, and no server can start there until the
// signal file is back, which pg_rewind removes.
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
	if err := cleanStop(ctx, s); err != nil {
		return none{}, err
	}
	if err := s.self().BeginRewind(); err != nil {
		return none{}, err
	}
	if err := setArchiveAside(s.site.Self); err != nil {
		return none{}, err
	}
	fault.At(fault.Rewind)
	said, err := s.server().Rewind(ctx, from, func(ctx context.Context, name walcore.SegmentName) error {
		return fetchForRewind(ctx, s, o.Primary, name)
	})
	// Whatever came of it: its archive is its own, and it must not start as a primary.
	if err := errors.Join(err, s.self().Fence(context.WithoutCancel(ctx)), putArchiveBack(s.site.Self)); err != nil {
		return none{}, err
	}
	if said != "" {
		say(ctx, s, "%s", said)
	}
	return none{}, s.self().EndRewind()
}

// cleanStop replays what a crash has left. That cannot be in standby mode, so the
// signal file is away meanwhile; the single-user backend holds the data directory.
func cleanStop(ctx context.Context, s *session) error {
	clean, err := s.server().StoppedCleanly()
	if err != nil || clean {
		return err
	}
	if err := s.self().Unfence(); err != nil {
		return err
	}
	return errors.Join(s.server().Recover(ctx), s.self().Fence(context.WithoutCancel(ctx)))
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

// prepare makes the node ready for a base copy. Where a rewind was cut, the archive
// that it had set aside comes back first: the copy leaves it where it is, and a later
// rewind would take the one that is aside for its own.
func prepare(ctx context.Context, s *session, o eraseOption) (standby.Prepared, error) {
	half, err := s.self().HalfRewound()
	if err == nil && half != "" {
		err = putArchiveBack(s.site.Self)
	}
	if err != nil {
		return standby.Prepared{}, err
	}
	return s.self().Prepare(ctx, o.Erase)
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
	switch _, err := os.Stat(aside); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err // nothing is removed for what may not be there
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
