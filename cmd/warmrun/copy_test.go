package main

import (
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
	}
	for _, tt := range tests {
		if got := insidePGDATA(tt.node); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %q, want %q", tt.node, got, tt.want)
		}
	}
}
