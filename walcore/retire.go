package walcore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// retiredMark stands between an archive's name and the time it was retired.
const retiredMark = ".retired-"

// Retire moves everything in the archive aside and leaves an empty one in its
// place, durably and in one step: after pg_upgrade or a new initdb the cluster
// has another system identifier. It returns the directory that now holds the
// old content, a sibling on the same file system with now in its name. Where
// there can be none, as for an archive that is a mount point or below a
// directory of root's, it is a dot directory inside the archive, and the stamp
// goes last: a call that was cut short is finished by the next. The fence's
// epoch goes on counting; its cuts, which speak of the old cluster's timelines,
// stay with the old content.
func (a *Archive) Retire(now time.Time) (string, error) {
	if err := a.prepare(); err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(a.dir)
	if err != nil {
		return "", err
	}
	unlock, err := a.lockWithin(stateLockWait)
	if err != nil {
		return "", err
	}
	aside, err := a.swap(dir, now)
	if err != nil && cannotSwap(err) {
		aside, err = a.moveInside(dir, now)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("retire archive %s: %w", dir, err), unlock())
	}
	return aside, unlock()
}

func cannotSwap(err error) bool {
	for _, reason := range []error{unix.EACCES, unix.EPERM, unix.EROFS, unix.EBUSY, unix.EXDEV, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// swap prepares an empty archive beside dir and exchanges the two.
func (a *Archive) swap(dir string, now time.Time) (string, error) {
	aside, err := retiredPath(dir, now)
	if err != nil {
		return "", err
	}
	if err := a.emptyTwin(dir, aside); err != nil {
		return "", errors.Join(err, os.RemoveAll(aside))
	}
	if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, aside, unix.RENAME_EXCHANGE); err != nil {
		return "", errors.Join(err, os.RemoveAll(aside))
	}
	return aside, atomicfile.SyncDir(filepath.Dir(dir))
}

// emptyTwin makes an empty archive with the mode, owner and epoch of dir.
func (a *Archive) emptyTwin(dir, twin string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	fence, err := a.readFence()
	if err != nil {
		return err
	}
	if err := os.Mkdir(twin, info.Mode().Perm()); err != nil {
		return err
	}
	fresh := &Archive{dir: twin}
	if err := fresh.prepare(); err != nil {
		return err
	}
	if err := writeState(fresh.state("fence"), Fence{Epoch: fence.Epoch}); err != nil {
		return err
	}
	return copyOwner(dir, twin)
}

// copyOwner gives everything in twin to the owner of dir, for root acting in
// the name of the server's user.
func copyOwner(dir, twin string) error {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(twin, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(stat.Uid), int(stat.Gid))
	})
}

// moveInside moves the content into a dot directory of the archive itself.
func (a *Archive) moveInside(dir string, now time.Time) (string, error) {
	aside, err := retiredPath(dir+"/", now)
	if err != nil {
		return "", err
	}
	old := &Archive{dir: aside}
	if err := errors.Join(os.Mkdir(aside, 0o700), os.Mkdir(old.state(), 0o700), copyOwner(dir, aside)); err != nil {
		return "", err
	}
	names, err := a.List()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if err := moveStored(dir, aside, name); err != nil {
			return "", err
		}
	}
	fence, err := a.readFence()
	if err != nil {
		return "", err
	}
	if err := writeState(old.state("fence"), fence); err != nil {
		return "", err
	}
	if err := writeState(a.state("fence"), Fence{Epoch: fence.Epoch}); err != nil {
		return "", err
	}
	for _, state := range []string{"provisional", "wanted", "watermark", "stamp"} {
		if err := os.Rename(a.state(state), old.state(state)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, errors.Join(atomicfile.SyncDir(aside), atomicfile.SyncDir(old.state()), atomicfile.SyncDir(a.state()), atomicfile.SyncDir(dir))
}

// moveStored renames a WAL file from one directory to another, in all forms in
// which it is there.
func moveStored(from, to string, name FileName) error {
	for _, file := range storedAs(name) {
		err := os.Rename(filepath.Join(from, file), filepath.Join(to, file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// retiredPath is a name for retired content that is not taken yet.
func retiredPath(dir string, now time.Time) (string, error) {
	base := dir + retiredMark + now.UTC().Format("20060102T150405Z")
	path := base
	for i := 2; ; i++ {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		path = fmt.Sprintf("%s-%d", base, i)
	}
}
