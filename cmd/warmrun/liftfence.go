package main

import (
	"context"
	"fmt"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// A run that was killed after it raised the fence, or that could not reach an
// archive when it took the fence down, leaves a cut on a timeline that goes on.

// liftable are the cuts on a primary's timeline in all archives, when every node
// of the site can be asked and not one was promoted, may be about to be, or has
// the history of a promotion. The run that calls it holds the lock of all of them,
// so none can be meanwhile. Otherwise there are none, and nothing is said: what
// starts the primary finds the fence, and tells why.
func liftable(ctx context.Context, s *session, primary cluster.NodeName) ([]leftCut, error) {
	state, err := stateOf(ctx, s, primary)
	if err != nil || state.Role != standby.RolePrimary && !state.WasPrimary() {
		return nil, err
	}
	var left []leftCut
	for _, n := range s.site.Nodes {
		cuts, quiet := cutsOf(ctx, s, primary, n.Name, state.Control.Timeline)
		if !quiet {
			return nil, nil
		}
		left = append(left, cuts...)
	}
	return left, nil
}

// liftFence takes out of the archives what is liftable.
func liftFence(ctx context.Context, s *session, primary cluster.NodeName) error {
	left, err := liftable(ctx, s, primary)
	if err != nil {
		return err
	}
	for _, l := range left {
		o := fenceOptions{Timeline: l.cut.Timeline, LSN: l.cut.LSN, By: l.cut.By}
		if _, err := callOn(ctx, s, l.node, "fence.clear", o, clearFence); err != nil {
			return fmt.Errorf("take the fence out of the archive on %s: %w", l.node, err)
		}
		say(ctx, s, "The archive on %s takes WAL of timeline %d again: %s had ended it at %s, and no node was promoted", l.node, l.cut.Timeline, l.cut.By, l.cut.LSN)
	}
	return nil
}

// leftCut is a cut in the archive of a node.
type leftCut struct {
	node cluster.NodeName
	cut  walcore.Cut
}

// cutsOf are a node's cuts on the timeline; quiet is false where the node cannot
// be asked, or shows a promotion by anything but those.
func cutsOf(ctx context.Context, s *session, primary, node cluster.NodeName, timeline walcore.Timeline) (cuts []leftCut, quiet bool) {
	fence, err := callOn(ctx, s, node, "fence.read", none{}, readFence)
	if err != nil {
		return nil, false
	}
	offshoots, err := offshootsOf(ctx, s, node, timeline)
	if err != nil || len(offshoots) > 0 {
		return nil, false
	}
	if node != primary {
		reason, err := callOn(ctx, s, node, "standby.underway", underwayOptions{timeline}, promotionUnderway)
		if err != nil || reason != "" {
			return nil, false
		}
	}
	for _, cut := range fence.Cuts {
		if cut.Timeline == timeline {
			cuts = append(cuts, leftCut{node, cut})
		}
	}
	return cuts, true
}
