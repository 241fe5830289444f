package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// A rival is any node that might accept writes beside the one about to be
// promoted.

type acceptSplitOption struct {
	AcceptSplit bool `json:"accept_split"`
}

// checkRivalsOptions bend the check before a promotion.
type checkRivalsOptions struct {
	AcceptSplit bool `json:"accept_split"`
	// NothingLeft also asks that no dead primary that answers has WAL which the
	// node to be promoted lacks.
	NothingLeft bool `json:"nothing_left"`
	// Fast: what the node to be promoted has not replayed is given up.
	Fast bool `json:"fast"`
	// Handover: a switchover has seen the primary run, and has stopped it.
	Handover bool `json:"handover"`
	// Stopped is a node that the run has stopped by then; a plan cannot see it so.
	Stopped cluster.NodeName `json:"stopped"`
	// Hook: what cannot be asked is left to the site's fencing hook, which rivals.fence
	// runs afterwards.
	Hook bool `json:"hook"`
	// Off are the nodes that the hook has said are off.
	Off []cluster.NodeName `json:"off"`
	// Checked: the run that this one is part of has just checked all this.
	Checked bool `json:"checked"`
}

func rivalOperations() []operation {
	return []operation{
		here("rivals", "check", engine.Read, "that no other node accepts writes, as far as they can be reached", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o checkRivalsOptions) error {
				return checkRivals(ctx, s, cluster.NodeName(node), o)
			}
		}),
		here("rivals", "none_promoted", engine.Read, "that no other node which can be reached was promoted beside the running primary", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) error {
				return nonePromoted(ctx, s, cluster.NodeName(node))
			}
		}),
		here("rivals", "fence", engine.Change, "make every stopped old primary unable to start as a primary, and have the site's fencing hook switch off what cannot be asked", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o acceptSplitOption) (fencedRivals, error) {
				return fenceRivals(ctx, s, cluster.NodeName(node), o.AcceptSplit)
			}
		}),
		here("rivals", "salvage", engine.Change, "fetch what a dead primary had flushed and not archived", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (salvaged, error) {
				return salvageRivals(ctx, s, cluster.NodeName(node))
			}
		}),
		here("rivals", "collect", engine.Change, "fetch what other archives have and the node's archive lacks", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (int, error) {
				return collect(ctx, s, cluster.NodeName(node))
			}
		}),
		here("rivals", "loss", engine.Read, "what is lost when the node is promoted now", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o lossOptions) (lossResult, error) {
				return announceLoss(ctx, s, cluster.NodeName(node), o)
			}
		}),
		onNode("standby", "holds_stop", engine.Read, "where the shutdown checkpoint of another server ends, if this archive has it", holdsStop),
		onNode("archive", "pull", engine.Change, "fetch into the node's archive what another node's archive has", pullArchive),
		onNode("archive", "names", engine.Read, "the names of the files in the node's archive: of segments those from a position on, which is a segment's name without its timeline", archiveNames),
		onNode("fence", "set", engine.Change, "write a fence into the node's archive", setFence),
		onNode("fence", "clear", engine.Change, "take a fence out of the node's archive", clearFence),
		onNode("fence", "read", engine.Read, "the fence in the node's archive", readFence),
		here("fence", "raise", engine.Change, "write a fence into every archive that can be reached", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o fenceOptions) (walcore.Cut, error) {
				return raiseFence(ctx, s, cluster.NodeName(node), o)
			}
		}),
		encloseOperation(),
		here("fence", "liftable", engine.Read, "whether fence.lift would take down a fence", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) (bool, error) {
				left, err := liftable(ctx, s, cluster.NodeName(node))
				return len(left) > 0, err
			}
		}),
		here("fence", "lift", engine.Change, "take down a fence that a run which never came to its promotion has left on a primary's timeline", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string) error { return liftFence(ctx, s, cluster.NodeName(node)) }
		}),
		here("fence", "lower", engine.Change, "take a fence out of every archive that can be reached", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o fenceOptions) error {
				return lowerFence(ctx, s, cluster.NodeName(node), o)
			}
		}),
	}
}

