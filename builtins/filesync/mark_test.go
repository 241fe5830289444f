package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// cutCopy makes a copy that fails at its last file, and leaves the target as a
// cut one does. What comes shortly before that file may not have arrived.
func cutCopy(t *testing.T, run func(from, to string, o Options) (Summary, error), from, to string, o Options) {
	t.Helper()
	for i := range 40 {
		write(t, from, fmt.Sprintf("y-before-last/%d", i), noise(uint64(i), 60<<10))
	}
	must(t, os.Chtimes(filepath.Join(from, "y-before-last"), old, old))
	write(t, from, "z-last", []byte("last!"))
	o.OnChange = nil
	o.listed = func() { must(t, os.RemoveAll(filepath.Join(from, "z-last"))) }
	if _, err := run(from, to, o); err == nil {
		t.Fatal("got no error from the copy that should be cut")
	}
	write(t, from, "z-last", []byte("last!"))
}

// TestResumeByName: what a cut copy of the same name has completed is not
// compared again; everything else is.
func TestResumeByName(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		run := func(from, to string, o Options) (Summary, error) {
			far := newFarEnds(t)
			defer far.wait.Wait()
			return c.copy(t.Context(), far.dial, from, to, o)
		}
		for _, inPlace := range []bool{false, true} {
			from, to := sampleTree(t), t.TempDir()
			write(t, from, "z-last", []byte("last!"))
			write(t, from, "early", []byte("right"))
			write(t, to, "early", []byte("wrong")) // the same size and time
			o := Options{Checksum: true, InPlace: inPlace, Delete: true, Streams: 1, Resume: "this one"}
			cutCopy(t, run, from, to, o)
			if _, err := os.Stat(filepath.Join(to, markName)); err != nil {
				t.Fatalf("the cut copy left no mark: %v", err)
			}
			// Written by nobody in real life, which shows what is looked at.
			must(t, os.WriteFile(filepath.Join(to, "dir/page"), noise(9, blockSize), 0o600))
			must(t, os.Chtimes(filepath.Join(to, "dir/page"), old, old))
			s, err := run(from, to, o)
			must(t, err)
			checkSame(t, to, from, "dir/page")
			checkContent(t, to, "dir/page", noise(9, blockSize))
			if s.Transferred > 41 {
				t.Errorf("got %d files transferred, want the last ones", s.Transferred)
			}
			if _, err := os.Stat(filepath.Join(to, markName)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v for the mark of a copy that is done, want none", err)
			}
			cutCopy(t, run, from, to, o)
			o.Resume = "another one"
			_, err = run(from, to, o)
			must(t, err)
			checkSame(t, to, from)
		}
	}
}

// TestTouchedMark: change times tell nothing once somebody has changed those of
// the whole target, and then everything is compared.
func TestTouchedMark(t *testing.T) {
	t.Parallel()
	for _, c := range copiers {
		run := func(from, to string, o Options) (Summary, error) {
			far := newFarEnds(t)
			defer far.wait.Wait()
			return c.copy(t.Context(), far.dial, from, to, o)
		}
		from, to := sampleTree(t), t.TempDir()
		o := Options{Checksum: true, Streams: 1, Resume: "this one"}
		cutCopy(t, run, from, to, o)
		must(t, os.Chtimes(filepath.Join(to, markName), old, old)) // as cp -a leaves it
		time.Sleep(50 * time.Millisecond)                          // more than a tick of the file system's clock
		must(t, os.Chmod(filepath.Join(to, "top"), 0o600))
		must(t, os.WriteFile(filepath.Join(to, "top"), []byte("olleh"), 0o600))
		must(t, os.Chtimes(filepath.Join(to, "top"), old, old))
		_, err := run(from, to, o)
		must(t, err)
		checkSame(t, to, from)
	}
}

// TestResumeInspects: an inspector sees also what a cut copy had completed, and
// what is written to meanwhile is copied.
func TestResumeInspects(t *testing.T) {
	t.Parallel()
	from, to := sampleTree(t), t.TempDir()
	write(t, from, "z-last", []byte("last!"))
	run := func(from, to string, o Options) (Summary, error) {
		far := newFarEnds(t)
		defer far.wait.Wait()
		return Push(t.Context(), far.dial, from, to, o)
	}
	o := Options{Checksum: true, InPlace: true, Resume: "this one", OnChange: LetPass}
	cutCopy(t, run, from, to, o)
	var mu sync.Mutex
	done := map[string]*recorder{}
	o.listed = func() {
		patch(t, filepath.Join(from, "dir/deep/er/large"), 2<<20, []byte("changed"))
		must(t, os.Remove(filepath.Join(from, "top")))
	}
	o.Delete = true
	o.Inspect = func(e Entry) Inspector {
		mu.Lock()
		defer mu.Unlock()
		done[e.Path] = &recorder{}
		return done[e.Path]
	}
	_, err := run(from, to, o)
	must(t, err)
	checkSame(t, to, from, "dir/deep/er/large")
	for _, name := range []string{"dir/page", "dir/odd", "dir/deep/er/large", "empty", "z-last"} {
		content, err := os.ReadFile(filepath.Join(from, name))
		must(t, err)
		checkContent(t, to, name, content)
		if r := done[name]; r == nil || r.done != 1 || string(r.content) != string(content) {
			t.Errorf("%s: was not seen, or not as it is on the target", name)
		}
	}
}

// A far end whose copy was cut before it had its lock leaves no mark.
func TestNoMarkWithoutACopy(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	far := newFarEnds(t)
	s, err := dial(t.Context(), far.dial)
	must(t, err)
	_, err = s.open(t.Context(), openRequest{Role: roleReceive, Root: to, Lock: true, Copy: 7, Resume: "this one"})
	must(t, err)
	must(t, s.close())
	far.wait.Wait()
	if _, err := os.Lstat(filepath.Join(to, markName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no mark", err)
	}
}
