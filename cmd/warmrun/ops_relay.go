package main

import (
	"context"
	"fmt"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

func relayOperations() []operation {
	return []operation{
		onNode("relay", "run", engine.Change, "relay the node's archive to another, and check that nothing is missing there", relayRun),
		onNode("relay", "push", engine.Change, "relay the node's archive without looking further for what it lacks itself", relayPush),
		here("relay", "try", engine.Change, "relay where possible; say so and go on where not", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o toOption) error {
				if _, err := callOn(ctx, s, cluster.NodeName(node), "relay.run", o, relayRun); err != nil {
					say(ctx, s, "WARNING: %s does not have everything yet: %v", o.To, err)
					say(ctx, s, "Repeat later on %s: warmrun rsyncDR", node)
				}
				return nil
			}
		}),
	}
}

// relays reports whether this node relays its archive to another: what the DR
// node has not taken yet must stay here. The DR node itself relays to nobody,
// and never has a watermark to clean up to.
func (s *session) relays() bool {
	dr, ok := s.site.DR()
	return ok && !s.site.IsSelf(dr.Name)
}

func relayPush(ctx context.Context, s *session, o toOption) (ship.RelayResult, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return ship.RelayResult{}, err
	}
	if _, err := stateOf(ctx, s, o.To); err != nil {
		return ship.RelayResult{}, err
	}
	progress, err := progressOf(ctx, s, o.To)
	if err != nil {
		return ship.RelayResult{}, err
	}
	client, err := s.shipTo(ctx, o.To)
	if err != nil {
		return ship.RelayResult{}, fmt.Errorf("reach the archive on %s: %w", o.To, err)
	}
	defer client.Close()
	return ship.RelayAll(ctx, ship.RelayRequest{
		From: archive, To: client, Node: string(o.To), Need: progress.Needs, Known: s.otherChains(ctx, o.To), Out: s.live(ctx),
	})
}

// relayRun relays, and where the other side then lacks something that this
// node never had (it was the primary itself when that was written), has the
// partner relay from its archive too.
func relayRun(ctx context.Context, s *session, o toOption) (ship.RelayResult, error) {
	result, err := relayPush(ctx, s, o)
	partner, ok := s.site.Partner()
	if err == nil || !ok || partner.Name == o.To || remote.Unreachable(err) {
		return result, err
	}
	say(ctx, s, "%v; trying the archive on %s", err, partner.Name)
	if _, partnerErr := callOn(ctx, s, partner.Name, "relay.push", o, relayPush); partnerErr != nil {
		say(ctx, s, "%s: %v", partner.Name, partnerErr)
	}
	return relayPush(ctx, s, o)
}
