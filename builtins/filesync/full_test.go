package filesync

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/hint"
)

// smallDisk mounts a file system of 16 MB.
func smallDisk(t *testing.T) string { return memoryDisk(t, "size=16m") }

// memoryDisk mounts a file system in memory.
func memoryDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a tmpfs of %s: %v (run the tests as root)", options, err)
	}
	t.Cleanup(func() {
		// Far ends may still be closing what they had open.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount the tmpfs: %v", err)
		}
	})
	return dir
}

// TestDiskFull fills the target's file system. What has its final name is
// whole, the error says what to do, and the copy goes on once there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, inPlace := range []bool{false, true} {
		t.Run(fmt.Sprintf("inplace=%v", inPlace), func(t *testing.T) {
			bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
				from, disk := t.TempDir(), smallDisk(t)
				to := filepath.Join(disk, "target")
				for i := range 7 {
					write(t, from, fmt.Sprintf("f%d", i), noise(uint64(i), 5<<20))
				}
				for i := range 200 {
					write(t, from, fmt.Sprintf("small/%d", i), noise(uint64(i), 9000))
				}
				_, err := run(from, to, Options{InPlace: inPlace})
				checkErrorIs(t, err, unix.ENOSPC)
				if !strings.Contains(hint.Of(err), "free space") {
					t.Errorf("got hint %q, want one to free space", hint.Of(err))
				}
				if !inPlace {
					got := snapshot(t, to)
					for name := range got {
						if isTemp(name) {
							delete(got, name)
						}
					}
					checkOldOrNew(t, got, nil, snapshot(t, from))
				}
				must(t, unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=64m"))
				_, err = run(from, to, Options{InPlace: inPlace})
				must(t, err)
				checkSame(t, to, from)
				checkNoTemps(t, to)
			})
		})
	}
}
