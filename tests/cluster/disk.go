package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// rootOf is where the test finds the root directory of the place, for a path
// on one of its own disks, and empty for any other path.
func (p *place) rootOf(inside string) string {
	if p == nil {
		return ""
	}
	for _, disk := range p.disks {
		if inside == disk || strings.HasPrefix(inside, disk+"/") {
			return fmt.Sprintf("/proc/%d/root", p.first.Process.Pid)
		}
	}
	return ""
}

// moveToDisk takes the size and a directory.
const moveToDisk = `set -e
new=$(mktemp -d "$2.XXXXXX")
mount -t tmpfs -o "size=$1,mode=700" disk "$new"
cp -a "$2/." "$new/"
mount --move "$new" "$2"
rmdir "$new"`

// Mount moves a directory of the node to a disk of its own with so many bytes.
// The node must be a machine; nothing that runs there may use the directory.
func (n *Node) Mount(dir string, bytes int64) {
	n.c.t.Helper()
	n.place.do(n.c.t, func() {
		out, err := exec.Command("/bin/sh", "-c", moveToDisk, "sh", fmt.Sprint(bytes), dir).CombinedOutput()
		if err != nil {
			n.c.t.Fatalf("mount a disk on %s of %s: %v: %s", dir, n.Name, err, out)
		}
	})
	n.place.disks = append(n.place.disks, dir)
}

// Fill fills the disk that a directory lies on, until so many bytes are left.
// The function returned makes room again.
func (n *Node) Fill(dir string, left int64) (empty func()) {
	n.c.t.Helper()
	path := filepath.Join(n.Path(dir), "filler")
	f, err := os.Create(path)
	n.must(err)
	for _, size := range []int64{1 << 20, 4 << 10, 1} {
		for err == nil {
			_, err = io.CopyN(f, zeros{}, size)
		}
		if !errors.Is(err, unix.ENOSPC) {
			n.c.t.Fatal(err)
		}
		err = nil
	}
	if left > 0 {
		at, err := f.Seek(0, io.SeekEnd)
		n.must(err)
		n.must(f.Truncate(at - left))
	}
	n.must(f.Close())
	return func() {
		n.c.t.Helper()
		n.must(os.Remove(path))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// FillTmp covers the node's /tmp with a small disk that is full. The cluster's
// own directories stay where they are, even if that is in /tmp.
func (n *Node) FillTmp() {
	n.c.t.Helper()
	n.place.do(n.c.t, func() { n.must(n.coverTmp()) })
	n.place.disks = append(n.place.disks, "/tmp/full")
	n.must(os.Mkdir(n.Path("/tmp/full"), 0o777))
	n.Fill("/tmp/full", 0)
}

func (n *Node) coverTmp() error {
	root, err := unix.OpenTree(unix.AT_FDCWD, n.c.root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	if err := unix.Mount("disk", "/tmp", "tmpfs", 0, "size=64k,mode=1777"); err != nil {
		return err
	}
	if !strings.HasPrefix(n.c.root, "/tmp/") {
		return nil
	}
	if err := os.MkdirAll(n.c.root, 0o755); err != nil {
		return err
	}
	return unix.MoveMount(root, "", unix.AT_FDCWD, n.c.root, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
