package filesync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDryRun: what a dry run says is what the copy then does, and a dry run
// changes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := sampleTree(t), filepath.Join(t.TempDir(), "target")
		o := Options{Delete: true, Exclude: []string{"/kept", "*.log"}}
		foreseen := func() (string, Summary) {
			var before map[string]string
			_, err := os.Lstat(to)
			there := err == nil
			if there {
				before = snapshot(t, to)
			}
			var names strings.Builder
			dry := o
			dry.DryRun, dry.Verbose = true, &names
			s, err := run(from, to, dry)
			must(t, err)
			if _, err := os.Lstat(to); !there && !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("got %v, want no target", err)
			}
			if there {
				after := snapshot(t, to)
				for name := range after {
					if before[name] != after[name] {
						t.Errorf("%s was changed", name)
					}
				}
				if len(before) != len(after) {
					t.Errorf("got %d entries, want the %d that were there", len(after), len(before))
				}
			}
			return names.String(), s
		}
		check := func() {
			t.Helper()
			wantNames, want := foreseen()
			var names strings.Builder
			o.Verbose, o.Streams = &names, 1
			got, err := run(from, to, o)
			must(t, err)
			if sortedLines(wantNames) != sortedLines(names.String()) {
				t.Errorf("foreseen:\n%s\ndone:\n%s", wantNames, &names)
			}
			if got.Transferred != want.Transferred || got.Deleted != want.Deleted || got.Files != want.Files || got.Dirs != want.Dirs || got.TotalSize != want.TotalSize {
				t.Errorf("foreseen %+v, done %+v", want, got)
			}
		}
		check() // into nothing
		check() // nothing to do

		write(t, from, "dir/page", noise(7, blockSize+1))
		must(t, os.Chmod(filepath.Join(from, "top"), 0o600))
		must(t, os.Remove(filepath.Join(from, "link")))
		write(t, to, "surplus/deep/file", nil)
		write(t, to, "kept/deep/file", nil)
		write(t, to, "gone/deep/server.log", nil)
		write(t, to, "gone/deep/other", nil)
		write(t, to, "gone/"+tempPrefix+"0123456789abcdef"+tempSuffix, nil)
		check()
		checkSame(t, to, from, "kept", "kept/deep", "kept/deep/file", "gone", "gone/deep", "gone/deep/server.log", ".")

		_, err := run(from, to, Options{DryRun: true, Checksum: true})
		checkErrorIs(t, err, errDryChecksum)
		_, err = run(from, from, Options{DryRun: true})
		checkErrorIs(t, err, errSameDirectory)
	})
}

func sortedLines(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
