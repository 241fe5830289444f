package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// A node that was a primary, or went its own way, becomes a standby again.

type returnsOptions struct {
	Primary standby.Lineage `json:"primary"`
}

type keepWALOptions struct {
	Timeline walcore.Timeline `json:"timeline"`
	Fork     walcore.LSN      `json:"fork"`
	End      walcore.LSN      `json:"end_lsn"`
}

// keptWAL is WAL that only this node had, and where it is now.
type keptWAL struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
}

func rejoinOperations() []operation {
	return []operation{
		onNode("standby", "lineage", engine.Read, "the history that the running primary writes",
			func(ctx context.Context, s *session, _ none) (standby.Lineage, error) { return s.self().Lineage(ctx) }),
		onNode("standby", "returns", engine.Read, "what it takes to make the node follow a primary: nothing, a start, pg_rewind or a copy",
			func(ctx context.Context, s *session, o returnsOptions) (standby.Return, error) {
				return s.self().Returns(ctx, o.Primary)
			}),
		here("cluster", "superseding", engine.Read, "the primary whose history has left the node's behind", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (superseding, error) {
				return findSuperseding(ctx, s, cluster.NodeName(node))
			}
		}),
		onNode("standby", "keep_wal", engine.Change, "copy WAL that only this node has to local/kept, with its marks", keepWAL),
		onNode("standby", "clear_wal", engine.Change, "take segments that the primary's history has nothing of out of the stopped node's pg_wal; those with WAL are copied to local/kept first",
			func(_ context.Context, s *session, o returnsOptions) (keptWAL, error) {
				kept := keptWAL{Path: s.site.Local("kept", cmp.Or(s.run, "wal"))}
				var err error
				kept.Files, err = s.self().ClearWAL(o.Primary, kept.Path)
				return kept, err
			}),
		onNode("standby", "rewind", engine.Change, "pg_rewind the stopped server to a primary, with its own configuration and archive left as they are", rewind),
	}
}

// superseding is a primary and what it writes.
type superseding struct {
	Node    cluster.NodeName `json:"node"`
	Lineage standby.Lineage  `json:"lineage"`
}

// findSuperseding finds the primary that a node is to follow: the one other node
// that runs and accepts writes, and where the node itself does, too, whose history
// has left the node's timeline.
func findSuperseding(ctx context.Context, s *session, node cluster.NodeName) (superseding, error) {
	var found superseding
	others := make([]cluster.Node, 0, len(s.site.Nodes))
	for _, n := range s.site.Nodes {
		if n.Name != node {
			others = append(others, n)
		}
	}
	for i, look := range askAll(others, func(n cluster.Node) (standby.State, error) { return stateOf(ctx, s, n.Name) }) {
		name := others[i].Name
		switch {
		case look.err != nil:
			say(ctx, s, "%s cannot be asked whether it is the primary (%s)", name, oneLine(look.err))
		case look.value.Role != standby.RolePrimary:
		case found.Node != "":
			return found, hint.Wrap(fmt.Errorf("both %s and %s accept writes", found.Node, name), "decide which one is right and stop the other: warmrun status shows their timelines")
		default:
			found.Node = name
		}
	}
	if found.Node == "" {
		return found, hint.Wrap(fmt.Errorf("no other node that answers is a primary which %s could follow", node), "look at: warmrun status; to have %s as the primary: warmrun failover there, or warmrun startPrimary where it was one and was flushed", node)
	}
	var err error
	found.Lineage, err = callOn(ctx, s, found.Node, "standby.lineage", none{},
		func(ctx context.Context, s *session, _ none) (standby.Lineage, error) { return s.self().Lineage(ctx) })
	if err != nil {
		return found, fmt.Errorf("ask %s for its history: %w", found.Node, err)
	}
	return found, notNewer(ctx, s, node, found)
}

// notNewer refuses where the node accepts writes and is not the one that was left
// behind.
func notNewer(ctx context.Context, s *session, node cluster.NodeName, found superseding) error {
	state, err := stateOf(ctx, s, node)
	if err != nil || state.Role != standby.RolePrimary {
		return err
	}
	own, err := callOn(ctx, s, node, "standby.opened", none{},
		func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Opened(ctx) })
	if err != nil {
		return err
	}
	if _, left := found.Lineage.History.Fork(own.Timeline); left {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s accepts writes on timeline %d, and nothing in the history of %s (timeline %d) says that it was left behind", node, own.Timeline, found.Node, found.Lineage.Timeline),
		"decide which of the two is the primary; the other is to be stopped first: pg_ctl stop -m fast there, then warmrun rejoin")
}

func keepWAL(_ context.Context, s *session, o keepWALOptions) (keptWAL, error) {
	kept := keptWAL{Path: s.site.Local("kept", cmp.Or(s.run, "wal"))}
	var err error
	kept.Files, err = s.self().KeepWAL(o.Timeline, o.Fork, o.End, kept.Path)
	return kept, err
}
