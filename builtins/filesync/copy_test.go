package filesync

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copiers are the two directions, with the far end in this process and in one
// of its own.
var copiers = []copier{
	{"push", wide(Push)},
	{"pull", wide(Pull)},
}

// wide copies over several streams where a test does not say over how many: the
// trees of tests are too small for more than one.
func wide(run copyFunc) copyFunc {
	return func(ctx context.Context, d Dialer, from, to string, o Options) (Summary, error) {
		o.Streams = cmp.Or(o.Streams, 4)
		return run(ctx, d, from, to, o)
	}
}

// bothWays runs a test in both directions.
func bothWays(t *testing.T, test func(t *testing.T, run func(from, to string, o Options) (Summary, error))) {
	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			far := newFarEnds(t)
			test(t, func(from, to string, o Options) (Summary, error) {
				return c.copy(t.Context(), far.dial, from, to, o)
			})
		})
	}
}

func TestCopiesEverything(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		for _, far := range []string{"pipe", "process"} {
			for _, o := range []Options{{}, {Streams: 1}, {InPlace: true}, {Checksum: true, Compress: CompressZstd}, {Compress: CompressNone}} {
				name := fmt.Sprintf("%s/%s/inplace=%v,compress=%s,streams=%d", c.name, far, o.InPlace, o.Compress, o.Streams)
				t.Run(name, func(t *testing.T) {
					dial := Dialer(processDialer)
					if far == "pipe" {
						dial = newFarEnds(t).dial
					}
					from, to := sampleTree(t), filepath.Join(t.TempDir(), "new", "target")
					s, err := c.copy(t.Context(), dial, from, to, o)
					must(t, err)
					checkSame(t, to, from)
					if s.Files != 5 || s.Dirs != 6 || s.Transferred != 5 {
						t.Errorf("got %d files, %d directories, %d transferred, want 5, 6, 5", s.Files, s.Dirs, s.Transferred)
					}
					if want := int64(5 + blockSize + 3*blockSize + 17 + 3<<20 + 5); s.TotalSize != want {
						t.Errorf("got a total size of %d, want %d", s.TotalSize, want)
					}
				})
			}
		}
	}
}

// TestSecondCopySendsNothing also covers attributes that changed without the
// content.
func TestSecondCopySendsNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := sampleTree(t), t.TempDir()
		_, err := run(from, to, Options{})
		must(t, err)
		must(t, os.Chmod(filepath.Join(from, "top"), 0o640))
		must(t, os.Chmod(filepath.Join(from, "hollow"), 0o711))
		for _, o := range []Options{{}, {Checksum: true}, {Checksum: true, InPlace: true}} {
			s, err := run(from, to, o)
			must(t, err)
			checkSame(t, to, from)
			if s.Literal != 0 || s.Transferred != 0 {
				t.Errorf("%+v: got %d bytes of content and %d files transferred, want none", o, s.Literal, s.Transferred)
			}
		}
	})
}

// TestSendsOnlyBlocksThatDiffer is the delta, on a large file.
func TestSendsOnlyBlocksThatDiffer(t *testing.T) {
	t.Parallel()
	sizes := map[string]int{"push": 200 << 20, "pull": 30 << 20}
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := t.TempDir(), t.TempDir()
		size := sizes[filepath.Base(t.Name())]
		write(t, from, "relation", bytes.Repeat(noise(4, 1<<20), size>>20))
		_, err := run(from, to, Options{})
		must(t, err)
		for i, o := range []Options{{InPlace: true}, {}} {
			patch(t, filepath.Join(from, "relation"), int64(size/2+i*blockSize+77), []byte("changed"))
			s, err := run(from, to, o)
			must(t, err)
			checkSame(t, to, from)
			if s.Literal != blockSize {
				t.Errorf("got %d bytes of content sent, want one block of %d", s.Literal, blockSize)
			}
			if s.Sent+s.Received > 600<<10 {
				t.Errorf("got %d bytes on the wire for one changed block of %d MB", s.Sent+s.Received, size>>20)
			}
		}
	})
}

// patch overwrites a few bytes and leaves the file with an old time that is
// not the one it had.
func patch(t *testing.T, name string, offset int64, content []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(content, offset)
	must(t, err)
	must(t, f.Close())
	when := old.AddDate(0, 0, int(offset%300)+1)
	must(t, os.Chtimes(name, when, when))
}

