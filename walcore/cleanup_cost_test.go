package walcore

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// dirReads counts how often a directory is read from then on: the kernel tells
// of each getdents(2) of a directory that is watched.
func dirReads(t *testing.T, dir string) func() int {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	return func() int {
		count, buf := 0, make([]byte, 1<<16)
		for {
			n, err := unix.Read(fd, buf)
			if errors.Is(err, unix.EAGAIN) {
				return count
			}
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < n; {
				mask, name := binary.NativeEndian.Uint32(buf[at+4:]), binary.NativeEndian.Uint32(buf[at+12:])
				if mask&unix.IN_ISDIR != 0 && name == 0 {
					count++
				}
				at += unix.SizeofInotifyEvent + int(name)
			}
		}
	}
}

// A restore must not become slower as the archive grows: once it has been read
// through, the directory is not read again, whatever is to be kept.
func TestRestoreDoesNotReadTheArchive(t *testing.T) {
	tests := []struct {
		what  string
		limit func(*RestoreRequest)
	}{
		{"by %r", func(*RestoreRequest) {}},
		{"with a relay that has nothing", func(r *RestoreRequest) { r.HasRelay = true }},
		{"with backups", func(r *RestoreRequest) { r.KeepBackups = 2 }},
		{"with a size limit", func(r *RestoreRequest) { r.MaxSize = 3 * int64(testSegmentSize) }},
		{"with everything", func(r *RestoreRequest) { r.HasRelay, r.KeepBackups, r.MaxSize = true, 1, 6*int64(testSegmentSize) }},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, "standby.signal")
		s.serverRuns(1)
		s.fill(20)
		s.backup(1, 2)
		change := func(redoAt uint64) func(*RestoreRequest) {
			return func(r *RestoreRequest) { r.Redo = redo(redoAt); tt.limit(r) }
		}
		s.serve(10, change(5))
		reads := dirReads(t, s.archive)
		for number := uint64(11); number <= 20; number++ {
			s.serve(number, change(number-5))
		}
		if got := reads(); got != 0 {
			t.Errorf("%s: the archive directory was read %d times, want never", tt.what, got)
		}
		if _, err := (&Archive{dir: s.archive}).List(); err != nil || reads() == 0 {
			t.Errorf("%s: a read of the directory was not counted (%v)", tt.what, err)
		}
	}
}
