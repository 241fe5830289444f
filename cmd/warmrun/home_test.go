package main

import (
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// TestOtherHome: a node whose home is not where cluster.toml says is told so.
func TestOtherHome(t *testing.T) {
	home := t.TempDir()
	site := &cluster.Site{Home: home, Layout: cluster.LayoutTOML, Self: cluster.Node{Name: "db1", Home: home}}
	if got := otherHome(site); got != "" {
		t.Errorf("the home that cluster.toml names: got %q, want no warning", got)
	}
	site.Self.Home = "/srv/db1/warmrun"
	got := otherHome(site)
	for _, want := range []string{home, "/srv/db1/warmrun", "write home = "} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	site.Layout = cluster.Layout2warm
	if got := otherHome(site); got != "" {
		t.Errorf("a 2warm tree: got %q, want no warning", got)
	}
	for word, want := range map[string]bool{"status": true, "switchover": true, "archive": false, "restore": false, "agent": false, "call": false} {
		if got := typed(word); got != want {
			t.Errorf("typed(%q) is %t, want %t", word, got, want)
		}
	}
}