// TestLengths copies over files that were longer, shorter or of another
// content, whole blocks and not.
func TestLengths(t *testing.T) {
	t.Parallel()
	lengths := []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 5 * blockSize, chunkSize + 9}
	span := spanSize + 3*blockSize + 1
	pairs := [][2]int{{span, 1}, {span, chunkSize}, {span, span + blockSize}, {blockSize + 1, span}, {spanSize, 2*spanSize + 1}}
	for _, before := range lengths {
		for _, after := range lengths {
			pairs = append(pairs, [2]int{before, after})
		}
	}
	shared := noise(5, 2*spanSize+1)
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		for _, inPlace := range []bool{false, true} {
			from, to := t.TempDir(), t.TempDir()
			for _, p := range pairs {
				name := fmt.Sprintf("%d-%d", p[0], p[1])
				write(t, to, name, shared[:p[0]])
				write(t, from, name, shared[:p[1]])
				when := old.AddDate(1, 0, 0)
				must(t, os.Chtimes(filepath.Join(from, name), when, when))
			}
			s, err := run(from, to, Options{InPlace: inPlace})
			must(t, err)
			checkSame(t, to, from)
			if most := int64(3 * spanSize); s.Literal > most {
				t.Errorf("got %d bytes of content sent, want at most %d", s.Literal, most)
			}
		}
	})
}

func TestManySmallFiles(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := t.TempDir(), t.TempDir()
		for i := range 1500 {
			write(t, from, fmt.Sprintf("%d/%d/file%d", i%7, i%11, i), noise(uint64(i), i%9000))
		}
		s, err := run(from, to, Options{Streams: 4})
		must(t, err)
		checkSame(t, to, from)
		if s.Files != 1500 || s.Transferred != 1500 {
			t.Errorf("got %d files and %d transferred, want 1500", s.Files, s.Transferred)
		}
		s, err = run(from, to, Options{Streams: 4, Checksum: true})
		must(t, err)
		if s.Literal != 0 {
			t.Errorf("got %d bytes sent again, want none", s.Literal)
		}
	})
}

// TestYoungFilesAreComparedAgain: a file that was just written may be written
// again within one tick of the clock, so its time proves nothing.
func TestYoungFilesAreComparedAgain(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := t.TempDir(), t.TempDir()
		name := filepath.Join(from, "young")
		must(t, os.WriteFile(name, []byte("first"), 0o600))
		info, err := os.Stat(name)
		must(t, err)
		_, err = run(from, to, Options{})
		must(t, err)
		must(t, os.WriteFile(name, []byte("other"), 0o600))
		must(t, os.Chtimes(name, info.ModTime(), info.ModTime()))
		_, err = run(from, to, Options{})
		must(t, err)
		if got, err := os.ReadFile(filepath.Join(to, "young")); err != nil || string(got) != "other" {
			t.Errorf("got %q, %v, want the second content", got, err)
		}
	})
}

func TestVerboseAndProgress(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := sampleTree(t), t.TempDir()
		write(t, to, "old/thing", []byte("x"))
		var out strings.Builder
		var last Progress
		_, err := run(from, to, Options{Verbose: &out, Prefix: "2warm/", Delete: true, Streams: 1, Progress: func(p Progress) { last = p }})
		must(t, err)
		want := []string{"building file list ... done", "2warm/", "2warm/dir/", "2warm/dir/dangling -> /nowhere/at/all", "2warm/dir/deep/", "2warm/dir/deep/er/",
			"2warm/dir/deep/er/large", "2warm/dir/odd", "2warm/dir/page", "2warm/empty", "2warm/hollow/", "2warm/hollow/inner/",
			"2warm/link -> dir/page", "2warm/top", "deleting 2warm/old/", "deleting 2warm/old/thing"}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		for _, w := range want {
			if n := count(lines, w); n != 1 {
				t.Errorf("got %q %d times in the output, want it once", w, n)
			}
		}
		if len(lines) != len(want) {
			t.Errorf("got %d lines, want %d:\n%s", len(lines), len(want), out.String())
		}
		if !last.Done || last.Files != 5 || last.TotalFiles != 5 || last.Bytes != last.TotalBytes || last.Sent == 0 {
			t.Errorf("got last progress %+v, want all 5 files done", last)
		}
	})
}

func count(lines []string, line string) int {
	n := 0
	for _, l := range lines {
		if l == line {
			n++
		}
	}
	return n
}

func TestSummaryReadsAsRsync(t *testing.T) {
	t.Parallel()
	s := Summary{Sent: 464939, Received: 568, TotalSize: 462750, Elapsed: 5e8}
	want := "sent 464939 bytes  received 568 bytes  931014.00 bytes/sec\ntotal size is 462750  speedup is 0.99"
	if got := s.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestManySmallFilesAreFlushedTogether covers batches of every length.
func TestManySmallFilesAreFlushedTogether(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		for _, inPlace := range []bool{false, true} {
			from, to := t.TempDir(), t.TempDir()
			for i := range batchSize + batchFrom + 3 {
				write(t, from, fmt.Sprintf("%d/file%d", i%3, i), noise(uint64(i), i%300))
			}
			for i := range batchFrom + 5 { // directories, to be flushed together as well
				must(t, os.Mkdir(filepath.Join(from, fmt.Sprintf("hollow%d", i)), 0o700))
			}
			_, err := run(from, to, Options{Streams: 1, InPlace: inPlace})
			must(t, err)
			checkSame(t, to, from)
			checkNoTemps(t, to)
		}
	})
}

// copier is one direction.
type copier struct {
	name string
	copy copyFunc
}

type copyFunc func(context.Context, Dialer, string, string, Options) (Summary, error)
