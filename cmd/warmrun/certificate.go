package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// certifyOptions are what the steps of a switchover have found.
type certifyOptions struct {
	Old   cluster.NodeName `json:"old"`
	New   cluster.NodeName `json:"new"`
	Point standby.Point    `json:"point"` // where the old primary's WAL ends
	Proof standby.Proof    `json:"proof"`
	Cut   walcore.Cut      `json:"cut"`
	// Timeline is the new one, Fork where it left the old.
	Timeline walcore.Timeline `json:"timeline"`
	Fork     walcore.LSN      `json:"fork"`
	// Follows is the LSN of the new timeline that the old primary has replayed.
	Follows walcore.LSN `json:"follows"`
	// OldHash and NewHash are of the last segment, up to where the WAL ends.
	OldHash string `json:"old_hash"`
	NewHash string `json:"new_hash"`
}

// certificate is what a switchover can show for itself.
type certificate struct {
	Format  int       `json:"format"`
	Run     string    `json:"run"`
	User    string    `json:"user"`
	Node    string    `json:"node"` // that has driven the run
	Program string    `json:"program"`
	At      time.Time `json:"at"`

	Old certifiedNode `json:"old_primary"`
	New certifiedNode `json:"new_primary"`

	OldTimeline walcore.Timeline    `json:"old_timeline"`
	Checkpoint  walcore.LSN         `json:"shutdown_checkpoint"`
	End         walcore.LSN         `json:"end_lsn"`
	Segment     walcore.SegmentName `json:"last_segment"`
	Replayed    walcore.LSN         `json:"replayed_lsn"`
	Proof       string              `json:"proof"`
	FenceEpoch  uint64              `json:"fence_epoch"`
	NewTimeline walcore.Timeline    `json:"new_timeline"`
	Fork        walcore.LSN         `json:"fork_lsn"`
	Follows     walcore.LSN         `json:"old_primary_follows_lsn"`

	Gap writeGap `json:"write_gap"`
}

// certifiedNode is one of the two.
type certifiedNode struct {
	Node    cluster.NodeName `json:"node"`
	Major   pgctl.Version    `json:"postgresql"`
	Program string           `json:"program"`
	// SHA256 is of the last segment up to the end of the old primary's WAL.
	SHA256  string  `json:"last_segment_sha256,omitempty"`
	Moments moments `json:"times"`
	// Ahead is how far the node's clock is ahead of the driving node's, in
	// milliseconds, give or take half of Trip.
	Ahead float64 `json:"clock_ahead_ms"`
	Trip  float64 `json:"round_trip_ms"`
}

// writeGap is how long nobody could write.
type writeGap struct {
	Milliseconds float64 `json:"ms"` // 0: not measured
	Give         float64 `json:"give_or_take_ms"`
	How          string  `json:"how"`
}

const gapHow = "from the request for the stop that ended the clients' sessions on the old primary, after which the last commits came, " +
	"to the moment when the control file of the new primary was first seen to say that it is in production; each by its node's clock, corrected by how far that is ahead of the driving node's"

type certified struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// certificateName is the file of a run's directory, with .json and .txt.
const certificateName = "certificate"

// certify gathers the rest and writes both forms, durably.
func certify(ctx context.Context, s *session, _ cluster.NodeName, o certifyOptions) (certified, error) {
	who := thisProcess(s)
	c := certificate{
		Format: 1, Run: s.run, User: who.User, Node: string(who.Node), Program: version, At: time.Now().UTC(),
		OldTimeline: o.Point.Timeline, Checkpoint: o.Point.Checkpoint, End: o.Point.End, Segment: o.Point.Segment,
		Replayed: o.Proof.LSN, Proof: o.Proof.How, FenceEpoch: o.Cut.Epoch, NewTimeline: o.Timeline, Fork: o.Fork, Follows: o.Follows,
	}
	var group sync.WaitGroup
	errs := make([]error, 2)
	group.Go(func() { c.Old, errs[0] = certifyNode(ctx, s, o.Old, o.OldHash) })
	group.Go(func() { c.New, errs[1] = certifyNode(ctx, s, o.New, o.NewHash) })
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return certified{}, err
	}
	c.Gap = gapBetween(c.Old, c.New)
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return certified{}, err
	}
	base := filepath.Join(runDir(s.site, s.run), certificateName)
	result := certified{Path: base + ".txt", Text: c.text()}
	return result, errors.Join(
		atomicfile.WriteFile(base+".json", append(data, '\n'), 0o644),
		atomicfile.WriteFile(result.Path, []byte(result.Text), 0o644))
}

