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
	// Clean refuses a primary that was not shut down cleanly: what it has not
	// shipped is wanted of it, and nobody can ship that before it has recovered.
	Clean bool `json:"clean"`
}

type triggerOptions struct {
	Fast bool `json:"fast"`
}

type triggerResult struct {
	Path string `json:"path"`
}

type followsOptions struct {
	LSN     walcore.LSN   `json:"lsn"`
	Timeout time.Duration `json:"timeout"`
}

type toOption struct {
	To cluster.NodeName `json:"to"`
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
		onNode("standby", "prepare", engine.Change, "data directory, archive, no trigger, empty pg_wal, configuration", prepare),
		onNode("standby", "configure", engine.Change, "make the stopped server able to start only as a standby",
			func(ctx context.Context, s *session, o configureOptions) (none, error) {
				return none{}, configureHere(ctx, s, o)
			}),
		onNode("standby", "promotable", engine.Read, "that the node is a standby",
			func(ctx context.Context, s *session, _ none) (none, error) { return none{}, s.self().Promotable(ctx) }),
		pastReturn(onNode("standby", "trigger", engine.Change, "leave the trigger file, past the line of no return",
			func(_ context.Context, s *session, o triggerOptions) (triggerResult, error) {
				return triggerResult{s.site.Self.Trigger}, s.self().WriteTrigger(o.Fast)
			})),
		pastReturn(onNode("standby", "promote", engine.Change, "ask the server to end recovery, past the line of no return, and wait until it accepts writes", promoteServer)),
		onNode("standby", "clear_trigger", engine.Change, "remove the trigger file",
			func(_ context.Context, s *session, _ none) (none, error) { return none{}, s.self().ClearTrigger() }),
		onNode("standby", "opened", engine.Wait, "timeline and LSN of a promoted server that accepts writes",
			func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Opened(ctx) }),
		onNode("standby", "shutdown_point", engine.Wait, "where the WAL of the cleanly stopped server ends",
			func(ctx context.Context, s *session, _ none) (standby.Point, error) {
				return s.self().ShutdownPoint(ctx)
			}),
		onNode("standby", "replayed", engine.Wait, "how far the server has replayed",
			func(ctx context.Context, s *session, _ none) (standby.Opened, error) { return s.self().Replayed(ctx) }),
		onNode("standby", "follows", engine.Wait, "wait until the server has replayed an LSN of a new timeline",
			func(ctx context.Context, s *session, o followsOptions) (none, error) {
				defer s.tellReplay(ctx, o.LSN)()
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
		onNode("standby", "ready_to_flush", engine.Wait, "open the connection beforehand that flush ships over", readyToFlush),
		onNode("standby", "salvage", engine.Change, "ship what the dead server had flushed and not archived",
			func(ctx context.Context, s *session, o toOption) (flushed, error) {
				point, err := lastPoint(ctx, s, none{})
				if err != nil {
					return flushed{}, err
				}
				return shipLast(ctx, s, point, o.To)
			}),
		onNode("standby", "recovery_end", engine.Wait, "where a promotion of the node would open it", recoveryEnd),
		onNode("standby", "last_point", engine.Read, "where the WAL of the stopped server ends", lastPoint),
		onNode("standby", "replay_archive", engine.Wait, "wait until the server has replayed its whole archive", replayArchive),
		onNode("standby", "progress", engine.Read, "what the node's server has replayed, and what a restart needs",
			func(_ context.Context, s *session, _ none) (standby.Progress, error) { return s.self().Progress() }),
	}
}

// shipLast ships a stopped server's WAL through the point where it ends to the
// archive on a node.
func shipLast(ctx context.Context, s *session, point standby.Point, to cluster.NodeName) (flushed, error) {
	progress, err := progressOf(ctx, s, to)
	if err != nil {
		return flushed{}, err
	}
	client := s.takeShip(to)
	if client == nil {
		client, err = s.shipTo(ctx, to)
	}
	if err != nil {
		return flushed{}, fmt.Errorf("reach the archive on %s: %w", to, err)
	}
	return shipOver(ctx, s, client, point, progress.Replayed)
}

