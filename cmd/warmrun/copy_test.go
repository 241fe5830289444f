package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
)

func TestInsidePGDATA(t *testing.T) {
	tests := []struct {
		node cluster.Node
		want []string
	}{
		{cluster.Node{PGData: "/data", Archive: "/data/archive", Trigger: "/data/trigger", Home: "/2warm"}, []string{"/archive", "/trigger"}},
		{cluster.Node{PGData: "/var/pg/data", Archive: "/var/pg/warmrun/archive", Trigger: "/var/pg/warmrun/local/trigger", Home: "/var/pg/warmrun"}, nil},
		{cluster.Node{PGData: "/data", Archive: "/data/wal/archive", Trigger: "/data", Home: "/data/warmrun"}, []string{"/wal/archive", "/warmrun"}},
		{cluster.Node{PGData: "/data", Archive: `/data/wal [1]*?\x`, Home: "/2warm"}, []string{`/wal \[1]\*\?\\x`}},
	}
	for _, tt := range tests {
		if got := insidePGDATA(newView(tt.node, "/data")); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %q, want %q", tt.node, got, tt.want)
		}
	}
}

// TestInsidePGDATABehindLinks: an archive lies in the data directory also where
// either is named by way of a link, and a link to an archive is kept itself.
func TestInsidePGDATABehindLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.MkdirAll(filepath.Join(dir, "disk/data/archive"), 0o700), os.Mkdir(filepath.Join(dir, "elsewhere"), 0o700),
		os.Symlink("disk/data", filepath.Join(dir, "data")), os.Symlink("../../elsewhere", filepath.Join(dir, "disk/data/linked")))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ pgdata, archive, want string }{
		{"data", "disk/data/archive", "/archive"},
		{"disk/data", "data/archive", "/archive"},
		{"data", "disk/data/not/yet", "/not/yet"},
		{"data", "data/linked", "/linked"},
	} {
		named := newView(cluster.Node{PGData: filepath.Join(dir, tt.pgdata), Archive: filepath.Join(dir, tt.archive)}, "/")
		resolved, err := named.resolved()
		if got := insidePGDATA(named, resolved); err != nil || !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s in %s: got %q, %v; want %q", tt.archive, tt.pgdata, got, err, tt.want)
		}
	}
}
