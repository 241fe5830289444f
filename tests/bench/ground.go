package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The kernel remembers what was done before a turn, and lets the next one pay for it.
// These two leave the same ground to each.

// discard empties the files of a directory and puts it aside until the bench ends. A
// file that is removed would cost whoever makes the next ones: for five minutes
// ext4 does not give out its inode again, and looks at all such inodes each time. The
// end of the bench removes them all, so the next one begins best five minutes later.
func (b *bench) discard(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			err = os.Truncate(path, 0)
		}
		return err
	})
	if err != nil {
		return err
	}
	aside := b.path("aside")
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	b.discarded++
	return os.Rename(dir, filepath.Join(aside, strconv.Itoa(b.discarded)))
}

// mostWarmed is how much memory warmMemory touches at most.
const mostWarmed = 4 << 30

// warmMemory touches as much free memory as a turn is about to use. In a virtual
// machine the host takes back what has been free for seconds, and the first to use
// it again waits ten times as long for each page.
func warmMemory(n int64) error {
	m, err := unix.Mmap(-1, 0, int(min(n, mostWarmed)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	return unix.Munmap(m)
}
