package main

import (
	"context"
	"fmt"
	"time"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// proveOptions is where the stopped primary's WAL ends.
type proveOptions struct {
	LSN        walcore.LSN      `json:"lsn"`
	Timeline   walcore.Timeline `json:"timeline"`
	Checkpoint walcore.LSN      `json:"checkpoint"`
	// Seen is where the standby was known to be before the primary stopped.
	Seen    standby.Opened `json:"seen"`
	Timeout time.Duration  `json:"timeout"`
}

type primaryOption struct {
	Primary cluster.NodeName `json:"primary"`
}

type forkedOptions struct {
	Timeline walcore.Timeline `json:"timeline"`
}

// descendsOptions is how far another node, named for messages, has replayed.
type descendsOptions struct {
	Name string         `json:"name"`
	At   standby.Opened `json:"at"`
}

// lineageOperations tell a standby of the primary from a server in recovery
// that has gone its own way.
func lineageOperations() []operation {
	return []operation{
		onNode("standby", "prove_replay", engine.Wait, "wait until the server has replayed all of a stopped primary's WAL, and say how that is known", proveReplay),
		onNode("standby", "position", engine.Read, "exactly how far the node has replayed, after a restartpoint", positionHere),
		onNode("standby", "descends", engine.Read, "whether a position lies on the history of this primary", descendsHere),
		onNode("standby", "forked", engine.Wait, "where a timeline of the node's server left the one before",
			func(_ context.Context, s *session, o forkedOptions) (standby.Fork, error) {
				return s.self().Forked(o.Timeline)
			}),
		here("standby", "follows_primary", engine.Read, "whether a standby has replayed nothing but the primary's WAL", []string{"node"},
			func(s *session) any {
				return func(ctx context.Context, node string, o primaryOption) (standby.Descent, error) {
					return followsPrimary(ctx, s, cluster.NodeName(node), o.Primary)
				}
			}),
	}
}

func proveReplay(ctx context.Context, s *session, o proveOptions) (standby.Proof, error) {
	point := standby.Point{Timeline: o.Timeline, Checkpoint: o.Checkpoint, End: o.LSN, Clean: o.Checkpoint != 0}
	defer s.tellReplay(ctx, o.LSN)()
	return s.self().ProveReplay(ctx, point, o.Seen, orDefault(o.Timeout, 10*time.Minute))
}

func positionHere(ctx context.Context, s *session, _ none) (standby.Opened, error) {
	return s.self().Position(ctx)
}

func descendsHere(ctx context.Context, s *session, o descendsOptions) (standby.Descent, error) {
	return s.self().Descends(ctx, o.Name, o.At)
}

// followsPrimary tells a standby of this primary from a server in recovery that
// belongs to another cluster, or that has gone its own way since a promotion.
func followsPrimary(ctx context.Context, s *session, node, primary cluster.NodeName) (standby.Descent, error) {
	first, err := controlOf(ctx, s, primary)
	if err != nil {
		return standby.Descent{}, fmt.Errorf("read the control file of %s: %w", primary, err)
	}
	second, err := controlOf(ctx, s, node)
	if err != nil {
		return standby.Descent{}, fmt.Errorf("read the control file of %s: %w", node, err)
	}
	if first.SystemID != second.SystemID {
		return standby.Descent{Reason: fmt.Sprintf("%s and %s are different clusters (system identifiers %d and %d)", primary, node, first.SystemID, second.SystemID)}, nil
	}
	at, err := callOn(ctx, s, node, "standby.position", none{}, positionHere)
	if err != nil {
		return standby.Descent{}, err
	}
	return callOn(ctx, s, primary, "standby.descends", descendsOptions{Name: string(node), At: at}, descendsHere)
}
