package filesync

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		dir, want     bool
	}{
		{"postmaster.pid", "postmaster.pid", false, true},
		{"postmaster.pid", "a/b/postmaster.pid", false, true},
		{"postmaster.pid", "postmaster.pids", false, false},
		{"/postmaster.pid", "a/postmaster.pid", false, false},
		{"/global/pg_control", "global/pg_control", false, true},
		{"/pg_wal/*", "pg_wal/0001", false, true},
		{"/pg_wal/*", "pg_wal", true, false},
		{"/pg_wal/*", "pg_wal/archive_status/x", false, false},
		{"pgsql_tmp*", "base/pgsql_tmp", true, true},
		{"pgsql_tmp*", "base/1/pgsql_tmp123.4", false, true},
		{"log/", "log", true, true},
		{"log/", "log", false, false},
		{"/a/log/", "a/log", true, true},
		{"[a-c].txt", "x/b.txt", false, true},
	} {
		if got := Match(c.pattern, c.name, c.dir); got != c.want {
			t.Errorf("Match(%q, %q, %v): got %v, want %v", c.pattern, c.name, c.dir, got, c.want)
		}
		ps, err := newPatterns([]string{"other", c.pattern})
		must(t, err)
		if got := ps.match(c.name, c.dir); got != c.want {
			t.Errorf("patterns %q match %q, %v: got %v, want %v", c.pattern, c.name, c.dir, got, c.want)
		}
	}
	for _, bad := range []string{"", "/", "//", "a/b", "[", "/x/["} {
		if _, err := newPatterns([]string{bad}); err == nil {
			t.Errorf("pattern %q: got no error", bad)
		}
	}
}

