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

type eraseOption struct {
	Erase bool `json:"erase"`
}

type configureOptions struct {
	// Fence leaves the rest of the configuration alone.
	Fence bool `json:"fence"`
}

type triggerOptions struct {
	Fast bool `json:"fast"`
}

type triggerResult struct {
	Path string `json:"path"`
}

type proveOptions struct {
	LSN        walcore.LSN   `json:"lsn"`
	Checkpoint walcore.LSN   `json:"checkpoint"`
	Timeout    time.Duration `json:"timeout"`
}

type followsOptions struct {
	LSN     walcore.LSN   `json:"lsn"`
	Timeout time.Duration `json:"timeout"`
}

type toOption struct {
	To cluster.NodeName `json:"to"`
}

type withOption struct {
	With cluster.NodeName `json:"with"`
}

// flushed is the outcome of shipping a stopped server's last WAL.
type flushed struct {
	standby.Point
	From     cluster.NodeName      `json:"from"`
	Segments []walcore.SegmentName `json:"segments"`
}

func standbyOperations() []operation {
	return []operation{
		onNode("standby", "state", engine.Read, "what the node's data directory makes of it",
			func(ctx context.Context, s *session, _ none) (standby.State, error) { return s.self().Inspect(ctx) }),
		onNode("standby", "preparable", engine.Read, "that the node may be prepared as a standby",
			func(ctx context.Context, s *session, o eraseOption) (none, error) {
				return none{}, s.self().Preparable(ctx, o.Erase)
			}),
		onNode("standby", "prepare", engine.Change, "data directory, archive, no trigger, empty pg_wal, configuration",
			func(ctx context.Context, s *session, o eraseOption) (standby.Prepared, error) {
				return s.self().Prepare(ctx, o.Erase)
			}),
		onNode("standby", "configure", engine.Change, "make the stopped server able to start only as a standby",
			func(ctx context.Context, s *session, o configureOptions) (none, error) {
				if o.Fence {
					return none{}, s.self().Fence(ctx)
				}
				return none{}, s.self().Configure(ctx)
			}),
		onNode("standby", "promotable", engine.Read, "that the node is a standby",
			func(ctx context.Context, s *session, _ none) (none, error) { return none{}, s.self().Promotable(ctx) }),
		onNode("standby", "trigger", engine.Change, "leave the trigger file",
			func(_ context.Context, s *session, o triggerOptions) (triggerResult, error) {
				return triggerResult{s.site.Self.Trigger}, s.self().WriteTrigger(o.Fast)
			}),
		onNode("standby", "promote", engine.Change, "ask the server to end recovery and wait until it accepts writes",
			func(ctx context.Context, s *session, o timeoutOption) (none, error) {
				return none{}, s.server().Promote(ctx, orDefault(o.Timeout, time.Hour))
			}),
		onNode("standby", "clear_trigger", engine.Change, "remove the trigger file",
			func(_ context.Context, s *session, _ none) (none, error) { return none{}, s.self().ClearTrigger() }),
		onNode("standby", "opened", engine.Wait, "timeline and LSN of a promoted server that accepts writes",
			func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Opened(ctx) }),
		onNode("standby", "shutdown_point", engine.Wait, "where the WAL of the cleanly stopped server ends",
			func(ctx context.Context, s *session, _ none) (standby.Point, error) {
				return s.self().ShutdownPoint(ctx)
			}),
		onNode("standby", "prove_replay", engine.Wait, "wait until the server has replayed an LSN, and say how that is known",
			func(ctx context.Context, s *session, o proveOptions) (standby.Proof, error) {
				return s.self().ProveReplay(ctx, o.LSN, o.Checkpoint, orDefault(o.Timeout, 10*time.Minute))
			}),
		onNode("standby", "replayed", engine.Wait, "how far the server has replayed",
			func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Replayed(ctx) }),
		onNode("standby", "follows", engine.Wait, "wait until the server has replayed an LSN of a new timeline",
			func(ctx context.Context, s *session, o followsOptions) (none, error) {
				return none{}, s.self().Follows(ctx, o.LSN, orDefault(o.Timeout, 10*time.Minute))
			}),
		onNode("standby", "flush", engine.Change, "ship the cleanly stopped server's WAL through its shutdown checkpoint",
			func(ctx context.Context, s *session, o toOption) (flushed, error) {
				point, err := s.self().ShutdownPoint(ctx)
				if err != nil {
					return flushed{}, err
				}
				return shipLast(ctx, s, point, o.To)
			}),
		onNode("standby", "salvage", engine.Change, "ship what the dead server had flushed and not archived",
			func(ctx context.Context, s *session, o toOption) (flushed, error) {
				point, err := s.self().LastPoint(ctx)
				if err != nil {
					return flushed{}, err
				}
				return shipLast(ctx, s, point, o.To)
			}),
		onNode("standby", "archive_end", engine.Wait, "where the gap-free WAL in the node's archive ends", archiveEnd),
		onNode("standby", "replay_archive", engine.Wait, "wait until the server has replayed its whole archive", replayArchive),
		onNode("standby", "underway", engine.Read, "whether the node was promoted or may be about to be",
			func(ctx context.Context, s *session, o underwayOptions) (string, error) {
				return s.self().PromotionUnderway(ctx, o.Timeline)
			}),
		onNode("standby", "progress", engine.Read, "what the node's server has replayed, and what a restart needs",
			func(_ context.Context, s *session, _ none) (standby.Progress, error) { return s.self().Progress() }),
		here("standby", "same_cluster", engine.Read, "that two nodes have the same system identifier", []string{"node"},
			func(s *session) any {
				return func(ctx context.Context, node string, o withOption) (bool, error) {
					return sameCluster(ctx, s, cluster.NodeName(node), o.With)
				}
			}),
	}
}