// checkRivals refuses a promotion beside a node that accepts writes, and one
// beside a node that cannot be asked unless told to accept that.
func checkRivals(ctx context.Context, s *session, promoted cluster.NodeName, o checkRivalsOptions) error {
	if o.Checked {
		return checkedByCaller(ctx, s)
	}
	if err := learnPair(ctx, s); err != nil {
		if !o.AcceptSplit {
			return hint.Wrap(err, "make sure that neither node of the pair runs, then repeat with --accept-split")
		}
		say(ctx, s, "RISK: %v. If that node still runs, it goes on accepting writes, and they will be lost.", err)
	}
	rivals := slices.DeleteFunc(slices.Clone(s.site.Nodes), func(n cluster.Node) bool {
		return n.Name == promoted || engine.Planning(ctx) && n.Name == o.Stopped
	})
	looks := askAll(rivals, func(n cluster.Node) (standby.State, error) { return stateOf(ctx, s, n.Name) })
	for i, look := range looks { // whatever else there is to say
		if look.err == nil && look.value.Role == standby.RolePrimary {
			return besidePrimary(ctx, s, rivals[i].Name, look.value)
		}
	}
	for i, look := range looks {
		n, state, err := rivals[i], look.value, look.err
		switch {
		case err != nil && n.Role == cluster.RoleDR:
			if err := unaskedDR(ctx, s, n.Name, err, o); err != nil {
				return err
			}
		case err != nil && slices.Contains(o.Off, n.Name):
			say(ctx, s, "%s cannot be asked; the site's fencing hook has said that it is off", n.Name)
		case err != nil && o.Hook && s.site.Fencing.Command != "":
			say(ctx, s, "%s cannot be asked (%s): the site's fencing hook must say that it is off before anything is promoted", n.Name, oneLine(err))
		case err != nil && o.AcceptSplit:
			say(ctx, s, "RISK: %s cannot be reached (%v). If its server still runs, it goes on accepting writes, and they will be lost.", n.Name, err)
		case err != nil:
			return hint.Wrap(fmt.Errorf("%s cannot be asked whether it accepts writes: %w", n.Name, err),
				"make sure that it is down, then repeat with --accept-split; if it still runs, what it writes from now on is lost")
		case n.Role == cluster.RoleDR && state.WasPrimary() && !state.Copy:
			if err := checkPromotedDR(ctx, s, promoted, n.Name, state, o); err != nil {
				return err
			}
		case o.NothingLeft && state.WasPrimary() && state.WAL > 0:
			if err := checkNothingLeft(ctx, s, promoted, n.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// besidePrimary refuses a promotion beside a node that accepts writes.
func besidePrimary(ctx context.Context, s *session, node cluster.NodeName, state standby.State) error {
	return hint.Wrap(fmt.Errorf("%s is running and accepts writes (timeline %d)", node, writingTimeline(ctx, s, node, state)),
		"to change places without loss: warmrun switchover; to take over anyway, stop it first, on %s: pg_ctl -D %s stop -m fast", node, state.PGData)
}

// checkedByCaller refuses to skip the check for anybody but the run that has made
// it, a moment ago and over connections that it holds.
func checkedByCaller(ctx context.Context, s *session) error {
	if r := recorderOf(ctx); engine.Planning(ctx) || s.part || r != nil && r.id != s.run {
		return nil
	}
	return hint.Wrap(errors.New("a handover is part of a switchover or failover, which makes the checks"), "run: warmrun switchover, or warmrun failover where the primary is dead")
}

// checkPromotedDR refuses a promotion beside a DR node that was promoted and
// whose server is down now: it is the primary, and what it wrote is nowhere
// else. One whose timeline was left behind since was given up then, and one that
// flushPrimary has stopped is the way home: it can start only as a standby, and
// all that it wrote is on the node to be promoted.
func checkPromotedDR(ctx context.Context, s *session, promoted, dr cluster.NodeName, state standby.State, o checkRivalsOptions) error {
	end, err := callOn(ctx, s, promoted, "standby.recovery_end", recoveryEndOptions{Fast: true}, recoveryEnd)
	if err != nil || state.Control.Timeline < end.Timeline {
		return err
	}
	if state.Fenced {
		has, err := hasAllOf(ctx, s, promoted, dr, state, o.Fast)
		if err != nil || has {
			return err
		}
	}
	if o.AcceptSplit {
		say(ctx, s, "RISK: %s was the primary on timeline %d and is stopped. What it wrote is given up.", dr, state.Control.Timeline)
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s, the DR node, was the primary on timeline %d when its server was stopped: its transactions would be lost", dr, state.Control.Timeline),
		"%s; to give up what it wrote, repeat with --accept-split", keepDR(dr, state))
}

// keepDR says how what a stopped DR node wrote is kept.
func keepDR(dr cluster.NodeName, state standby.State) string {
	if state.Fenced {
		return fmt.Sprintf("it can start only as a standby; to have it as the primary that it was: warmrun startPrimary on %s, and then flushPrimary there, which ships all of it", dr)
	}
	return fmt.Sprintf("start its server again, it is the primary: on %s: pg_ctl -D %s start", dr, state.PGData)
}

// hasAllOf reports whether a promotion of the node would open it with all that
// a cleanly stopped primary wrote.
func hasAllOf(ctx context.Context, s *session, promoted, old cluster.NodeName, state standby.State, fast bool) (bool, error) {
	stop, err := callOn(ctx, s, promoted, "standby.holds_stop", stopOptionsOf{state.Control}, holdsStop)
	if err != nil || stop == 0 {
		return false, err
	}
	end, err := callOn(ctx, s, promoted, "standby.recovery_end", recoveryEndOptions{Fast: fast}, recoveryEnd)
	if err != nil || end.Timeline != state.Control.Timeline || end.LSN < stop {
		return false, err
	}
	say(ctx, s, "%s was the primary and is stopped; %s has all that it wrote, up to %s", old, promoted, stop)
	return true, nil
}

// stopOptionsOf is the control file of a server that was stopped cleanly.
type stopOptionsOf struct {
	Control walcore.ControlFile `json:"control"`
}

// holdsStop is where the shutdown checkpoint of another server ends, read from
// this node's archive; 0 where that does not hold this very checkpoint.
func holdsStop(_ context.Context, s *session, o stopOptionsOf) (walcore.LSN, error) {
	if o.Control.State != walcore.StateShutDown {
		return 0, nil
	}
	end, _, err := walcore.ShutdownEnd(s.site.Self.Archive, o.Control)
	if err != nil {
		return 0, nil // whatever is there, it is not that
	}
	return end, nil
}

// checkNothingLeft refuses a promotion that would give up WAL which a dead
// primary still has and shows.
func checkNothingLeft(ctx context.Context, s *session, promoted, rival cluster.NodeName) error {
	last, err := callOn(ctx, s, rival, "standby.last_point", none{}, lastPoint)
	if err != nil {
		return fmt.Errorf("see where the WAL of %s ends: %w", rival, err)
	}
	end, err := callOn(ctx, s, promoted, "standby.recovery_end", recoveryEndOptions{}, recoveryEnd)
	if err != nil {
		return err
	}
	if last.Timeline >= end.Timeline && last.End > end.LSN {
		return hint.Wrap(fmt.Errorf("%s has WAL up to %s that %s lacks, which ends at %s: its transactions would be lost", rival, last.End, promoted, end.LSN),
			"warmrun failover fetches them first; to give them up, repeat with --accept-loss")
	}
	return nil
}

// learnPair completes the site of a DR node in a 2warm tree, whose othernode
// names only one node of the pair: that node is asked for its own partner.
func learnPair(ctx context.Context, s *session) error {
	partner, ok := s.site.Partner()
	if s.site.Layout != cluster.Layout2warm || s.site.Self.Role != cluster.RoleDR || !ok {
		return nil
	}
	name, err := callOn(ctx, s, partner.Name, "cluster.partner", none{}, partnerName)
	if err != nil {
		return fmt.Errorf("%s cannot be asked who its partner is: %w", partner.Name, err)
	}
	if _, err := s.site.Node(name); err == nil || name == "" {
		return nil
	}
	other := partner
	other.Name, other.Host = name, string(name)
	s.site.Nodes = append(s.site.Nodes, other)
	return nil
}

func partnerName(_ context.Context, s *session, _ none) (cluster.NodeName, error) {
	partner, _ := s.site.Partner()
	return partner.Name, nil
}
