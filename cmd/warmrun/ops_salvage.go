package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/ship"
)

// Before a failover everything that can still be had is fetched, and what
// cannot is announced.

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

func salvageRivals(ctx context.Context, s *session, to cluster.NodeName) (salvaged, error) {
	result, unread := salvaged{}, false
	// Its timeline is wanted, and how far a fast promotion gets is soon found.
	newest, err := callOn(ctx, s, to, "standby.recovery_end", recoveryEndOptions{Fast: true}, recoveryEnd)
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
		sent, err := salvageFrom(ctx, s, n, to)
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

// salvageFrom has a node ship what its dead server had flushed. Where the node that
// gets it is this one, that goes over the connection which leads there already.
func salvageFrom(ctx context.Context, s *session, from cluster.Node, to cluster.NodeName) (flushed, error) {
	if s.site.IsSelf(to) {
		sent, err := shipBack(ctx, s, from)
		if !errors.Is(err, errOlderProgram) {
			return sent, err
		}
	}
	return callOn(ctx, s, from.Name, "standby.salvage", toOption{to},
		func(context.Context, *session, toOption) (flushed, error) {
			return flushed{}, errors.New("a node does not salvage its own WAL")
		})
}

// errOlderProgram is a program on another node that knows nothing of ship-back. It
// makes a connection of its own.
var errOlderProgram = errors.New("it does not know the command ship-back")

// shipBack is the agent for the program there.
func shipBack(ctx context.Context, s *session, from cluster.Node) (sent flushed, err error) {
	progress, err := s.self().Progress()
	if err != nil {
		return sent, err
	}
	client, err := s.client(ctx, from.Name)
	if err != nil {
		return sent, err
	}
	var told error
	said := &nestedOutput{rest: s.live(ctx), event: func(line string) { told = json.Unmarshal([]byte(line), &sent) }}
	stream, err := client.StartStream(ctx, s.command(from, "ship-back", "--replayed", progress.Replayed.String()), said)
	if err != nil {
		return sent, s.explainCall(from, "ship-back", err)
	}
	served := ship.Serve(ctx, stream, agentConfig(s.site.Self.Archive, "", func(string, ...any) {}))
	err = stream.Close()
	var exit *remote.ExitError
	switch {
	case ctx.Err() != nil:
		return sent, context.Cause(ctx)
	case errors.As(err, &exit) && exit.Status == exitUsage:
		return sent, errOlderProgram
	case err != nil:
		return sent, explainNested(ctx, from.Name, "ship-back", said.complaints.String(), err)
	case served == nil && told == nil && sent.End == 0:
		told = errors.New("it has ended without saying where the WAL ends")
	}
	return sent, errors.Join(served, told)
}

// collect pulls into the node's archive what other archives have. One that
// cannot even be listed is passed over, as a node that cannot be reached is; a
// file that is there and cannot be had is WAL that would be lost.
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
		got, err := callOn(ctx, s, to, "archive.pull", pullOptions{From: n.Name, Lenient: true}, pullArchive)
		total += got
		if err != nil {
			return total, hint.Wrap(fmt.Errorf("fetch WAL from the archive on %s: %w", n.Name, err),
				"that WAL is not on %s: mend this before promoting it, or move what cannot be read out of the archive on %s to give it up", to, n.Name)
		}
	}
	return total, nil
}

func announceLoss(ctx context.Context, s *session, node cluster.NodeName, o lossOptions) (lossResult, error) {
	end, err := callOn(ctx, s, node, "standby.recovery_end", recoveryEndOptions{Fast: o.Fast}, recoveryEnd)
	if err != nil {
		return lossResult{}, err
	}
	result := lossResult{LSN: end.LSN, LastCommit: end.LastCommit}
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
