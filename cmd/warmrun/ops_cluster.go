package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// pair is who is what in the pair at this moment.
type pair struct {
	Primary cluster.NodeName `json:"primary"`
	Standby cluster.NodeName `json:"standby"`
}

// formerPair is a primary and the node that used to be one.
type formerPair struct {
	Primary cluster.NodeName `json:"primary"`
	Other   cluster.NodeName `json:"other"`
	Follows bool             `json:"follows"` // the other runs as a standby of this primary
	Why     string           `json:"why"`     // why a running standby does not follow
}

func clusterOperations() []operation {
	return []operation{
		here("cluster", "node", engine.Read, "a node's settings", []string{"node"}, func(s *session) any {
			return func(_ context.Context, node string) (cluster.Node, error) { return s.site.Node(cluster.NodeName(node)) }
		}),
		here("cluster", "others", engine.Read, "the names of every other node", []string{"node"}, func(s *session) any {
			return func(_ context.Context, node string) ([]string, error) {
				var names []string
				for _, n := range s.site.Nodes {
					if string(n.Name) != node {
						names = append(names, string(n.Name))
					}
				}
				return names, nil
			}
		}),
		here("cluster", "is_primary", engine.Read, "whether the node runs and accepts writes", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (bool, error) {
				state, err := stateOf(ctx, s, cluster.NodeName(node))
				return state.Role == standby.RolePrimary, err
			}
		}),
		here("cluster", "pair", engine.Read, "the names of the primary and of its standby", nil, func(s *session) any {
			return func(ctx context.Context) (pair, error) { return findPair(ctx, s) }
		}),
		here("cluster", "primary_and_other", engine.Read, "the primary, and the other node of the pair whatever its state", nil, func(s *session) any {
			return func(ctx context.Context) (formerPair, error) { return findFormerPair(ctx, s) }
		}),
		here("cluster", "install_here", engine.Change, "put this program into the home directory of this node", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, _ string) error { return installHere(ctx, s) }
		}),
		here("cluster", "distribute", engine.Change, "bring this program and the global files to a node", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) error { return distribute(ctx, s, cluster.NodeName(node)) }
		}),
		onNode("cluster", "partner", engine.Read, "the name of the node's partner", partnerName),
		onNode("cluster", "adopt", engine.Change, "take the files that distrib has brought into use", adopt),
	}
}

// stateOf inspects a node, here or there. What it sees of the DR node is noted. Where
// the link breaks before the answer, the node is asked once more: WAL of one that
// cannot be reached may be given up for that.
func stateOf(ctx context.Context, s *session, name cluster.NodeName) (standby.State, error) {
	look := func() (standby.State, error) {
		return callOn(ctx, s, name, "standby.state", none{},
			func(ctx context.Context, s *session, _ none) (standby.State, error) { return s.self().Inspect(ctx) })
	}
	state, err := look()
	if errors.Is(err, errLinkBroke) && ctx.Err() == nil {
		state, err = look()
	}
	if node, unknown := s.site.Node(name); err == nil && unknown == nil && node.Role == cluster.RoleDR && !s.site.IsSelf(name) {
		noteSighting(ctx, s, name, state)
	}
	return state, err
}

// pairStates looks at both nodes of the pair.
func pairStates(ctx context.Context, s *session) (map[cluster.NodeName]standby.State, error) {
	states := map[cluster.NodeName]standby.State{}
	for _, n := range s.site.Nodes {
		if n.Role != cluster.RolePair {
			continue
		}
		state, err := stateOf(ctx, s, n.Name)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", n.Name, err)
		}
		states[n.Name] = state
	}
	if len(states) != 2 {
		return nil, hint.Wrap(errors.New("this cluster has no pair of nodes"), "name two nodes with role \"pair\" in cluster.toml, or an othernode")
	}
	return states, nil
}

func findPair(ctx context.Context, s *session) (pair, error) {
	if s.site.Self.Role == cluster.RoleDR && drIsPrimary(ctx, s) {
		return pair{}, fromDR(s)
	}
	states, err := pairStates(ctx, s)
	if err != nil {
		return pair{}, err
	}
	var found pair
	for name, state := range states {
		switch state.Role {
		case standby.RolePrimary:
			if found.Primary != "" {
				return pair{}, hint.Wrap(fmt.Errorf("both %s and %s accept writes", found.Primary, name), "decide which one is right and stop the other: warmrun status shows their timelines")
			}
			found.Primary = name
		case standby.RoleStandby, standby.RoleStoppedStandby:
			found.Standby = name
		}
	}
	switch {
	case found.Primary == "" && drIsPrimary(ctx, s):
		return pair{}, fromDR(s)
	case found.Primary == "":
		return pair{}, hint.Wrap(fmt.Errorf("no node of the pair is a running primary (%s)", describeStates(states)), "if the site was stopped with stopSite: warmrun startSite; if the primary is dead: warmrun failover on the standby; if it was flushed: warmrun triggerStandby --archiving there or warmrun startPrimary here")
	case found.Standby == "":
		return pair{}, hint.Wrap(fmt.Errorf("%s has no standby (%s)", found.Primary, describeStates(states)), "build one with configStandby and copyToStandby, or: warmrun switchback --rebuild-only")
	}
	return found, nil
}

func findFormerPair(ctx context.Context, s *session) (formerPair, error) {
	if s.site.Self.Role == cluster.RoleDR && drIsPrimary(ctx, s) {
		return formerPair{}, fromDR(s)
	}
	states, err := pairStates(ctx, s)
	if err != nil {
		return formerPair{}, err
	}
	var found formerPair
	primaries := 0
	for name, state := range states {
		if state.Role == standby.RolePrimary {
			found.Primary = name
			primaries++
			continue
		}
		found.Other, found.Follows = name, state.Role == standby.RoleStandby
	}
	if primaries == 0 && drIsPrimary(ctx, s) {
		return formerPair{}, fromDR(s)
	}
	if primaries != 1 {
		return formerPair{}, hint.Wrap(fmt.Errorf("the pair has %d running primaries (%s)", primaries, describeStates(states)), "exactly one node must be the primary: warmrun status")
	}
	if found.Follows {
		descent, err := followsPrimary(ctx, s, found.Other, found.Primary)
		if err != nil {
			return formerPair{}, err
		}
		found.Follows, found.Why = descent.OK, descent.Reason
	}
	return found, nil
}

// drIsPrimary reports whether the DR node runs as the primary, as far as it can
// be asked.
func drIsPrimary(ctx context.Context, s *session) bool {
	dr, ok := s.site.DR()
	if !ok {
		return false
	}
	state, err := stateOf(ctx, s, dr.Name)
	return err == nil && state.Role == standby.RolePrimary
}

// fromDR is why the pair does not change places while the DR node is the
// primary.
func fromDR(s *session) error {
	dr, _ := s.site.DR()
	return hint.Wrap(fmt.Errorf("%s, the DR node, is the primary", dr.Name),
		"the way back to the pair is by hand, and warmrun status says the next step of it")
}

func describeStates(states map[cluster.NodeName]standby.State) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s: %s", name, states[name].Role)
	}
	return text
}
