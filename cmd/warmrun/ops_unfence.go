package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// A fence that is left: a change of state was called off before its promotion,
// and could not reach every archive to lower its fence again, or was killed.

// leftFence is the fences that are left on a primary's timeline.
type leftFence struct {
	Timeline walcore.Timeline `json:"timeline"`
	// Cuts are one for each node whose archive has it.
	Cuts []nodeCut `json:"cuts"`
}

type nodeCut struct {
	Node cluster.NodeName `json:"node"`
	LSN  walcore.LSN      `json:"lsn"`
	By   string           `json:"by"`
}

func unfenceOperations() []operation {
	return []operation{
		here("fence", "left", engine.Read, "the fences on the node's timeline, once it is proved that nobody was promoted", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o acceptSplitOption) (leftFence, error) {
				return findLeftFence(ctx, s, cluster.NodeName(node), o.AcceptSplit)
			}
		}),
		here("fence", "take_back", engine.Change, "take the fences that are left on the node's timeline out of every archive", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o acceptSplitOption) (leftFence, error) {
				return takeBackFence(ctx, s, cluster.NodeName(node), o.AcceptSplit)
			}
		}),
	}
}

// findLeftFence refuses where a fence may be right: where any node was promoted
// or may be about to be, where an archive knows a newer timeline, and where a
// node cannot be asked, unless that is accepted.
func findLeftFence(ctx context.Context, s *session, node cluster.NodeName, acceptSplit bool) (leftFence, error) {
	state, err := stateOf(ctx, s, node)
	if err != nil {
		return leftFence{}, err
	}
	if state.Role != standby.RolePrimary && !state.WasPrimary() {
		return leftFence{}, hint.Wrap(fmt.Errorf("%s is a %s, and a fence is taken back on the primary that it stands against", node, state.Role),
			"warmrun status shows which node that is")
	}
	left := leftFence{Timeline: writingTimeline(ctx, s, node, state), Cuts: []nodeCut{}}
	for _, n := range s.site.Nodes {
		cuts, err := cutsOn(ctx, s, n.Name, node, left.Timeline)
		var promoted *promotedError
		switch {
		case err == nil:
			left.Cuts = append(left.Cuts, cuts...)
		case errors.As(err, &promoted):
			return leftFence{}, hint.Wrap(fmt.Errorf("the fence stays: %w", err),
				"it is right: %s must become a standby of the new primary: warmrun rejoin there", node)
		case n.Name != node && acceptSplit:
			say(ctx, s, "RISK: %s cannot be asked whether it was promoted (%v). If it was, two histories go on from now.", n.Name, err)
		default:
			return leftFence{}, hint.Wrap(fmt.Errorf("the fence stays: %s cannot be asked whether it was promoted: %w", n.Name, err),
				"repeat when it answers; when you are sure that it was not promoted: warmrun lowerFence --accept-split")
		}
	}
	return left, nil
}

// promotedError says that a node was promoted, or may be about to be.
type promotedError struct{ reason string }

func (e *promotedError) Error() string { return e.reason }

// cutsOn reads the fence in a node's archive, and looks for every sign that the
// timeline was left for another.
func cutsOn(ctx context.Context, s *session, on, primary cluster.NodeName, timeline walcore.Timeline) ([]nodeCut, error) {
	fence, err := callOn(ctx, s, on, "fence.read", none{}, readFence)
	if err != nil {
		return nil, err
	}
	if on != primary {
		reason, err := callOn(ctx, s, on, "standby.underway", underwayOptions{timeline}, promotionUnderway)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			return nil, &promotedError{reason}
		}
	}
	chain, err := chainOf(ctx, s, on)
	if err != nil {
		return nil, err
	}
	if chain.Timeline > timeline {
		return nil, &promotedError{fmt.Sprintf("the archive on %s has WAL or the history of timeline %d, newer than %d", on, chain.Timeline, timeline)}
	}
	var cuts []nodeCut
	for _, cut := range fence.Cuts {
		if cut.Timeline == timeline {
			cuts = append(cuts, nodeCut{Node: on, LSN: cut.LSN, By: cut.By})
		}
	}
	return cuts, nil
}

func takeBackFence(ctx context.Context, s *session, node cluster.NodeName, acceptSplit bool) (leftFence, error) {
	left, err := findLeftFence(ctx, s, node, acceptSplit)
	if err != nil {
		return left, err
	}
	for _, cut := range left.Cuts {
		if _, err := callOn(ctx, s, cut.Node, "fence.clear", fenceOptions{Timeline: left.Timeline, LSN: cut.LSN, By: cut.By}, clearFence); err != nil {
			return left, fmt.Errorf("take the fence out of the archive on %s: %w", cut.Node, err)
		}
		say(ctx, s, "The archive on %s takes WAL of timeline %d past %s again (fence by %s)", cut.Node, left.Timeline, cut.LSN, cut.By)
	}
	return left, nil
}
