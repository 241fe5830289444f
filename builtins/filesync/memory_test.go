package filesync

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// memoryDir is where the two sides of a copy leave how much memory they had.
const memoryDir = "WARMRUN_FILESYNC_TEST_MEMORY"

// noteMemory writes down all memory that this process ever had from the system
// at once, but for that of its code and of the race detector.
func noteMemory(side string) error {
	dir := os.Getenv(memoryDir)
	if dir == "" {
		return nil
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	name := fmt.Sprintf("%s-%d", side, os.Getpid())
	return os.WriteFile(filepath.Join(dir, name), []byte(strconv.FormatUint(stats.Sys, 10)), 0o600)
}

const (
	manyFiles  = 1_000_000
	memoryMost = 200 << 20 // of each side; 256 MB are promised
)

// TestMemory: a million files, in one directory and in a thousand, take little
// memory on either side: all to be copied, none of them, and all to be deleted.
func TestMemory(t *testing.T) {
	disk := memoryDisk(t, "size=1g,nr_inodes=0")
	from, to := filepath.Join(disk, "from"), filepath.Join(disk, "to")
	var names []string
	for i := range manyFiles {
		name := fmt.Sprintf("flat/%07d_relation", i)
		if i%2 == 0 {
			name = fmt.Sprintf("deep/er/%03d/%07d_relation", i%1000, i)
		}
		names = append(names, name)
	}
	makeFiles(t, from, names, "")
	empty := filepath.Join(disk, "empty")
	must(t, os.Mkdir(empty, 0o700))
	makeFiles(t, to, names, from)
	for _, c := range []struct{ direction, what, from, to, mode string }{
		{"push", "all to be copied", from, empty, "foretold"},
		{"push", "none to be copied", from, to, "renamed"},
		{"pull", "all to be copied", from, empty, "foretold"},
		{"pull", "all to be deleted", empty, to, "foretold"},
	} {
		t.Run(c.direction+"/"+c.what, func(t *testing.T) {
			for side, had := range memoryOf(t, c.direction, c.from, c.to, c.mode) {
				t.Logf("%s: %d MB", side, had>>20)
				if had > memoryMost {
					t.Errorf("the %s side had %d MB of memory, want at most %d", side, had>>20, memoryMost>>20)
				}
			}
		})
	}
}

// makeFiles makes empty files, or further names of those in another tree.
func makeFiles(t *testing.T, root string, names []string, other string) {
	t.Helper()
	made := map[string]bool{}
	for _, name := range names {
		full := filepath.Join(root, name)
		if dir := filepath.Dir(full); !made[dir] {
			must(t, os.MkdirAll(dir, 0o700))
			made[dir] = true
		}
		if other != "" {
			must(t, os.Link(filepath.Join(other, name), full))
		} else {
			must(t, unix.Mknod(full, unix.S_IFREG|0o600, 0))
		}
	}
}

// memoryOf runs a copy in processes of its own and returns what each side had.
func memoryOf(t *testing.T, direction, from, to, mode string) map[string]uint64 {
	t.Helper()
	dir := t.TempDir()
	cmd := driver(t, direction, from, to, mode)
	cmd.Env = append(cmd.Env, memoryDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the copy: %v\n%s", err, out)
	}
	sides := map[string]uint64{}
	notes, err := os.ReadDir(dir)
	must(t, err)
	for _, n := range notes {
		content, err := os.ReadFile(filepath.Join(dir, n.Name()))
		must(t, err)
		had, err := strconv.ParseUint(string(content), 10, 64)
		must(t, err)
		side, _, _ := strings.Cut(n.Name(), "-")
		sides[side] += had
	}
	if len(sides) != 2 {
		t.Fatalf("got the memory of %v, want that of both sides", sides)
	}
	return sides
}
