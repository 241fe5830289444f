package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/warmrun/warmrun/walcore/ship"
)

// archiveCommand is archive_command.
type archiveCommand struct {
	Path     string      `arg:"" name:"%p" help:"Path of the file, relative to the data directory."`
	Name     string      `arg:"" name:"%f" help:"Name of the file."`
	To       string      `help:"Archive into this local directory instead; no site is needed." placeholder:"DIR"`
	Compress packed.Form `help:"With --to: store whole segments as zstd or lz4 frames (default: none)." placeholder:"zstd|lz4"`
}

// Run returns nil only when the file is durable where the policy says. Every
// failure is exit code 1: the server tries again.
func (c *archiveCommand) Run(ctx context.Context, p *process, g *globals) error {
	name, err := walcore.ParseFileName(c.Name)
	if err != nil {
		return usageError{hint.Wrap(err, "archive_command must be 'warmrun archive %%p %%f'")}
	}
	if err := c.Compress.Check(); err != nil {
		return usageError{err}
	}
	if c.To != "" {
		return ship.ArchiveTo(ctx, c.To, c.Path, name, c.Compress)
	}
	if c.Compress != "" {
		return usageError{hint.Wrap(errors.New("--compress goes with --to alone"), "for the archives of this site, set archive.compress in cluster.toml")}
	}
	around := p.surroundings(*g)
	if err := becomeOwner(around); err != nil {
		return err
	}
	err = archiveByShipper(ctx, p, around, c.Path, name)
	if !errors.Is(err, ship.ErrNoShipper) || ctx.Err() != nil {
		return err
	}
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	request, err := s.archiveRequest(c.Path, name, s.agent)
	if err != nil {
		return err
	}
	request.Out = p.err
	return ship.Archive(ctx, request)
}

// archiveByShipper hands the file to this server's shipper. Where archiving is
// not active none is started, and where anything is out of the ordinary the
// call finds out by itself what.
func archiveByShipper(ctx context.Context, p *process, around cluster.Surroundings, path string, name walcore.FileName) error {
	home, err := cluster.Locate(around)
	if err != nil {
		return fmt.Errorf("%w: %w", ship.ErrNoShipper, err)
	}
	if active, err := (&cluster.Site{Home: home}).ArchivingActive(); err != nil || !active {
		return ship.ErrNoShipper
	}
	caller, err := shipperOf(home, serverDir(around))
	if err != nil {
		return fmt.Errorf("%w: %w", ship.ErrNoShipper, err)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(around.WorkDir, path)
	}
	return caller.Archive(ctx, path, name, p.err)
}

// serverDir is the data directory of the server that calls: the one it works in,
// whatever its environment says.
func serverDir(around cluster.Surroundings) string {
	if around.PGData == "" {
		if _, err := os.Stat(filepath.Join(around.WorkDir, "PG_VERSION")); err == nil {
			return around.WorkDir
		}
	}
	return around.DataDir()
}

// walAlive is how soon a node that WAL is shipped to is asked for a sign of
// life. The server's one archiver waits until a dead one has been given up,
// four times as long, and a new connection has been tried: with the usual time
// that was a minute and a half.
const walAlive = 5 * time.Second

// archiveRequest is what the site says is to be done with a file. agent gives
// the way to the other nodes.
func (s *session) archiveRequest(path string, name walcore.FileName, agent func(cluster.NodeName) ship.Dialer) (ship.ArchiveRequest, error) {
	s.aliveInterval = walAlive
	active, err := s.site.ArchivingActive()
	if err != nil {
		return ship.ArchiveRequest{}, err
	}
	own, err := walcore.OpenArchive(s.site.Self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		own, err = walcore.CreateArchive(s.site.Self.Archive)
	}
	if err != nil {
		return ship.ArchiveRequest{}, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(path) && s.site.Self.PGData != "" {
		// Called by hand from somewhere else than the data directory.
		path = filepath.Join(s.site.Self.PGData, path)
	}
	request := ship.ArchiveRequest{
		Path: path, Name: name, Active: active, Require: s.site.Archiving.Require, Own: own, Version: version,
	}
	for _, n := range s.site.Nodes {
		if s.site.IsSelf(n.Name) {
			continue
		}
		request.Destinations = append(request.Destinations, ship.Destination{
			Node: n.Name, Role: n.Role, Where: n.Host + ":" + n.Archive, Dial: agent(n.Name),
			Compress: n.Compress, Store: s.site.Archiving.Compress, Config: fmt.Sprintf("%+v", n),
		})
	}
	return request, nil
}
