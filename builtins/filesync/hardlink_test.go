package filesync

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHardLinks covers all choices for a file with several names.
func TestHardLinks(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from := t.TempDir()
		write(t, from, "a", noise(1, 3*blockSize))
		write(t, from, "d/single", []byte("x"))
		must(t, os.Link(filepath.Join(from, "a"), filepath.Join(from, "d/b")))
		must(t, os.Link(filepath.Join(from, "a"), filepath.Join(from, "z")))
		one := func(to string) bool {
			a, err := os.Stat(filepath.Join(to, "a"))
			must(t, err)
			b, err := os.Stat(filepath.Join(to, "d/b"))
			must(t, err)
			z, err := os.Stat(filepath.Join(to, "z"))
			must(t, err)
			return os.SameFile(a, b) && os.SameFile(a, z)
		}

		to := filepath.Join(t.TempDir(), "new")
		_, err := run(from, to, Options{HardLinks: HardLinksRefuse})
		if err == nil || !strings.Contains(err.Error(), "two names of one file") {
			t.Errorf("got %v, want a refusal", err)
		}
		if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v for the target of a copy that was refused, want nothing there", err)
		}
		_, err = run(from, to, Options{})
		must(t, err)
		checkSame(t, to, from)
		if one(to) {
			t.Error("got one file, want three")
		}
		for i, inPlace := range []bool{false, true} {
			_, err = run(from, to, Options{HardLinks: HardLinksKeep, InPlace: inPlace})
			must(t, err)
			checkSame(t, to, from)
			checkNoTemps(t, to)
			if !one(to) {
				t.Error("got several files, want one")
			}
			patch(t, filepath.Join(from, "a"), int64(5+i), []byte("changed"))
			s, err := run(from, to, Options{HardLinks: HardLinksKeep, InPlace: inPlace})
			must(t, err)
			checkSame(t, to, from)
			if !one(to) || s.Transferred != 1 {
				t.Errorf("got one file %v, %d transferred, want one", one(to), s.Transferred)
			}
		}
		before := snapshot(t, to)["d"]
		_, err = run(from, to, Options{HardLinks: HardLinksKeep, Verbose: writerFunc(func(b []byte) (int, error) {
			if strings.Contains(string(b), "=>") {
				t.Errorf("a copy that had nothing to do said %q", b)
			}
			return len(b), nil
		})})
		must(t, err)
		if after := snapshot(t, to)["d"]; after != before {
			t.Errorf("got directory %s, want it as before: %s", after, before)
		}
	})
}
