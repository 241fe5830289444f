package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/builtins/basebackup"
	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// Clone copies a base copy within this node, into a directory that is there and
// has neither data nor tablespaces in it. Where the file system can, files share
// their blocks until one of them is written to (copy_file_range(2)); nothing
// shares a file. It is durable when it returns, and can be restored from as the
// first one can.
func Clone(ctx context.Context, from Copy, to string) error {
	for _, part := range []string{dataDir, tablespacesDir} {
		err := cloneTree(ctx, filepath.Join(from.Dir, part), filepath.Join(to, part))
		if errors.Is(err, fs.ErrNotExist) && part == tablespacesDir {
			continue
		}
		if err != nil {
			return fmt.Errorf("copy %s to %s: %w", from.Dir, to, err)
		}
	}
	return basebackup.Relocate(filepath.Join(to, dataDir), from.Dir, to)
}

func cloneTree(ctx context.Context, from, to string) error {
	var dirs []string
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, path[len(from):])
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			dirs = append(dirs, target)
			return os.Chmod(target, info.Mode().Perm()) // whatever the umask
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case !info.Mode().IsRegular():
			return nil // a socket or a pipe is no part of a copy
		}
		return cloneFile(path, target, info)
	})
	if err != nil {
		return err
	}
	for _, dir := range append(dirs, filepath.Dir(to)) {
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// cloneFile keeps the time too: a base copy over the clone goes by the content,
// and people by the time.
func cloneFile(from, to string, info fs.FileInfo) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) // the kernel copies, or lets the two share blocks
	if err == nil {
		err = out.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