// shipOver ships it over a connection, which it closes, and nothing beyond: pg_wal
// also holds recycled segments with later names. replayed is how far the server
// there is.
func shipOver(ctx context.Context, s *session, client *ship.Client, point standby.Point, replayed walcore.LSN) (flushed, error) {
	result := flushed{Point: point, From: s.site.Self.Name}
	control, err := s.server().Control()
	if err == nil {
		result.Segments, err = ship.ShipWALDir(ctx, client, walcore.WALDir(s.site.Self.PGData), replayed, point.End, point.Timeline, control.Identity(), s.live(ctx))
	}
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

// recoveryEndOptions say how the recovery is to end.
type recoveryEndOptions struct {
	Fast bool `json:"fast"` // where replay is now, whatever the archive has
}

// recoveryEndResult is where a promotion of this node would open it.
type recoveryEndResult struct {
	LSN      walcore.LSN      `json:"lsn"`
	Timeline walcore.Timeline `json:"timeline"`
	// Cut is where a fence may end the timeline: no promotion, smart or fast,
	// opens the node behind it.
	Cut walcore.LSN `json:"cut"`
	// LastCommit is the old primary's time at the last commit that was replayed;
	// zero where the server does not tell.
	LastCommit time.Time `json:"last_commit"`
}

// recoveryEnd finds where a promotion would end this node's recovery: at the
// end of its archive, or where replay is. A hole between the two is an error,
// because the server would open in front of it.
func recoveryEnd(ctx context.Context, s *session, o recoveryEndOptions) (recoveryEndResult, error) {
	end, _, err := findRecoveryEnd(ctx, s, o)
	return end, err
}

// findRecoveryEnd is recoveryEnd with the last segment in the archive that is still
// to be replayed; "" where there is none.
func findRecoveryEnd(ctx context.Context, s *session, o recoveryEndOptions) (recoveryEndResult, walcore.SegmentName, error) {
	recovery, err := s.self().Recovery(ctx)
	if err != nil {
		return recoveryEndResult{}, "", err
	}
	// Also a fast promotion replays what has been received by streaming.
	at := max(recovery.Replayed.LSN, recovery.Received)
	result := recoveryEndResult{LSN: at, Timeline: recovery.Replayed.Timeline, Cut: at, LastCommit: recovery.LastCommit}
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		return result, "", nil
	}
	if err != nil {
		return result, "", err
	}
	chain, err := archive.Chain("")
	if err != nil || chain.Last == "" {
		return result, "", err
	}
	result.Timeline, result.Cut = max(result.Timeline, chain.Timeline), max(at, chain.End)
	if o.Fast || chain.End <= at {
		return result, "", nil
	}
	size := chain.SegmentSize
	if next := walcore.SegmentAt(chain.First.Timeline(), at, size).Next(size); chain.First.Position() > next.Position() {
		return result, "", hint.Wrap(fmt.Errorf("the archive on %s lacks WAL between %s, which is replayed, and %s: a promotion would open there and lose what lies behind", s.site.Self.Name, at, chain.First),
			"bring the missing segments into %s; to give up what lies behind the hole: --fast", s.site.Self.Archive)
	}
	result.LSN = chain.End
	return result, chain.Last, nil
}

// lastRecord is where the last whole record of a segment in this node's archive
// begins. What follows it may be the beginning of one whose rest never arrived.
func lastRecord(s *session, segment walcore.SegmentName) (walcore.LSN, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if err != nil {
		return 0, err
	}
	f, err := archive.Open(walcore.FileName(segment))
	if err != nil {
		return 0, err
	}
	extent, err := walcore.ScanSegment(f, segment, walcore.Identity{})
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("read %s in the archive on %s: %w", segment, s.site.Self.Name, err)
	}
	return extent.LastRecord, nil
}

// replayArchive waits until the server is as far as its archive: past the last
// whole record there, once nothing is left to replay.
func replayArchive(ctx context.Context, s *session, o timeoutOption) (standby.Proof, error) {
	end, segment, err := findRecoveryEnd(ctx, s, recoveryEndOptions{})
	if err != nil || segment == "" {
		return standby.Proof{LSN: end.LSN, How: "there is nothing more in its archive"}, err
	}
	last, err := lastRecord(s, segment)
	if err != nil || last == 0 {
		return standby.Proof{LSN: end.LSN, How: "no whole record begins in what its archive has more"}, err
	}
	say(ctx, s, "Waiting for %s to replay its archive, which ends at %s", s.site.Self.Name, end.LSN)
	defer s.tellReplay(ctx, end.LSN)()
	return s.self().ReplayArchive(ctx, last, orDefault(o.Timeout, time.Hour))
}

func lastPoint(ctx context.Context, s *session, _ none) (standby.Point, error) {
	return s.self().LastPoint(ctx)
}

func configureHere(ctx context.Context, s *session, o configureOptions) error {
	if o.Clean {
		if _, err := s.self().ShutdownPoint(ctx); err != nil {
			return engine.NotBegun(err)
		}
	}
	if o.Fence {
		return s.self().Fence(ctx)
	}
	return s.self().Configure(ctx)
}
