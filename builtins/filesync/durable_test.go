package filesync

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEverythingIsFlushedBeforeItIsAcknowledged looks at the system calls of
// the far end of a push: each file is flushed before it gets its name, each
// directory afterwards, and only then the answer is sent.
func TestEverythingIsFlushedBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("this test needs strace; install the package of that name: %v", err)
	}
	for _, inPlace := range []bool{false, true} {
		from, to := sampleTree(t), t.TempDir()
		write(t, to, "dir/odd", noise(7, 9*blockSize))
		log := filepath.Join(t.TempDir(), "strace")
		dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
			return start(ctx, "strace", "-f", "-y", "-o", log, "-e", "trace=fsync,fdatasync,pwrite64,write,rename,renameat,renameat2", os.Args[0])
		}
		_, err := Push(t.Context(), dial, from, to, Options{Streams: 1, InPlace: inPlace})
		must(t, err)
		content, err := os.ReadFile(log)
		must(t, err)
		checkFlushes(t, to, strings.Split(string(content), "\n"), inPlace)
	}
}

// TestBatchesAreFlushedBeforeTheyAppear looks at the system calls for many small
// files: none gets its name before the file system was flushed after its last
// write, and another flush follows the last rename before the answer.
func TestBatchesAreFlushedBeforeTheyAppear(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	for i := range 3 * batchFrom {
		write(t, from, fmt.Sprintf("%d/f%d", i%2, i), noise(uint64(i), 100))
	}
	log := filepath.Join(t.TempDir(), "strace")
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		return start(ctx, "strace", "-f", "-y", "-o", log, "-e", "trace=fsync,syncfs,pwrite64,write,rename,renameat,renameat2", os.Args[0])
	}
	_, err := Push(t.Context(), dial, from, to, Options{Streams: 1})
	must(t, err)
	content, err := os.ReadFile(log)
	must(t, err)
	flushed, renamed, answered := 0, 0, 0
	written, dirs := map[string]int{}, map[string]int{}
	for i, call := range strings.Split(string(content), "\n") {
		switch {
		case strings.Contains(call, "syncfs("):
			flushed = i
		case callWrite.MatchString(call):
			written[callWrite.FindStringSubmatch(call)[1]] = i
		case callRename.MatchString(call):
			m := callRename.FindStringSubmatch(call)
			if at := written[filepath.Join(m[1], m[2])]; at == 0 || at > flushed {
				t.Errorf("%s was written at %d and renamed at %d, flushed at %d", m[2], at, i, flushed)
			}
			renamed, dirs[m[1]] = i, i
		case callFsync.MatchString(call):
			delete(dirs, callFsync.FindStringSubmatch(call)[1])
		case callAnswer.MatchString(call):
			answered = i
		}
	}
	if flushed == 0 || renamed == 0 || answered < renamed || len(dirs) > 0 {
		t.Errorf("flushed at %d, renamed at %d, answered at %d, directories not flushed %v", flushed, renamed, answered, dirs)
	}
}

var (
	callFsync  = regexp.MustCompile(`fsync\(\d+<([^>]*)>`)
	callRename = regexp.MustCompile(`renameat2?\(\d+<([^>]*)>, "([^"]*)", \d+<[^>]*>, "([^"]*)"`)
	callWrite  = regexp.MustCompile(`pwrite64\(\d+<([^>]*)>`)
	callAnswer = regexp.MustCompile(`write\(1<`)
)

func checkFlushes(t *testing.T, root string, calls []string, inPlace bool) {
	t.Helper()
	flushed, renamed, written := map[string]int{}, map[string]int{}, map[string]int{}
	answered := 0
	for i, call := range calls {
		if m := callFsync.FindStringSubmatch(call); m != nil {
			flushed[m[1]] = i
		}
		if m := callRename.FindStringSubmatch(call); m != nil {
			temp := filepath.Join(m[1], m[2])
			if flushed[temp] == 0 && !strings.Contains(m[3], "link") && !strings.Contains(m[3], "dangling") {
				t.Errorf("%s was renamed to %s before it was flushed", m[2], m[3])
			}
			renamed[filepath.Join(m[1], m[3])] = i
		}
		if m := callWrite.FindStringSubmatch(call); m != nil {
			written[m[1]] = i
		}
		if callAnswer.MatchString(call) {
			answered = i
		}
	}
	if answered == 0 || len(written) < 4 || !inPlace && len(renamed) < 5 {
		t.Fatalf("got %d writes and %d renames, which cannot be all:\n%s", len(written), len(renamed), strings.Join(calls, "\n"))
	}
	for name, at := range written {
		if flushed[name] < at || flushed[name] > answered {
			t.Errorf("%s was written at %d, flushed at %d, answered at %d", name, at, flushed[name], answered)
		}
	}
	for name, at := range renamed {
		if dir := filepath.Dir(name); flushed[dir] < at || flushed[dir] > answered {
			t.Errorf("%s was renamed at %d, its directory flushed at %d, answered at %d", name, at, flushed[dir], answered)
		}
	}
	for _, dir := range []string{"", "dir", "dir/deep", "dir/deep/er", "hollow"} {
		if at := flushed[filepath.Join(root, dir)]; at == 0 || at > answered {
			t.Errorf("directory %q was flushed at %d, answered at %d", dir, at, answered)
		}
	}
}
