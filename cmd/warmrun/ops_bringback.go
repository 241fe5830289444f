package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// An old primary comes back: the undo of a change of state.

type bringBackOptions struct {
	Partner cluster.NodeName `json:"partner"`
	// AcceptSplit starts it also where another node cannot be asked.
	AcceptSplit bool `json:"accept_split"`
	// Undo: the run that stopped the primary starts it again. A DR node that
	// cannot be asked does not keep it from that: the primary accepted writes
	// when the run began, and ending that is no reason not to go on with it.
	Undo bool `json:"undo"`
}

type underwayOptions struct {
	Timeline walcore.Timeline `json:"timeline"`
}

func bringBackOperations() []operation {
	return []operation{
		onNode("standby", "underway", engine.Read, "whether the node was promoted or may be about to be", promotionUnderway),
		onNode("standby", "offshoots", engine.Read, "the timelines that left another one, by what the node has of them", offshoots),
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

func offshoots(_ context.Context, s *session, o underwayOptions) ([]standby.Offshoot, error) {
	return s.self().Offshoots(o.Timeline)
}

func offshootsOf(ctx context.Context, s *session, node cluster.NodeName, timeline walcore.Timeline) ([]standby.Offshoot, error) {
	return callOn(ctx, s, node, "standby.offshoots", underwayOptions{timeline}, offshoots)
}

// startPrimary starts this node as the primary it was, under the node's own
// lock. Whoever asks for it may have looked long ago, or be the undo of a run
// that another one has overtaken: so it looks itself, right before it removes
// the signal file.
func startPrimary(ctx context.Context, s *session, _ none) (none, error) {
	return none{}, withLockHere(s, "startPrimary", func() error {
		if err := endStop(ctx, s); err != nil {
			return err
		}
		state, err := s.self().Inspect(ctx)
		if err != nil {
			return err
		}
		if state.Role == standby.RolePrimary {
			return nil
		}
		if err := mayBePrimary(ctx, s, state); err != nil {
			return engine.NotBegun(err)
		}
		return liftAndStart(ctx, s, state.Fenced)
	})
}

// mayBePrimary refuses where this node follows another, was not a primary, or
// was superseded by what any node that can be reached knows. Those that cannot
// be reached are for bringBack to judge.
func mayBePrimary(ctx context.Context, s *session, state standby.State) error {
	self := s.site.Self.Name
	if err := wasPrimary(self, state); err != nil {
		return err
	}
	for _, other := range s.site.Nodes {
		reason, err := superseded(ctx, s, self, other.Name, state.Control.Timeline)
		if reason != "" {
			return staysStopped(self, reason)
		}
		if err != nil && other.Name == self {
			return hint.Wrap(fmt.Errorf("%s stays stopped: %w", self, err), "mend that, then on %s: warmrun startPrimary", self)
		}
	}
	return nil
}

// liftAndStart makes archiving active before a server starts that was fenced: its
// archiver begins at once, and what it handed over in between would be dropped and
// missed by the standby for ever. The signal file goes last, for without it nobody
// knows that archiving was active. A primary that only went down ships as it did.
func liftAndStart(ctx context.Context, s *session, fenced bool) error {
	if fenced {
		if _, err := setActive(ctx, s, setActiveOptions{Active: true}); err != nil {
			return err
		}
	}
	if err := s.self().Unfence(); err != nil {
		return err
	}
	_, err := startServer(ctx, s, 0)
	return err
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
// that no promotion happened or is pending. Where a node cannot be asked it
// refuses: an unknown promotion is not a failed one. A primary that never
// stopped is left as it is.
func bringBack(ctx context.Context, s *session, node cluster.NodeName, o bringBackOptions) error {
	runs, err := mayComeBack(ctx, s, node, o)
	if err != nil || runs {
		return engine.NotBegun(err)
	}
	_, err = callOn(ctx, s, node, "standby.start_primary", none{}, startPrimary)
	return err
}

// mayComeBack refuses where the old primary must stay stopped. Runs says that
// it never was.
func mayComeBack(ctx context.Context, s *session, node cluster.NodeName, o bringBackOptions) (runs bool, err error) {
	state, err := stateOf(ctx, s, node)
	if err != nil {
		return false, err
	}
	if state.Role != standby.RolePrimary {
		if err := wasPrimary(node, state); err != nil {
			return false, err
		}
	}
	status, err := pgctlStatus(ctx, s, node)
	if err != nil {
		return false, err
	}
	if state.Role == standby.RolePrimary && !stopping(status) {
		return true, nil
	}
	if o.Undo {
		// The undo of the fence passes over an archive that cannot be reached, and may
		// be long ago when the run is rolled back.
		if err := liftFence(ctx, s, node); err != nil {
			return false, err
		}
	}
	for _, other := range s.site.Nodes {
		if err := promotedBeside(ctx, s, node, other, state.Control.Timeline, o); err != nil {
			return false, err
		}
	}
	return false, nil
}

// wasPrimary is an error for a node that does not run as a primary and did not
// before it was stopped.
func wasPrimary(node cluster.NodeName, state standby.State) error {
	if state.WasPrimary() {
		return nil
	}
	is := fmt.Sprintf("it is a %s (%q)", state.Role, state.Control.State)
	if state.Role == standby.RoleEmpty {
		is = "it has no data directory"
	}
	return hint.Wrap(fmt.Errorf("%s was not stopped as a primary: %s", node, is),
		"run startPrimary on the node that flushPrimary has stopped; to promote a standby: warmrun triggerStandby")
}

// superseded says how another node shows that a stopped primary's timeline was
// ended: by a fence, by a history, or by being promoted itself. Empty with a nil
// error means that it shows nothing of the kind. It may be the node itself,
// whose own archive is read then. A node whose archive cannot be read is asked
// for the rest all the same.
func superseded(ctx context.Context, s *session, node, other cluster.NodeName, timeline walcore.Timeline) (string, error) {
	fence, err := callOn(ctx, s, other, "fence.read", none{}, readFence)
	if cut, ok := fence.Cut(timeline); ok {
		return fmt.Sprintf("the archive on %s says that timeline %d ends at %s (%s, %s)", other, timeline, cut.LSN, cut.By, cut.At.Format("2006-01-02 15:04:05 MST")), nil
	}
	if remote.Unreachable(err) {
		return "", err
	}
	offshoots, unread := offshootsOf(ctx, s, other, timeline)
	if len(offshoots) > 0 {
		return fmt.Sprintf("timeline %d has left timeline %d at %s, says %s on %s: a server was promoted there", offshoots[0].Timeline, timeline, offshoots[0].LSN, offshoots[0].Path, other), nil
	}
	if other == node {
		return "", errors.Join(err, unread)
	}
	reason, unknown := callOn(ctx, s, other, "standby.underway", underwayOptions{timeline}, promotionUnderway)
	return reason, errors.Join(err, unread, unknown)
}

// nonePromoted refuses where a node that can be reached shows that the running
// primary was superseded: what it ships would be of a dead branch.
func nonePromoted(ctx context.Context, s *session, primary cluster.NodeName) error {
	now, err := callOn(ctx, s, primary, "standby.opened", none{},
		func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Opened(ctx) })
	if err != nil {
		return err
	}
	for _, other := range s.site.Nodes {
		reason, err := superseded(ctx, s, primary, other.Name, now.Timeline)
		switch {
		case reason != "":
			return hint.Wrap(fmt.Errorf("%s (timeline %d) may have been superseded: %s", primary, now.Timeline, reason),
				"decide which node is the primary before anything is stopped: warmrun status shows their timelines. If it is a fence that a broken off run has left, with every node up: warmrun startPrimary on %s", primary)
		case err != nil && other.Name == primary:
			return err
		case err != nil:
			say(ctx, s, "%s cannot be asked whether it was promoted (%s); a promotion may want --accept-split then", other.Name, oneLine(err))
		}
	}
	return nil
}

func staysStopped(node cluster.NodeName, reason string) error {
	return hint.Wrap(fmt.Errorf("%s stays stopped: %s", node, reason),
		"two primaries must not run; warmrun status shows whether one was promoted: then %[1]s is to follow it. If none was, go on forward: warmrun triggerStandby --archiving on the standby; a fence that a broken off run has left is taken down by startPrimary on %[1]s, but only with every node up", node)
}

// promotedBeside is an error when another node was promoted, may be about to
// be, or cannot be asked; for node itself, when its own archive shows that it
// was superseded.
func promotedBeside(ctx context.Context, s *session, node cluster.NodeName, other cluster.Node, timeline walcore.Timeline, o bringBackOptions) error {
	reason, err := superseded(ctx, s, node, other.Name, timeline)
	switch {
	case reason != "":
		return staysStopped(node, reason)
	case err == nil:
		return nil
	case other.Name != node && other.Role == cluster.RoleDR && nothingThere(s, other.Name):
		return nil
	case other.Name != node && other.Role == cluster.RoleDR && other.Name != o.Partner && o.Undo:
		say(ctx, s, "%s cannot be asked whether it was promoted (%s); %s accepted writes when this run began and goes on", other.Name, oneLine(err), node)
		return nil
	case other.Name != node && o.AcceptSplit:
		say(ctx, s, "RISK: %s cannot be asked whether it was promoted (%s). If it was, two primaries accept writes from now on.", other.Name, oneLine(err))
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s stays stopped: %s cannot be asked whether it was promoted: %s", node, other.Name, oneLine(err)),
		"when %s answers again, on %s: warmrun startPrimary; when you are sure that it was not promoted: warmrun startPrimary --accept-split", other.Name, node)
}
