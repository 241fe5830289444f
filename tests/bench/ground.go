package main

import (
	"errors"
	"fmt"
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

// warmMemory touches as much free memory as a turn is about to use, and gives it back
// but for a page here and there until it is released. In a virtual machine the host
// takes back what is free, and the first to use it again waits ten times as long for
// each page; but the kernel reports only free blocks of 2 MB to it (free page
// reporting), and none that has a page in use.
func warmMemory(n int64) (release func() error, err error) {
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return nil, err
	}
	n = toWarm(n, int64(system.Freeram)*int64(system.Unit))
	memory, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("warm %d bytes of memory: %w", n, err)
	}
	// One by one: the kernel then takes from the free pages those that are also the
	// next for files. Where it knows no huge pages it does so anyway.
	_ = unix.Madvise(memory, unix.MADV_NOHUGEPAGE)
	page := os.Getpagesize()
	for at := 0; at < len(memory); at += page {
		memory[at] = 1
	}
	for rest := memory; len(rest) > page; rest = rest[min(len(rest), keptEvery):] {
		if err := unix.Madvise(rest[page:min(len(rest), keptEvery)], unix.MADV_DONTNEED); err != nil {
			return nil, errors.Join(fmt.Errorf("give %d bytes of memory back: %w", n, err), unix.Munmap(memory))
		}
	}
	return func() error { return unix.Munmap(memory) }, nil
}

// keptEvery is how far apart the pages are that are kept.
const keptEvery = 1 << 20

// toWarm is how much memory is touched for a turn that moves n bytes: some more, for
// the programs, and never so much that the kernel has to look for it.
func toWarm(n, free int64) int64 { return max(1, min(n+n/4, free-free/4)) }
