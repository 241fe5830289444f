package main

import (
	"context"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// writingTimeline is the timeline that a node writes on, or would write on. A
// server that was promoted a moment ago has the old one in its control file
// until its first checkpoint is complete, so it is asked itself where it
// answers.
func writingTimeline(ctx context.Context, s *session, node cluster.NodeName, state standby.State) walcore.Timeline {
	if state.Role != standby.RolePrimary {
		return state.Control.Timeline
	}
	opened, err := callOn(ctx, s, node, "standby.opened", none{},
		func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Opened(ctx) })
	if err != nil {
		return state.Control.Timeline
	}
	return opened.Timeline
}
