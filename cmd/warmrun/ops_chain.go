package main

import (
	"context"
	"errors"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

func chainOperations() []operation {
	return []operation{
		onNode("archive", "chain", engine.Read, "how far the node's archive goes without a gap, and on which timeline", chainHere),
	}
}

// chainHere is empty where there is no archive.
func chainHere(_ context.Context, s *session, _ none) (walcore.Chain, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		return walcore.Chain{}, nil
	}
	if err != nil {
		return walcore.Chain{}, err
	}
	return archive.Chain("")
}

func chainOf(ctx context.Context, s *session, node cluster.NodeName) (walcore.Chain, error) {
	return callOn(ctx, s, node, "archive.chain", none{}, chainHere)
}

// otherChains asks every archive of the cluster but this node's and the one
// given how far it goes. One that cannot be asked is left out: the relay must
// work while a node is down.
func (s *session) otherChains(ctx context.Context, to cluster.NodeName) []ship.Known {
	var known []ship.Known
	for _, n := range s.site.Nodes {
		if s.site.IsSelf(n.Name) || n.Name == to {
			continue
		}
		if chain, err := chainOf(ctx, s, n.Name); err == nil {
			known = append(known, ship.Known{Node: string(n.Name), Chain: chain})
		}
	}
	return known
}
