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
	"github.com/warmrun/warmrun/walcore/ship"
)

// A rival is any node that might accept writes beside the one about to be
// promoted.

type acceptSplitOption struct {
	AcceptSplit bool `json:"accept_split"`
}

// salvaged is what was had from the old primary, if anything.
type salvaged struct {
	Complete bool        `json:"complete"` // every byte it had flushed is here
	From     string      `json:"from"`
	End      walcore.LSN `json:"end_lsn"`
}

type lossOptions struct {
	Salvaged salvaged `json:"salvaged"`
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
			return func(ctx context.Context, node string, o acceptSplitOption) error {
				return checkRivals(ctx, s, cluster.NodeName(node), o.AcceptSplit)
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
				return announceLoss(ctx, s, cluster.NodeName(node), o.Salvaged)
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
func checkRivals(ctx context.Context, s *session, promoted cluster.NodeName, acceptSplit bool) error {
	for _, n := range s.site.Nodes {
		if n.Name == promoted {
			continue
		}
		state, err := stateOf(ctx, s, n.Name)
		switch {
		case err != nil && n.Role == cluster.RoleDR:
			say(ctx, s, "%s cannot be asked (%v); it is the DR node and is taken to be a standby", n.Name, err)
		case err != nil && acceptSplit:
			say(ctx, s, "RISK: %s cannot be reached (%v). If its server still runs, it goes on accepting writes, and they will be lost.", n.Name, err)
		case err != nil:
			return hint.Wrap(fmt.Errorf("%s cannot be asked whether it accepts writes: %w", n.Name, err),
				"make sure that it is down, then repeat with --accept-split; if it still runs, what it writes from now on is lost")
		case state.Role == standby.RolePrimary:
			return hint.Wrap(fmt.Errorf("%s is running and accepts writes (timeline %d)", n.Name, state.Control.Timeline),
				"to change places without loss: warmrun switchover; to take over anyway, stop it first: pg_ctl -D %s stop -m fast", state.PGData)
		}
	}
	return nil
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
	result := salvaged{}
	for _, n := range s.site.Nodes {
		if n.Name == to || n.Role != cluster.RolePair {
			continue
		}
		state, err := stateOf(ctx, s, n.Name)
		if err != nil {
			say(ctx, s, "%s cannot be reached: its last WAL cannot be salvaged (%v)", n.Name, err)
			continue
		}
		if !state.WasPrimary() {
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
	own, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return 0, err
	}
	control, err := s.server().Control()
	if err != nil {
		return 0, err
	}
	client, err := ship.Connect(ctx, s.agent(o.From))
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
		f, err := own.Open(name)
		if err == nil {
			if err := f.Close(); err != nil {
				return got, err
			}
			continue
		}
		if !errors.Is(err, walcore.ErrNotArchived) {
			return got, err
		}
		if err := client.Fetch(ctx, own, name); err != nil {
			return got, fmt.Errorf("%s: %w", name, err)
		}
		say(ctx, s, "fetched %s from %s", name, o.From)
		got++
	}
	return got, nil
}

func announceLoss(ctx context.Context, s *session, node cluster.NodeName, had salvaged) (lossResult, error) {
	end, err := callOn(ctx, s, node, "standby.archive_end", none{}, archiveEnd)
	if err != nil {
		return lossResult{}, err
	}
	result := lossResult{LSN: max(end.LSN, had.End)}
	if conn, err := s.sql(ctx, node); err == nil {
		defer conn.Close(ctx)
		if state, err := conn.State(ctx); err == nil {
			result.LastCommit, result.LSN = state.ReplayTimestamp, max(result.LSN, state.ReplayLSN)
		}
	}
	if had.Complete {
		result.Exact = true
		result.Sentence = fmt.Sprintf("Nothing is lost: %s has every byte that %s had flushed, up to %s.", node, had.From, had.End)
		return result, nil
	}
	when := "at an unknown time"
	if !result.LastCommit.IsZero() {
		when = fmt.Sprintf("last commit replayed so far %s, %s ago", result.LastCommit.Format("2006-01-02 15:04:05 MST"), time.Since(result.LastCommit).Round(time.Second))
	}
	result.Sentence = fmt.Sprintf("Everything after %s is lost (last received by %s; %s). How much the old primary wrote after that is unknown: it cannot be read.", result.LSN, node, when)
	return result, nil
}
