package main

import (
	"slices"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
)

func TestNodesThatArchivingNeeds(t *testing.T) {
	nodes := []cluster.Node{{Name: "db1", Role: cluster.RolePair}, {Name: "db2", Role: cluster.RolePair}, {Name: "dr", Role: cluster.RoleDR}}
	type names = []cluster.NodeName
	for _, test := range []struct {
		require cluster.Require
		primary cluster.NodeName
		reached names
		want    names
		others  bool
	}{
		{cluster.RequireStandby, "db2", names{"db1", "dr"}, nil, true},
		{cluster.RequireStandby, "db2", names{"dr"}, names{"db1"}, true},
		{cluster.RequireStandby, "db2", names{"db1"}, nil, true},
		{cluster.RequireStandby, "db2", nil, names{"db1", "dr"}, false},
		{cluster.RequireStandby, "dr", nil, names{"db1", "db2"}, false},
		{cluster.RequireAll, "db2", names{"db1"}, names{"dr"}, true},
		{cluster.RequireAny, "db2", names{"dr"}, nil, true},
		{cluster.RequireAny, "db2", nil, names{"db1", "dr"}, false},
	} {
		reached := map[cluster.NodeName]bool{}
		for _, name := range test.reached {
			reached[name] = true
		}
		got, others := needed(&cluster.Site{Nodes: nodes, Archiving: cluster.Archiving{Require: test.require}}, test.primary, reached)
		if !slices.Equal(got, test.want) || others != test.others {
			t.Errorf("%s, primary %s, reached %s: got %s, %v, want %s, %v", test.require, test.primary, test.reached, got, others, test.want, test.others)
		}
	}
}