// shipLast ships a stopped server's WAL through the point where it ends, and
// nothing beyond: pg_wal also holds recycled segments with later names.
func shipLast(ctx context.Context, s *session, point standby.Point, to cluster.NodeName) (flushed, error) {
	result := flushed{Point: point, From: s.site.Self.Name}
	control, err := s.server().Control()
	if err != nil {
		return result, err
	}
	progress, err := progressOf(ctx, s, to)
	if err != nil {
		return result, err
	}
	client, err := ship.Connect(ctx, s.agent(to))
	if err != nil {
		return result, fmt.Errorf("reach the archive on %s: %w", to, err)
	}
	result.Segments, err = ship.ShipWALDir(ctx, client, walcore.WALDir(s.site.Self.PGData), progress.Replayed, point.End, point.Timeline, control.Identity(), s.live(ctx))
	return result, errors.Join(err, client.Close())
}

// progressOf is how far the server on a node is.
func progressOf(ctx context.Context, s *session, node cluster.NodeName) (standby.Progress, error) {
	progress, err := callOn(ctx, s, node, "standby.progress", none{},
		func(_ context.Context, s *session, _ none) (standby.Progress, error) { return s.self().Progress() })
	if err != nil {
		return progress, fmt.Errorf("ask %s what it has replayed: %w", node, err)
	}
	return progress, nil
}

// archiveEndResult is where the WAL of an archive ends.
type archiveEndResult struct {
	LSN      walcore.LSN      `json:"lsn"`
	Timeline walcore.Timeline `json:"timeline"`
	// Reached is the position that a server has replayed past once nothing in
	// the archive is left to replay: the last whole record begins there. What
	// follows it may be the beginning of a record whose rest never arrived.
	Reached walcore.LSN `json:"reached"`
}

// archiveEnd finds the end of what a standby can replay from this node's
// archive.
func archiveEnd(_ context.Context, s *session, _ none) (archiveEndResult, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return archiveEndResult{}, err
	}
	chain, err := archive.Chain("")
	if err != nil || chain.Last == "" {
		return archiveEndResult{}, err
	}
	result := archiveEndResult{LSN: chain.End, Timeline: chain.Timeline}
	f, err := archive.Open(walcore.FileName(chain.Last))
	if err != nil {
		return result, err
	}
	defer f.Close()
	extent, err := walcore.ScanSegment(f, chain.Last, walcore.Identity{})
	if err != nil {
		return result, fmt.Errorf("read %s in the archive on %s: %w", chain.Last, s.site.Self.Name, err)
	}
	result.Reached = extent.LastRecord
	return result, nil
}

// replayArchive waits until the server is as far as its archive.
func replayArchive(ctx context.Context, s *session, o timeoutOption) (standby.Proof, error) {
	end, err := archiveEnd(ctx, s, none{})
	if err != nil {
		return standby.Proof{}, err
	}
	say(ctx, s, "Waiting for %s to replay its archive, which ends at %s", s.site.Self.Name, end.LSN)
	return s.self().ReplayArchive(ctx, end.Reached, orDefault(o.Timeout, time.Hour))
}

func sameCluster(ctx context.Context, s *session, a, b cluster.NodeName) (bool, error) {
	first, err := controlOf(ctx, s, a)
	if err != nil {
		return false, fmt.Errorf("read the control file of %s: %w", a, err)
	}
	second, err := controlOf(ctx, s, b)
	if err != nil {
		return false, fmt.Errorf("read the control file of %s: %w", b, err)
	}
	if first.SystemID != second.SystemID {
		return false, hint.Wrap(fmt.Errorf("%s and %s are different clusters (system identifiers %d and %d)", a, b, first.SystemID, second.SystemID),
			"take a new base copy with copyToStandby")
	}
	return true, nil
}
