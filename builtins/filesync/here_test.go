package filesync

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHere copies within this process: new files and older ones, small, large and
// of several parts, with holes.
func TestHere(t *testing.T) {
	t.Parallel()
	for _, inPlace := range []bool{false, true} {
		from, to := sampleTree(t), t.TempDir()
		write(t, from, "parts", largeContent(1))
		write(t, from, "holes", noise(2, 1<<20))
		must(t, os.Truncate(filepath.Join(from, "holes"), 12<<20))
		must(t, os.Chtimes(filepath.Join(from, "holes"), old, old))
		write(t, to, "dir/odd", noise(3, 2*blockSize))
		s, err := Push(t.Context(), Here, from, to, Options{Streams: 4, InPlace: inPlace, Delete: true})
		must(t, err)
		checkSame(t, to, from)
		checkNoTemps(t, to)
		if want := int64(2*rangeSize + 3<<20 + 12<<20); s.Sent > 1<<20 || s.TotalSize < want {
			t.Errorf("got %d bytes sent of %d, want next to nothing of more than %d", s.Sent, s.TotalSize, want)
		}
		info, err := os.Stat(filepath.Join(to, "holes"))
		must(t, err)
		if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 2<<20 {
			t.Errorf("got %d bytes taken on the target, want holes", used)
		}
		s, err = Push(t.Context(), Here, from, to, Options{Streams: 4, InPlace: inPlace, Delete: true})
		must(t, err)
		if s.Transferred != 0 {
			t.Errorf("got %d files transferred the second time, want none", s.Transferred)
		}
	}
}

// TestHereChanges: what happens to a file that is handed over is noticed too.
func TestHereChanges(t *testing.T) {
	t.Parallel()
	for want, change := range map[Change]func(string) error{
		Vanished: os.Remove,
		Shrunk:   func(name string) error { return os.Truncate(name, 1<<20+7) },
		Grown:    func(name string) error { return os.Truncate(name, 3<<20+7) },
	} {
		from, to := t.TempDir(), t.TempDir()
		write(t, from, "f", noise(1, 2<<20))
		var told []Change
		_, err := Push(t.Context(), Here, from, to, Options{
			listed:   func() { must(t, change(filepath.Join(from, "f"))) },
			OnChange: func(_ string, c Change) error { told = append(told, c); return nil },
		})
		must(t, err)
		if len(told) != 1 || told[0] != want {
			t.Errorf("got told %v, want once that it %v", told, want)
		}
		if want != Vanished {
			content := noise(1, 2<<20)
			if want == Shrunk {
				clear(content[1<<20+7:])
			}
			checkContent(t, to, "f", content)
		}
	}
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "f", noise(1, 2<<20))
	_, err := Push(t.Context(), Here, from, to, Options{listed: func() { must(t, os.Truncate(filepath.Join(from, "f"), 1<<20)) }})
	if err == nil || !strings.Contains(err.Error(), "f: the file shrank") {
		t.Errorf("got %v, want an error about the file", err)
	}
}

// TestHandedFromElsewhere: only a sender in the same process can hand over files.
func TestHandedFromElsewhere(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	far := newFarEnds(t)
	s, err := dial(t.Context(), far.dial)
	must(t, err)
	_, err = s.open(t.Context(), openRequest{Role: roleReceive, Root: to, Lock: true, Copy: 7})
	must(t, err)
	e := fileEntry("f", 1<<20)
	_, err = s.call(t.Context(), frameHanded, new(encoder).uint(1).job(job{entry: &e, to: e.Size, basis: -1, partial: -1}).b, frameDone)
	checkErrorIs(t, err, errProtocol)
	_ = s.close()
}

// TestReflink copies within a file system that has reflinks: both files share
// what they hold.
func TestReflink(t *testing.T) {
	t.Parallel()
	disk := reflinkDisk(t)
	from, to := filepath.Join(disk, "from"), filepath.Join(disk, "to")
	write(t, from, "whole", noise(1, 5<<20+77))
	write(t, from, "parts", noise(2, rangeSize+5<<20+77))
	unix.Sync()
	var before, after unix.Statfs_t
	must(t, unix.Statfs(disk, &before))
	_, err := Push(t.Context(), Here, from, to, Options{Streams: 4})
	must(t, err)
	must(t, unix.Statfs(disk, &after))
	checkSame(t, to, from)
	if used := int64(before.Bfree-after.Bfree) * after.Bsize; used > 4<<20 {
		t.Errorf("got %d bytes taken by the copy of 26 MB, want them shared", used)
	}
}

// reflinkDisk mounts an XFS file system in a file.
func reflinkDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	f, err := os.Create(image)
	must(t, errors.Join(err, f.Truncate(400<<20), f.Close(), os.Mkdir(disk, 0o700)))
	for _, command := range [][]string{{"mkfs.xfs", "-q", "-m", "reflink=1", image}, {"mount", "-o", "loop", image, disk}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v (run the tests as root, with xfsprogs)\n%s", command, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return disk
}
