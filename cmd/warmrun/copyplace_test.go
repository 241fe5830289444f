package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// TestParseRoute: which directory becomes which, by rsync's rule for a slash at
// the end of the source.
func TestParseRoute(t *testing.T) {
	work, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	site := &cluster.Site{Self: cluster.Node{Name: "db1"}, Nodes: []cluster.Node{{Name: "db1"}, {Name: "db2"}, {Name: "dr"}}}
	for _, test := range []struct {
		source, target, from, to, prefix string
	}{
		{"/a/tree", "db2:/b", "/a/tree", "db2:/b/tree", "tree/"},
		{"/a/tree/", "db2:/b", "/a/tree", "db2:/b", ""},
		{"/a/tree/", "db2:/b/", "/a/tree", "db2:/b", ""},
		{"/a/tree/.", "db2:/b", "/a/tree", "db2:/b", ""},
		{"/", "db2:/b", "/", "db2:/b", ""},
		{"db2:/a/tree", "/b", "db2:/a/tree", "/b/tree", "tree/"},
		{"db2:/", "/b", "db2:/", "/b", ""},
		{"db2:/a/../c/", "/b", "db2:/c", "/b", ""},
		{"db1:/a", "/b", "/a", "/b/a", "a/"},
		{".", "db2:/b", work, "db2:/b", ""},
		{"..", "db2:/b", filepath.Dir(work), "db2:/b", ""},
		{"tree", "db2:/b", filepath.Join(work, "tree"), "db2:/b/tree", "tree/"},
		{"./db2:/a", "/b", filepath.Join(work, "db2:/a"), "/b/a", "a/"},
	} {
		r, err := parseRoute(site, test.source, test.target)
		if err != nil || r.from.String() != test.from || r.to.String() != test.to || r.prefix != test.prefix {
			t.Errorf("%s %s: got %s to %s with %q, %v; want %s to %s with %q", test.source, test.target, r.from, r.to, r.prefix, err, test.from, test.to, test.prefix)
		}
	}
	for _, test := range []struct{ source, target, hint string }{
		{"db2:/a", "dr:/b", "run the copy on db2 or on dr"},
		{"db2:a", "/b", "write it as db2:/DIR"},
		{"/a", "db2:", "write it as db2:/DIR"},
		{"", "db2:/b", ""},
		{"/a", "db9:/b", "the nodes of this cluster are db1, db2, dr (global/cluster.toml)"},
	} {
		_, err := parseRoute(site, test.source, test.target)
		var usage usageError
		if !errors.As(err, &usage) || hint.Of(err) != test.hint {
			t.Errorf("%q %q: got %v with hint %q, want a usage error with hint %q", test.source, test.target, err, hint.Of(err), test.hint)
		}
	}
}

// TestBelow: what is kept of a target, as a pattern.
func TestBelow(t *testing.T) {
	for _, test := range []struct{ root, path, want string }{
		{"/srv", "/srv/db/archive", "/db/archive"},
		{"/", "/srv/archive", "/srv/archive"},
		{"/srv/db", "/srv/db", ""},
		{"/srv/db", "/srv/dbs/archive", ""},
		{"/srv/db", "", ""},
	} {
		got := ""
		if patterns := below(test.root, test.path); len(patterns) > 0 {
			got = patterns[0]
		}
		if got != test.want {
			t.Errorf("%s below %s: got %q, want %q", test.path, test.root, got, test.want)
		}
	}
}
