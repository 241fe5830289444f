package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/ship"
)

// archiveCommand is archive_command.
type archiveCommand struct {
	Path string `arg:"" name:"%p" help:"Path of the file, relative to the data directory."`
	Name string `arg:"" name:"%f" help:"Name of the file."`
	To   string `help:"Archive into this local directory instead; no site is needed." placeholder:"DIR"`
}

// Run returns nil only when the file is durable where the policy says. Every
// failure is exit code 1: the server tries again.
func (c *archiveCommand) Run(ctx context.Context, p *process, g *globals) error {
	name, err := walcore.ParseFileName(c.Name)
	if err != nil {
		return usageError{hint.Wrap(err, "archive_command must be 'warmrun archive %%p %%f'")}
	}
	if c.To != "" {
		return ship.ArchiveTo(ctx, c.To, c.Path, name)
	}
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	active, err := s.site.ArchivingActive()
	if err != nil {
		return err
	}
	own, err := walcore.OpenArchive(s.site.Self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		own, err = walcore.CreateArchive(s.site.Self.Archive)
	}
	if err != nil {
		return err
	}
	path := c.Path
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(path) && s.site.Self.PGData != "" {
		// Called by hand from somewhere else than the data directory.
		path = filepath.Join(s.site.Self.PGData, path)
	}
	return ship.Archive(ctx, ship.ArchiveRequest{
		Path: path, Name: name, Active: active, Require: s.site.Archiving.Require,
		Destinations: s.destinations(), Own: own, Out: p.err, Version: version,
	})
}

// destinations are the nodes that this one ships to.
func (s *session) destinations() []ship.Destination {
	var out []ship.Destination
	for _, n := range s.site.Nodes {
		if s.site.IsSelf(n.Name) {
			continue
		}
		out = append(out, ship.Destination{Node: n.Name, Role: n.Role, Where: where(n), Dial: s.agent(n.Name)})
	}
	return out
}

func where(n cluster.Node) string { return n.Host + ":" + n.Archive }