func TestDeleteExcludeKeep(t *testing.T) {
	t.Parallel()
	source := []string{"same", "skip.log", "conf", "pg_wal/new", "d/skip.log", "d/file"}
	target := []string{"same", "stale", "old.log", "conf", "pg_wal/old", "pg_wal/sub/older", "gone/a/b", "gone/kept/x", "d/stale"}
	for _, c := range []struct {
		name string
		opts Options
		want string // what the target holds afterwards; ! marks content of the source
	}{
		{"nothing is deleted unasked", Options{},
			"conf! d/file! d/skip.log! d/stale gone/a/b gone/kept/x old.log pg_wal/new! pg_wal/old pg_wal/sub/older same! skip.log! stale"},
		{"delete", Options{Delete: true},
			"conf! d/file! d/skip.log! pg_wal/new! same! skip.log!"},
		{"delete spares the excluded", Options{Delete: true, Exclude: []string{"*.log", "/pg_wal/*"}},
			"conf! d/file! old.log pg_wal/old pg_wal/sub/older same!"},
		{"delete excluded too", Options{Delete: true, DeleteExcluded: true, Exclude: []string{"*.log", "/pg_wal/*"}},
			"conf! d/file! same!"},
		{"keep", Options{Delete: true, DeleteExcluded: true, Exclude: []string{"*.log"}, Keep: []string{"/conf", "kept", "/pg_wal"}},
			"conf d/file! gone/kept/x pg_wal/old pg_wal/sub/older same!"},
		{"include", Options{Delete: true, Exclude: []string{"*.log", "/pg_wal/*"}, Include: []string{"/skip.log", "/pg_wal/n*"}},
			"conf! d/file! old.log pg_wal/new! pg_wal/old pg_wal/sub/older same! skip.log!"},
		{"keep wins over include", Options{Keep: []string{"/conf"}, Include: []string{"/conf"}, Delete: true},
			"conf d/file! d/skip.log! pg_wal/new! same! skip.log!"},
		{"select", Options{Delete: true, Select: func(e *Entry) (bool, error) {
			return e.Path != "pg_wal" && e.Path != "conf", nil
		}}, "d/file! d/skip.log! same! skip.log!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
				from, to := t.TempDir(), t.TempDir()
				for _, name := range source {
					write(t, from, name, []byte("source"))
				}
				for _, name := range target {
					write(t, to, name, []byte("target!"))
				}
				_, err := run(from, to, c.opts)
				must(t, err)
				if got := contents(t, to); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

func contents(t *testing.T, root string) string {
	t.Helper()
	var names []string
	for name, line := range snapshot(t, root) {
		if !strings.HasPrefix(line, "-") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		if string(content) == "source" {
			name += "!"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestKinds replaces every kind of entry by every other.
func TestKinds(t *testing.T) {
	t.Parallel()
	makers := map[string]func(t *testing.T, root, name string){
		"file": func(t *testing.T, root, name string) { write(t, root, name, []byte(root)) },
		"link": func(t *testing.T, root, name string) {
			must(t, os.Symlink("to-"+filepath.Base(root), filepath.Join(root, name)))
		},
		"dir": func(t *testing.T, root, name string) {
			write(t, root, name+"/below/file", []byte(root))
			must(t, os.Chtimes(filepath.Join(root, name, "below"), old, old))
		},
		"none": func(*testing.T, string, string) {},
	}
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		for _, inPlace := range []bool{false, true} {
			base := t.TempDir()
			from, to := filepath.Join(base, "a"), filepath.Join(base, "b")
			must(t, os.Mkdir(from, 0o755))
			must(t, os.Mkdir(to, 0o755))
			for before := range makers {
				for after := range makers {
					makers[before](t, to, before+"-"+after)
					makers[after](t, from, before+"-"+after)
				}
			}
			_, err := run(from, to, Options{Delete: true, Checksum: true, InPlace: inPlace})
			must(t, err)
			checkSame(t, to, from)
		}
	})
}

// TestFullDirectoryIsNotReplacedUnasked: without Delete nothing is lost.
func TestFullDirectoryIsNotReplacedUnasked(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to := t.TempDir(), t.TempDir()
		write(t, from, "x", []byte("a file"))
		write(t, to, "x/inner", []byte("precious"))
		if _, err := run(from, to, Options{}); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("got %v, want an error that says that x is not empty", err)
		}
		if got, err := os.ReadFile(filepath.Join(to, "x/inner")); err != nil || string(got) != "precious" {
			t.Errorf("got %q, %v, want the file untouched", got, err)
		}
	})
}

// TestHardLinksAreNotWrittenThrough: a target that shares files with another
// tree must not change that other tree.
func TestHardLinksAreNotWrittenThrough(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, to, other := t.TempDir(), t.TempDir(), t.TempDir()
		write(t, from, "f", noise(1, 3*blockSize))
		write(t, other, "f", noise(2, 3*blockSize))
		must(t, os.Link(filepath.Join(other, "f"), filepath.Join(to, "f")))
		want := snapshot(t, other)["f"]
		_, err := run(from, to, Options{InPlace: true, Checksum: true})
		must(t, err)
		checkSame(t, to, from)
		if got := snapshot(t, other)["f"]; got != want {
			t.Error("the other tree's file was changed")
		}
	})
}

func TestRoots(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, run func(from, to string, o Options) (Summary, error)) {
		from, dir := sampleTree(t), t.TempDir()
		link := filepath.Join(dir, "link")
		must(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
		must(t, os.Symlink("real", link))
		if _, err := run(from, link, Options{}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("got %v, want a refusal of the link", err)
		}
		_, err := run(from, link, Options{FollowRoot: true})
		must(t, err)
		checkSame(t, filepath.Join(dir, "real"), from)
		_, err = run(from, from, Options{Delete: true})
		checkErrorIs(t, err, errSameDirectory)
		_, err = run(filepath.Join(dir, "missing"), link, Options{FollowRoot: true})
		checkErrorIs(t, err, os.ErrNotExist)
		if _, err := run("relative", dir, Options{}); err == nil {
			t.Error("got no error for a relative root")
		}
		if _, err := run(from, filepath.Join(from, "top"), Options{}); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("got %v, want a refusal of a file as root", err)
		}
	})
}
