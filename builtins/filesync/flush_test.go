package filesync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/hint"
)

// TestMountsBelowTheRootAreFlushed: a flush of the root's file system does not
// reach what lies on another one that is mounted below it.
func TestMountsBelowTheRootAreFlushed(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	const files = 2 * batchFrom
	for i := range files {
		write(t, from, fmt.Sprintf("mount/f%d", i), noise(uint64(i), 100))
		write(t, from, fmt.Sprintf("d%d/f", i), noise(uint64(i), 100))
	}
	mount := filepath.Join(to, "mount")
	must(t, os.Mkdir(mount, 0o700))
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatalf("mount a tmpfs: %v (run the tests as root)", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	log := filepath.Join(t.TempDir(), "strace")
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		return start(ctx, "strace", "-f", "-y", "-o", log, "-e", "trace=fsync,syncfs", os.Args[0])
	}
	_, err := Push(t.Context(), dial, from, to, Options{Streams: 1})
	must(t, err)
	checkSame(t, to, from)
	content, err := os.ReadFile(log)
	must(t, err)
	flushed := map[string]int{}
	for _, m := range callFsync.FindAllStringSubmatch(string(content), -1) {
		if m[1] == mount {
			flushed["directory"]++
		} else if filepath.Dir(m[1]) == mount {
			flushed["file"]++
		}
	}
	if flushed["file"] != files || flushed["directory"] == 0 || !strings.Contains(string(content), "syncfs(") {
		t.Errorf("got %d files of %d and the directory %d times flushed on the mount, and the rest at once: %v",
			flushed["file"], files, flushed["directory"], strings.Contains(string(content), "syncfs("))
	}
}

// TestFailedFlush says what to do, on both sides of the wire.
func TestFailedFlush(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe() // which cannot be flushed
	must(t, err)
	defer func() { must(t, r.Close()) }()
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	c := newCommitter(root)
	must(t, c.add(&finished{file: w, path: "base/1/1259", mode: 0o600, uid: -1, gid: -1}))
	err = c.wait()
	for where, err := range map[string]error{"here": advise(err), "there": decodeFailure(encodeFailure(err))} {
		if !errors.Is(err, errFlush) || !strings.Contains(err.Error(), "base/1/1259") || !strings.Contains(hint.Of(err), "dmesg") {
			t.Errorf("%s: got %v with hint %q, want one about the disk", where, err, hint.Of(err))
		}
	}
	must(t, errors.Join(c.close(), root.Close()))
}

// TestNothingIsCompleteAfterAFailedFlush: a large file of which a part could not
// be flushed for its note does not get its final name.
func TestNothingIsCompleteAfterAFailedFlush(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree, err := openTree(t.Context(), dir, treeOptions{})
	must(t, err)
	r := newReceiver(tree)
	r.notes = newNotekeeper(tree.root)
	r.notes.err = errFlush
	in := &incoming{job: job{entry: &Entry{Path: "large", Kind: File, Mode: 0o600, Size: 7}, to: 7, basis: -1, partial: -1}}
	must(t, r.write(in, 0, []byte("content")))
	checkErrorIs(t, r.complete(0, in, old), errFlush)
	must(t, r.commits.wait())
	if _, err := os.Lstat(filepath.Join(dir, "large")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that it is not there", err)
	}
	checkErrorIs(t, r.close(), errFlush)
	must(t, tree.close())
}

// TestForget: what could not be flushed is read from disk from then on.
func TestForget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "f", noise(1, 1<<20))
	f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_RDWR, 0)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	must(t, f.Sync())
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer func() { must(t, root.Close()) }()
	for _, w := range []finished{{path: "f"}, {path: "g", temp: "f"}, {path: "f", file: f}} {
		must(t, w.forget(root))
		if err := (&finished{path: "gone"}).forget(root); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want that it is not there", err)
		}
	}
	checkContent(t, dir, "f", noise(1, 1<<20))
}
