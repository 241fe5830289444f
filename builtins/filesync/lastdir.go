package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lastDir keeps the directory open that was used last, because files mostly
// come directory by directory and the way down to each would be walked again
// for every one. Names in it are opened without following links. It is for one
// goroutine.
type lastDir struct {
	root *os.Root
	name string
	dir  *os.File
}

// at returns the open directory of a path, and the path's last element.
func (l *lastDir) at(name string) (fd int, base string, err error) {
	parent, base := cutPath(name)
	if l.dir == nil || l.name != parent {
		if err := l.close(); err != nil {
			return 0, "", err
		}
		dir, err := l.root.Open(parent)
		if err != nil {
			return 0, "", err
		}
		l.name, l.dir = parent, dir
	}
	return int(l.dir.Fd()), base, nil
}

// open opens a file, and no link, in its directory.
func (l *lastDir) open(name string, flag int, perm uint32) (*os.File, error) {
	fd, base, err := l.at(name)
	if err != nil {
		return nil, err
	}
	for {
		f, err := unix.Openat(fd, base, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(f), name), nil
	}
}

// rename gives a file another name in the same directory.
func (l *lastDir) rename(from, to string) error {
	fd, base, err := l.at(to)
	if err != nil {
		return err
	}
	_, old := cutPath(from)
	if err := unix.Renameat(fd, old, fd, base); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// regular opens a file for reading, and nothing else: a link, pipe or device
// that took the file's place since it was listed, or a file that took its
// directory's, is as good as gone (fs.ErrNotExist).
func (l *lastDir) regular(name string) (*os.File, fs.FileInfo, error) {
	// O_NONBLOCK: a pipe put there this instant must not hold us up.
	f, err := l.open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return nil, nil, fmt.Errorf("%s is no regular file any more: %w", name, fs.ErrNotExist)
	case err != nil:
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file any more: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func (l *lastDir) close() error {
	if l.dir == nil {
		return nil
	}
	err := l.dir.Close()
	l.dir = nil
	return err
}
