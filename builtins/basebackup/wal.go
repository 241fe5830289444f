package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// examineWAL refuses a target whose pg_wal is a link to the source's own, or
// one that leads nowhere.
func (c *copier) examineWAL(ctx context.Context, main *filesync.Remote) error {
	remote, err := c.openWAL(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		there, err := c.hasWAL(ctx, main)
		if there {
			err = c.danglingWAL()
		}
		return err
	}
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }() // it was only looked at
	own := path.Join(c.PGData, c.walDir)
	same, err := remote.Is(own)
	if err != nil || !same {
		return err
	}
	return hint.Wrap(fmt.Errorf("%s on the target leads to the source's own %s", path.Join(c.TargetPGData, c.walDir), own),
		"make it lead to a directory of its own")
}

// clearWAL removes WAL of an older life from the target's pg_wal, where
// recovery would find it and might take it for this copy's. Only names that
// PostgreSQL gives to WAL files are removed. A pg_wal that is a symbolic link
// stays one.
func (c *copier) clearWAL(ctx context.Context) error {
	remote, err := c.openWAL(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }() // what it answered stands
	entries, err := remote.List(ctx)
	if err != nil {
		return err
	}
	var stale []string
	for _, e := range entries {
		if e.Kind == filesync.File && isWAL(e.Path) {
			stale = append(stale, e.Path)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	if err := remote.Remove(ctx, stale...); err != nil {
		return err
	}
	return remote.Sync(ctx)
}

// isWAL reports whether a path in pg_wal is that of a WAL file, of its
// archiving status, or of a summary of WAL (17 on).
func isWAL(name string) bool {
	dir, base := path.Split(name)
	switch dir {
	case "":
		_, err := walcore.ParseFileName(base)
		return err == nil
	case "archive_status/":
		stem, found := strings.CutSuffix(base, ".ready")
		if !found {
			stem, found = strings.CutSuffix(base, ".done")
		}
		_, err := walcore.ParseFileName(stem)
		return found && err == nil
	case "summaries/":
		stem, found := strings.CutSuffix(base, ".summary")
		return found && len(stem) == 40 && strings.Trim(stem, "0123456789ABCDEF") == ""
	}
	return false
}

// makeWAL makes the target's pg_wal where it is missing, and the directories
// in it that a server expects.
func (c *copier) makeWAL(ctx context.Context) error {
	main, err := filesync.OpenRemote(ctx, c.Dial, c.TargetPGData, filesync.RemoteOptions{FollowRoot: true})
	if err != nil {
		return err
	}
	defer func() { _ = main.Close() }() // what it answered stands
	there, err := c.hasWAL(ctx, main)
	if err != nil {
		return err
	}
	perm, err := c.dirPerm()
	if err != nil {
		return err
	}
	if !there {
		if err := main.Mkdir(ctx, c.walDir, perm); err != nil {
			return err
		}
		if err := main.Sync(ctx); err != nil {
			return err
		}
	}
	remote, err := c.openWAL(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return c.danglingWAL()
	}
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }() // what it answered stands
	if err := remote.Mkdir(ctx, "archive_status", perm); err != nil {
		return err
	}
	if c.Conn.Version() >= 170000 {
		if err := remote.Mkdir(ctx, "summaries", perm); err != nil {
			return err
		}
	}
	return remote.Sync(ctx)
}

// hasWAL reports whether the target has anything under the name of pg_wal.
func (c *copier) hasWAL(ctx context.Context, main *filesync.Remote) (bool, error) {
	entries, err := main.List(ctx, "/*/*")
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(entries, func(e filesync.Entry) bool { return e.Path == c.walDir }), nil
}

func (c *copier) danglingWAL() error {
	return hint.Wrap(fmt.Errorf("%s on the target is a link that leads nowhere", path.Join(c.TargetPGData, c.walDir)),
		"make the directory that it leads to, or remove the link")
}

func (c *copier) openWAL(ctx context.Context) (*filesync.Remote, error) {
	return filesync.OpenRemote(ctx, c.Dial, path.Join(c.TargetPGData, c.walDir), filesync.RemoteOptions{FollowRoot: true})
}
