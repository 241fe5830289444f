package main

import (
	"context"
	"errors"
	"fmt"
	"time"

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
}

// salvaged is what was had from the old primary, if anything.
type salvaged struct {
	Complete bool        `json:"complete"` // every byte it had flushed is here
	From     string      `json:"from"`
	End      walcore.LSN `json:"end_lsn"`
}

type lossOptions struct {
	Salvaged salvaged `json:"salvaged"`
	Fast     bool     `json:"fast"` // what is archived and not replayed is given up too
}

// lossResult says what a promotion now would give up.
type lossResult struct {
	Exact      bool        `json:"exact"`
	LSN        walcore.LSN `json:"lsn"`
	LastCommit time.Time   `json:"last_commit"`
	Sentence   string      `json:"sentence"`
}

func rivalOperations() []operation {
	return []operation{
		here("rivals", "check", engine.Read, "that no other node accepts writes, as far as they can be reached", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o checkRivalsOptions) error {
				return checkRivals(ctx, s, cluster.NodeName(node), o)
			}
		}),
		here("rivals", "fence", engine.Change, "make every stopped old primary unable to start as a primary", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o acceptSplitOption) error {
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
		onNode("archive", "pull", engine.Change, "fetch into the node's archive what another node's archive has", pullArchive),
		onNode("fence", "set", engine.Change, "write a fence into the node's archive", setFence),
		onNode("fence", "clear", engine.Change, "take a fence out of the node's archive", clearFence),
		onNode("fence", "read", engine.Read, "the fence in the node's archive", readFence),
		here("fence", "raise", engine.Change, "write a fence into every archive that can be reached", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o fenceOptions) (walcore.Cut, error) {
				return raiseFence(ctx, s, cluster.NodeName(node), o)
			}
		}),
		here("fence", "lower", engine.Change, "take a fence out of every archive that can be reached", []string{"node"}, func(s *session) any {
			return func(ctx context.Context, node string, o fenceOptions) error {
				return lowerFence(ctx, s, cluster.NodeName(node), o)
			}
		}),
	}
}