func certifyNode(ctx context.Context, s *session, name cluster.NodeName, hash string) (certifiedNode, error) {
	n := certifiedNode{Node: name, SHA256: hash}
	fitness, err := callOn(ctx, s, name, "standby.fitness", none{},
		func(ctx context.Context, s *session, _ none) (standby.Fitness, error) { return fitness(ctx, s) })
	if err != nil {
		return n, err
	}
	n.Major, n.Program = fitness.Major, fitness.Program
	asked := time.Now()
	n.Moments, err = callOn(ctx, s, name, "standby.moments", none{},
		func(_ context.Context, s *session, _ none) (moments, error) { return readMoments(s.site) })
	trip := time.Since(asked)
	n.Trip = milliseconds(trip)
	n.Ahead = milliseconds(n.Moments.Now.Sub(asked.Add(trip / 2)))
	return n, err
}

// gapBetween is 0 where one of the times is not known, as when the server was
// stopped by somebody else.
func gapBetween(old, new certifiedNode) writeGap {
	gap := writeGap{How: gapHow, Give: (old.Trip + new.Trip) / 2}
	from, to := old.Moments.StopAsked, new.Moments.Opened
	if from.IsZero() || to.IsZero() {
		gap.How = "not measured: one of the two was stopped or promoted by other means"
		return gap
	}
	gap.Milliseconds = milliseconds(to.Sub(from)) - new.Ahead + old.Ahead
	return gap
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// text is the certificate for people.
func (c certificate) text() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	const clock = "2006-01-02 15:04:05.000 MST"
	fmt.Fprintf(&b, "Switchover from %s to %s\n\n", c.Old.Node, c.New.Node)
	row("run", "%s, by %s on %s (warmrun %s)", c.Run, c.User, c.Node, c.Program)
	row("at", "%s", c.At.Format(clock))
	for _, n := range []struct {
		what string
		certifiedNode
	}{{"old primary", c.Old}, {"new primary", c.New}} {
		row(n.what, "%s, PostgreSQL %s, warmrun %s", n.Node, n.Major, n.Program)
	}
	row("timeline", "%d, and from %s on %d", c.OldTimeline, c.Fork, c.NewTimeline)
	row("shutdown checkpoint", "%s, ends at %s in %s", c.Checkpoint, c.End, c.Segment)
	row("replayed", "%s by %s: %s", c.Replayed, c.New.Node, c.Proof)
	row("last segment, SHA-256", "%s on %s", hashText(c.Old.SHA256), c.Old.Node)
	row("", "%s on %s", hashText(c.New.SHA256), c.New.Node)
	row("fence", "epoch %d", c.FenceEpoch)
	for _, m := range []struct {
		what string
		at   time.Time
	}{{"stop asked for", c.Old.Moments.StopAsked}, {"stopped", c.Old.Moments.Stopped}, {"promotion asked for", c.New.Moments.PromotionAsked}, {"accepts writes", c.New.Moments.Opened}} {
		if !m.at.IsZero() {
			row(m.what, "%s", m.at.Format(clock))
		}
	}
	row("old primary follows", "%s has replayed %s", c.Old.Node, c.Follows)
	if c.Gap.Milliseconds == 0 {
		row("write gap", "%s", c.Gap.How)
		return b.String()
	}
	row("write gap", "%.0f ms, give or take %.0f ms", c.Gap.Milliseconds, c.Gap.Give)
	row("", "%s", c.Gap.How)
	return b.String()
}

func hashText(hash string) string {
	if hash == "" {
		return "(not read)"
	}
	return hash
}
