package basebackup

import (
	"context"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// complete writes the files that make the copy one that can be started, and
// the manifest. The label comes before pg_control: without the one and with the
// other a server would start and be corrupt.
func (c *copier) complete(ctx context.Context, s stopped, control []byte) error {
	remote, err := filesync.OpenRemote(ctx, c.Dial, c.TargetPGData, filesync.RemoteOptions{FollowRoot: true})
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }() // what it answered stands
	if err := c.checkMine(ctx, remote); err != nil {
		return err
	}
	perm, err := c.filePerm()
	if err != nil {
		return err
	}
	write := func(name string, content []byte) error {
		return remote.WriteFile(ctx, name, content, perm)
	}
	if s.spcmap != "" {
		moved, err := c.moveMap(s.spcmap)
		if err != nil {
			return err
		}
		if err := write(mapFile, []byte(moved)); err != nil {
			return err
		}
		c.inspection.add(mapFile, []byte(moved))
	}
	if err := write(labelFile, []byte(s.label)); err != nil {
		return err
	}
	c.inspection.add(labelFile, []byte(s.label))
	c.inspection.add(controlFile, control)
	if err := c.sendManifest(ctx); err != nil {
		return err
	}
	if err := c.unmark(ctx, remote); err != nil {
		return err
	}
	if err := write(controlFile, control); err != nil {
		return err
	}
	if err := remote.Remove(ctx, markerFile); err != nil {
		return err
	}
	return remote.Sync(ctx)
}

// unmark makes the target forget which copy could be gone on with. It does so
// before a server can be started there, which would write into the same files.
func (c *copier) unmark(ctx context.Context, remote *filesync.Remote) error {
	if err := remote.Unmark(ctx); err != nil {
		return err
	}
	for _, t := range c.tablespaces {
		space, err := filesync.OpenRemote(ctx, c.Dial, t.Target, filesync.RemoteOptions{FollowRoot: true})
		if err != nil {
			return err
		}
		err = space.Unmark(ctx)
		if err == nil {
			err = space.Sync(ctx)
		}
		_ = space.Close() // what it answered stands
		if err != nil {
			return err
		}
	}
	return nil
}