// checkRivals refuses a promotion beside a node that accepts writes, and one
// beside a node of the pair that cannot be asked unless told to accept that.
func checkRivals(ctx context.Context, s *session, promoted cluster.NodeName, o checkRivalsOptions) error {
	if err := learnPair(ctx, s); err != nil {
		if !o.AcceptSplit {
			return hint.Wrap(err, "make sure that neither node of the pair runs, then repeat with --accept-split")
		}
		say(ctx, s, "RISK: %v. If that node still runs, it goes on accepting writes, and they will be lost.", err)
	}
	for _, n := range s.site.Nodes {
		if n.Name == promoted {
			continue
		}
		state, err := stateOf(ctx, s, n.Name)
		switch {
		case err != nil && n.Role == cluster.RoleDR:
			say(ctx, s, "%s cannot be asked (%v); it is the DR node and is taken to be a standby", n.Name, err)
		case err != nil && o.AcceptSplit:
			say(ctx, s, "RISK: %s cannot be reached (%v). If its server still runs, it goes on accepting writes, and they will be lost.", n.Name, err)
		case err != nil:
			return hint.Wrap(fmt.Errorf("%s cannot be asked whether it accepts writes: %w", n.Name, err),
				"make sure that it is down, then repeat with --accept-split; if it still runs, what it writes from now on is lost")
		case state.Role == standby.RolePrimary:
			return hint.Wrap(fmt.Errorf("%s is running and accepts writes (timeline %d)", n.Name, state.Control.Timeline),
				"to change places without loss: warmrun switchover; to take over anyway, stop it first: pg_ctl -D %s stop -m fast", state.PGData)
		case o.NothingLeft && state.WasPrimary() && state.WAL > 0:
			if err := checkNothingLeft(ctx, s, promoted, n.Name); err != nil {
				return err
			}
		}
	}
	return nil
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

func fenceRivals(ctx context.Context, s *session, promoted cluster.NodeName, acceptSplit bool) error {
	for _, n := range s.site.Nodes {
		if n.Name == promoted {
			continue
		}
		state, err := stateOf(ctx, s, n.Name)
		if err != nil && n.Role == cluster.RolePair && !acceptSplit {
			return fmt.Errorf("%s has answered before and can no longer be asked: %w", n.Name, err)
		}
		if err != nil {
			continue // checkRivals has said what that means
		}
		switch state.Role {
		case standby.RolePrimary:
			return hint.Wrap(fmt.Errorf("%s has come up meanwhile and accepts writes", n.Name), "stop it, then repeat: pg_ctl -D %s stop -m fast", state.PGData)
		case standby.RoleStoppedPrimary:
			_, err := callOn(ctx, s, n.Name, "standby.configure", configureOptions{Fence: true},
				func(ctx context.Context, s *session, _ configureOptions) (none, error) {
					return none{}, s.self().Fence(ctx)
				})
			if err != nil {
				return fmt.Errorf("fence %s: %w", n.Name, err)
			}
			say(ctx, s, "%s is fenced: its server can start only as a standby", n.Name)
		}
	}
	return nil
}

func salvageRivals(ctx context.Context, s *session, to cluster.NodeName) (salvaged, error) {
	result, unread := salvaged{}, false
	newest, err := callOn(ctx, s, to, "standby.recovery_end", recoveryEndOptions{}, recoveryEnd)
	if err != nil {
		return result, err
	}
	for _, n := range s.site.Nodes {
		if n.Name == to || n.Role != cluster.RolePair {
			continue
		}
		state, err := stateOf(ctx, s, n.Name)
		if err != nil {
			say(ctx, s, "%s cannot be reached: its last WAL cannot be salvaged (%v)", n.Name, err)
			unread = true
			continue
		}
		if !state.WasPrimary() {
			continue
		}
		if tli := max(state.Control.Timeline, state.Control.MinRecoveryTimeline); tli < newest.Timeline {
			say(ctx, s, "%s stopped on timeline %d, which %s has left for %d: nothing to salvage there", n.Name, tli, to, newest.Timeline)
			continue
		}
		say(ctx, s, "%s answers and its server is down: shipping what it had not archived", n.Name)
		sent, err := callOn(ctx, s, n.Name, "standby.salvage", toOption{to},
			func(ctx context.Context, s *session, o toOption) (flushed, error) {
				return flushed{}, errors.New("a node does not salvage its own WAL")
			})
		if err != nil {
			return result, hint.Wrap(fmt.Errorf("salvage the WAL of %s: %w", n.Name, err), "its pg_wal holds committed transactions that are nowhere else; mend this before promoting %s", to)
		}
		say(ctx, s, "%s has everything that %s had flushed, up to %s", to, n.Name, sent.End)
		if sent.End > result.End {
			result = salvaged{Complete: true, From: string(n.Name), End: sent.End}
		}
	}
	// A node that could not be read may have been the last primary.
	result.Complete = result.Complete && !unread
	return result, nil
}

// collect pulls into the node's archive what other archives have.
func collect(ctx context.Context, s *session, to cluster.NodeName) (int, error) {
	total := 0
	for _, n := range s.site.Nodes {
		if n.Name == to {
			continue
		}
		if _, err := stateOf(ctx, s, n.Name); err != nil {
			say(ctx, s, "the archive on %s cannot be reached; going on with what is here", n.Name)
			continue
		}
		got, err := callOn(ctx, s, to, "archive.pull", pullOptions{From: n.Name}, pullArchive)
		if err != nil {
			return total, fmt.Errorf("fetch WAL from the archive on %s: %w", n.Name, err)
		}
		total += got
	}
	return total, nil
}

type pullOptions struct {
	From cluster.NodeName `json:"from"`
	// Histories fetches these only.
	Histories bool `json:"histories"`
}

// pullArchive fetches every history, and every segment that lies at or after
// the one this node would recover from, that it does not have.
func pullArchive(ctx context.Context, s *session, o pullOptions) (int, error) {
	own, err := s.ownArchive()
	if err != nil {
		return 0, err
	}
	control, err := s.server().Control()
	if err != nil {
		return 0, err
	}
	client, err := s.shipTo(ctx, o.From)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	theirs, err := client.List(ctx)
	if errors.Is(err, walcore.ErrNoArchive) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	first := walcore.SegmentAt(1, control.Redo, control.SegmentSize).Position()
	got := 0
	for _, name := range theirs {
		if segment := name.Segment(); segment != "" && (o.Histories || segment.Position() < first) {
			continue
		}
		there, err := own.Has(name)
		if err != nil {
			return got, err
		}
		if there {
			continue
		}
		if err := client.Fetch(ctx, own, name); err != nil {
			return got, fmt.Errorf("%s: %w", name, err)
		}
		say(ctx, s, "fetched %s from %s", name, o.From)
		got++
	}
	return got, nil
}

func announceLoss(ctx context.Context, s *session, node cluster.NodeName, o lossOptions) (lossResult, error) {
	end, err := callOn(ctx, s, node, "standby.recovery_end", recoveryEndOptions{Fast: o.Fast}, recoveryEnd)
	if err != nil {
		return lossResult{}, err
	}
	result := lossResult{LSN: end.LSN}
	if conn, err := s.sql(ctx, node); err == nil {
		defer conn.Close(ctx)
		if state, err := conn.State(ctx); err == nil {
			result.LastCommit = state.ReplayTimestamp
		}
	}
	if o.Salvaged.Complete && end.LSN >= o.Salvaged.End {
		result.Exact = true
		result.Sentence = fmt.Sprintf("Nothing is lost: %s has every byte that %s had flushed, up to %s.", node, o.Salvaged.From, o.Salvaged.End)
		return result, nil
	}
	when := "at an unknown time"
	if !result.LastCommit.IsZero() {
		when = fmt.Sprintf("last commit replayed so far %s, %s ago", result.LastCommit.Format("2006-01-02 15:04:05 MST"), time.Since(result.LastCommit).Round(time.Second))
	}
	if o.Fast {
		result.Sentence = fmt.Sprintf("Everything after %s is lost: --fast opens %s there, without what is in its archive and not replayed yet (%s).", end.LSN, node, when)
		return result, nil
	}
	result.Sentence = fmt.Sprintf("Everything after %s is lost (last received by %s; %s). How much the old primary wrote after that is unknown: it cannot be read.", end.LSN, node, when)
	return result, nil
}
