package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// errFlush is in the chain when the kernel could not bring to disk what was
// written.
var errFlush = errors.New("it could not be flushed to disk")

// system is the file system of a root, to be flushed as a whole.
type system struct {
	dir    *os.File // opened before anything is written, so that what fails from then on is reported
	device uint64
}

// openSystem returns nil where a flush of the whole file system cannot be
// trusted: files are then flushed one by one.
func openSystem(root *os.Root) *system {
	if !syncfsReports() {
		return nil
	}
	dir, err := root.Open(".")
	if err != nil {
		return nil
	}
	info, err := dir.Stat()
	if err != nil || !syncfsReaches(dir) {
		_ = dir.Close() // nothing was written through it
		return nil
	}
	return &system{dir: dir, device: identityOf(info).Device}
}

// syncfsReports tells whether syncfs reports data that could not be written,
// as it does from Linux 5.8 on (syncfs(2)).
func syncfsReports() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
}

// syncfsReaches tells whether syncfs reaches the disk: on others than these,
// such as those in user space, it may end at the kernel's own part.
func syncfsReaches(dir *os.File) bool {
	const zfs = 0x2fc12fc1 // not among the kernel's own
	var stat unix.Statfs_t
	if unix.Fstatfs(int(dir.Fd()), &stat) != nil {
		return false
	}
	switch int64(stat.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, zfs:
		return true
	}
	return false
}

// holds reports whether a flush of the file system covers what the information
// is of: there may be others mounted below the root.
func (s *system) holds(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && uint64(st.Dev) == s.device
}

func (s *system) sync() error {
	if err := unix.Syncfs(int(s.dir.Fd())); err != nil {
		return fmt.Errorf("the file system of %s: %w: %w", s.dir.Name(), errFlush, err)
	}
	return nil
}

// forget drops what the kernel still has in memory of a file that could not be
// flushed. It counts that as written (fsync(2)), and the next copy would find
// there what is not on disk.
func (f *finished) forget(root *os.Root) error {
	file := f.file
	if file == nil {
		name := f.path
		if f.temp != "" {
			name = f.temp
		}
		var err error
		if file, _, err = openRegular(root, name); err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // it was only looked at
	}
	return dropCached(file)
}

// dropCached has the kernel read a file from disk from then on.
func dropCached(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
