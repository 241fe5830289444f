package main

import (
	"context"
	"fmt"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// An old primary comes back: the undo of a change of state.

type bringBackOptions struct {
	Partner cluster.NodeName `json:"partner"`
	// AcceptSplit starts it also where the partner cannot be asked.
	AcceptSplit bool `json:"accept_split"`
}

type underwayOptions struct {
	Timeline walcore.Timeline `json:"timeline"`
}

func bringBackOperations() []operation {
	return []operation{
		onNode("standby", "underway", engine.Read, "whether the node was promoted or may be about to be", promotionUnderway),
		onNode("standby", "start_primary", engine.Change, "remove the signal file, ship WAL again and start as a primary; bring_back checks first", startPrimary),
		here("standby", "bring_back", engine.Change, "start the old primary as a primary again, once it is proved that nobody was promoted", []string{"node"},
			func(s *session) any {
				return func(ctx context.Context, node string, o bringBackOptions) error {
					return bringBack(ctx, s, cluster.NodeName(node), o)
				}
			}),
	}
}

func promotionUnderway(ctx context.Context, s *session, o underwayOptions) (string, error) {
	return s.self().PromotionUnderway(ctx, o.Timeline)
}

// startPrimary makes archiving active before the server starts: its archiver
// begins at once, and what it handed over in between would be dropped and
// missed by the standby for ever.
func startPrimary(ctx context.Context, s *session, _ none) (none, error) {
	if err := endStop(ctx, s); err != nil {
		return none{}, err
	}
	if err := s.self().Unfence(); err != nil {
		return none{}, err
	}
	if _, err := setActive(ctx, s, setActiveOptions{Active: true}); err != nil {
		return none{}, err
	}
	_, err := startServer(ctx, s, 0)
	return none{}, err
}

// endStop completes a stop that is under way. It cannot be called off: the
// server takes no new clients any more, and waits for those it has.
func endStop(ctx context.Context, s *session) error {
	status, err := s.server().Status(ctx)
	if err != nil || !stopping(status) {
		return err
	}
	_, err = stopServer(ctx, s, stopOptions{})
	return err
}

func stopping(status pgctl.Status) bool {
	return status.Running && status.Ready == pgctl.ReadyStopping
}

// bringBack starts the old primary only after its partner's own files prove
// that no promotion happened or is pending. Where the partner cannot be asked
// it refuses: an unknown promotion is not a failed one. A primary that never
// stopped is left as it is.
func bringBack(ctx context.Context, s *session, node cluster.NodeName, o bringBackOptions) error {
	state, err := stateOf(ctx, s, node)
	if err != nil {
		return err
	}
	status, err := pgctlStatus(ctx, s, node)
	if err != nil {
		return err
	}
	if state.Role == standby.RolePrimary && !stopping(status) {
		return nil
	}
	if state.Role != standby.RolePrimary && !state.WasPrimary() {
		return hint.Wrap(fmt.Errorf("%s was not stopped as a primary: it is a %s (%q)", node, state.Role, state.Control.State),
			"run startPrimary on the node that flushPrimary has stopped; to promote a standby: warmrun triggerStandby")
	}
	for _, other := range s.site.Nodes {
		if err := promotedBeside(ctx, s, node, other.Name, state.Control.Timeline, o); err != nil {
			return err
		}
	}
	_, err = callOn(ctx, s, node, "standby.start_primary", none{}, startPrimary)
	return err
}

// promotedBeside is an error when another node was promoted, may be about to
// be, or cannot be asked; for node itself, when a fence ends its timeline.
func promotedBeside(ctx context.Context, s *session, node, other cluster.NodeName, timeline walcore.Timeline, o bringBackOptions) error {
	reason := ""
	fence, err := callOn(ctx, s, other, "fence.read", none{}, readFence)
	for _, cut := range fence.Cuts {
		if cut.Timeline == timeline {
			reason = fmt.Sprintf("the archive on %s says that timeline %d ends at %s (%s)", other, timeline, cut.LSN, cut.By)
		}
	}
	if err == nil && reason == "" && other != node {
		reason, err = callOn(ctx, s, other, "standby.underway", underwayOptions{timeline}, promotionUnderway)
	}
	switch {
	case reason != "":
		return hint.Wrap(fmt.Errorf("%s stays stopped: %s", node, reason),
			"two primaries must not run; look at: warmrun status; if that was called off and nobody was promoted, first on %s: warmrun lowerFence", node)
	case err == nil:
		return nil
	case other != o.Partner && other != node:
		say(ctx, s, "%s cannot be asked whether it was promoted (%v); it is not part of the pair", other, err)
		return nil
	case o.AcceptSplit && other != node:
		say(ctx, s, "RISK: %s cannot be asked whether it was promoted (%v). If it was, two primaries accept writes from now on.", other, err)
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s stays stopped: %s cannot be asked whether it was promoted: %w", node, other, err),
		"when %s answers again, on %s: warmrun startPrimary; when you are sure that it was not promoted: warmrun startPrimary --accept-split", other, node)
}
