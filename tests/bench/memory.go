package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// touched is how much memory touchMemory touches: more than any turn fills.
const touched = 1 << 30

// touchMemory takes free memory and gives it back at once. The host of a virtual
// machine may have taken away what was free for a while. Whoever writes to it
// next pays for getting it again, ten times as much as for the writing, and this
// should be nobody whose time is measured.
func touchMemory() error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	size := min(touched, info.Freeram*uint64(info.Unit)/2)
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) {
		return nil // none is left to touch
	}
	if err != nil {
		return err
	}
	return unix.Munmap(mem)
}
