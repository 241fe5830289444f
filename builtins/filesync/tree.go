package filesync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// tree is an opened root.
type tree struct {
	root *os.Root
	path string
	id   identity
	lock *os.File // nil where no lock was asked for or the file system has none
}

// treeOptions say how a root is opened.
type treeOptions struct {
	create  bool
	follow  bool   // the root may be a symbolic link
	exclude bool   // keep other copies out
	share   bool   // belong to a copy that keeps others out
	copy    uint64 // which copy that is
}

// openTree opens a root. Below it nothing follows a symbolic link out; the way
// to it is the caller's choice, except that its last element may be a link
// only where the options allow it.
func openTree(ctx context.Context, path string, o treeOptions) (*tree, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not an absolute path", path)
	}
	path = filepath.Clean(path)
	if err := checkRoot(path, o); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, path: path}
	info, err := root.Stat(".")
	if err == nil {
		t.id = identityOf(info)
		if o.exclude || o.share {
			err = t.takeLock(ctx, o)
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return t, nil
}

func checkRoot(path string, o treeOptions) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.create:
		// A new root is private until the source's own mode is set at the end.
		return atomicfile.MkdirAll(path, 0o700)
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0 && !o.follow:
		return hint.Wrap(fmt.Errorf("%s is a symbolic link", path), "name the directory it leads to, or allow following it")
	case info.Mode()&fs.ModeSymlink == 0 && !info.IsDir():
		return fmt.Errorf("%s is not a directory", path)
	}
	return nil
}

// How long a copy waits for the lock of another, and how often it tries. The
// other may have lost its connection and not noticed yet (see silence), or be
// flushing what it had received.
const (
	lockPatience = silence + 30*time.Second
	lockInterval = 5 * time.Millisecond
)

// takeLock keeps a second copy out of the same tree. The lock is the kernel's
// and ends with the process, however it ends. All streams of a copy share it,
// and the first of them gets it only when nobody has it: one that was cut may
// have streams that still write.
func (t *tree) takeLock(ctx context.Context, o treeOptions) error {
	dir, err := t.root.Open(".")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	ticker := time.NewTicker(lockInterval)
	defer ticker.Stop()
	for {
		switch err := lockDir(dir, o); {
		case err == nil:
			t.lock = dir
			return nil
		case errors.Is(err, errCopyEnded):
			return errors.Join(fmt.Errorf("%s: %w", t.path, err), dir.Close())
		case !errors.Is(err, unix.EWOULDBLOCK):
			return dir.Close() // a file system without locks, such as some NFS mounts
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: %w", t.path, ErrLocked), dir.Close())
		}
	}
}

// lockDir tries to lock a directory.
func lockDir(dir *os.File, o treeOptions) error {
	fd := int(dir.Fd())
	if o.exclude {
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return err
		}
		// Another copy may come in between here, and then it is this one that
		// is refused (flock(2)).
	}
	if err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); err != nil || o.copy == 0 {
		return err
	}
	return lockCopy(dir, o)
}

// errCopyEnded refuses a stream of a copy that is no more.
var errCopyEnded = errors.New("the copy that this stream belongs to has ended")

// lockCopy has the first stream of a copy show which one it is, by a lock on the
// byte of the directory that has the copy's number, and the others look for it:
// a stream that comes late, after its copy was cut, must not share the lock of
// the next one. Locks of bytes and of the whole do not see each other, and those
// of a file descriptor end with it (fcntl(2)).
func lockCopy(dir *os.File, o treeOptions) error {
	at := unix.Flock_t{Type: unix.F_RDLCK, Start: int64(o.copy >> 1), Len: 1}
	if o.exclude {
		return unix.FcntlFlock(dir.Fd(), unix.F_OFD_SETLK, &at)
	}
	at.Type = unix.F_WRLCK // which a reader's lock would hold up
	if err := unix.FcntlFlock(dir.Fd(), unix.F_OFD_GETLK, &at); err != nil {
		return err
	}
	if at.Type == unix.F_UNLCK {
		return errCopyEnded
	}
	return nil
}

// close gives the root and its lock back.
func (t *tree) close() error {
	err := t.root.Close()
	if t.lock != nil {
		err = errors.Join(err, t.lock.Close())
	}
	return err
}

func identityOf(info fs.FileInfo) identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{Device: uint64(st.Dev), Inode: st.Ino}
}

// openRegular opens a file for reading, and nothing else: a link, pipe or
// device that took the file's place since it was listed, or a file that took
// its directory's, is as good as gone (fs.ErrNotExist).
func openRegular(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, info, err := openExisting(root, name, os.O_RDONLY)
	if errors.Is(err, unix.ENOTDIR) {
		return nil, nil, fmt.Errorf("%s is gone with its directory: %w", name, fs.ErrNotExist)
	}
	return f, info, err
}

func openExisting(root *os.Root, name string, flag int) (*os.File, fs.FileInfo, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file any more: %w", name, fs.ErrNotExist)
	}
	// O_NONBLOCK: a pipe put there this instant must not hold us up.
	f, err := root.OpenFile(name, flag|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = fmt.Errorf("%s was replaced while it was opened: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// machineID is the same for all processes of one running machine, containers
// on it included. It is empty where the kernel does not say.
func machineID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
