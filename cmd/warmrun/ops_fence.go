package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// fenceOptions is a cut: WAL of the timeline past LSN is refused from now on.
type fenceOptions struct {
	Timeline walcore.Timeline `json:"timeline"`
	LSN      walcore.LSN      `json:"lsn"`
	By       string           `json:"by"`
	Epoch    uint64           `json:"epoch"`
	// At is when the fence was raised; the raising node's clock.
	At time.Time `json:"at"`
}

func (o fenceOptions) cut() walcore.Cut {
	return walcore.Cut{Epoch: o.Epoch, Timeline: o.Timeline, LSN: o.LSN, By: o.By, At: o.At}
}

func readFence(_ context.Context, s *session, _ none) (walcore.Fence, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		return walcore.Fence{}, nil
	}
	if err != nil {
		return walcore.Fence{}, err
	}
	return archive.Fence()
}

// setFence creates the archive where the node has none: an old primary never
// needed one, and the fence must be there before WAL arrives.
func setFence(_ context.Context, s *session, o fenceOptions) (none, error) {
	archive, err := walcore.CreateArchive(s.site.Self.Archive)
	if err != nil {
		return none{}, err
	}
	return none{}, archive.RaiseFence(o.cut())
}

func clearFence(_ context.Context, s *session, o fenceOptions) (none, error) {
	archive, err := walcore.OpenArchive(s.site.Self.Archive)
	if errors.Is(err, walcore.ErrNoArchive) {
		return none{}, nil
	}
	if err != nil {
		return none{}, err
	}
	fence, err := archive.Fence()
	if err != nil {
		return none{}, err
	}
	for _, cut := range fence.Cuts {
		if cut.Timeline == o.Timeline && cut.LSN == o.LSN && cut.By == o.By {
			if err := archive.LowerFence(cut.Epoch); err != nil {
				return none{}, err
			}
		}
	}
	return none{}, nil
}

// raiseFence makes every archive that can be reached end the timeline at the
// LSN given, or before it. The node to be promoted must take the fence. One that
// cannot be reached, or whose archive cannot take it, is named and passed over:
// what keeps the old primary from writing is its signal file or, where it cannot
// be reached, the operator's word that it is down, and neither needs that
// archive. An archive that ends the timeline there already is left as it is,
// so the fence may be raised again by a run within the run that raised it.
func raiseFence(ctx context.Context, s *session, promoted cluster.NodeName, o fenceOptions) (walcore.Cut, error) {
	fences, err := readFences(ctx, s, promoted)
	if err != nil {
		return walcore.Cut{}, err
	}
	for _, fence := range fences {
		o.Epoch = max(o.Epoch, fence.Epoch)
	}
	o.Epoch++
	o.At, o.By = time.Now().UTC(), raisedBy(o.By, promoted)
	var open []cluster.Node
	for _, n := range s.site.Nodes {
		if fence, reached := fences[n.Name]; reached && !fencedAlready(ctx, s, n.Name, fence, o) {
			open = append(open, n)
		}
	}
	raised := 0
	for i, set := range askAll(open, func(n cluster.Node) (none, error) { return callOn(ctx, s, n.Name, "fence.set", o, setFence) }) {
		switch n := open[i]; {
		case set.err == nil:
			raised++
		case n.Name == promoted:
			err := fmt.Errorf("fence the archive on %s: %w", n.Name, set.err)
			return walcore.Cut{}, errors.Join(err, clearFences(ctx, s, promoted, o))
		default:
			warnUnfenced(ctx, s, n.Name, o, set.err)
		}
	}
	if raised > 0 {
		say(ctx, s, "Fence: timeline %d ends at %s in every archive that can be reached (epoch %d)", o.Timeline, o.LSN, o.Epoch)
	}
	return o.cut(), nil
}

// raisedBy is what a cut says of its origin: the runbook, and the node that was
// promoted then.
func raisedBy(runbook string, promoted cluster.NodeName) string {
	return fmt.Sprintf("%s on %s", runbook, promoted)
}

// raisedFor keeps of a fence's cuts those that were made when a node was promoted.
func raisedFor(node cluster.NodeName, fence walcore.Fence) []walcore.Cut {
	return slices.DeleteFunc(slices.Clone(fence.Cuts), func(c walcore.Cut) bool { return !strings.HasSuffix(c.By, raisedBy("", node)) })
}

// readFences reads the fences of all archives that can be read.
func readFences(ctx context.Context, s *session, promoted cluster.NodeName) (map[cluster.NodeName]walcore.Fence, error) {
	fences := map[cluster.NodeName]walcore.Fence{}
	for i, read := range askAll(s.site.Nodes, func(n cluster.Node) (walcore.Fence, error) {
		return callOn(ctx, s, n.Name, "fence.read", none{}, readFence)
	}) {
		name := s.site.Nodes[i].Name
		if read.err != nil && name == promoted {
			return nil, read.err
		}
		if read.err != nil {
			say(ctx, s, "WARNING: the archive on %s is not fenced: %s", name, oneLine(read.err))
			say(ctx, s, "WAL that an old primary ships there is accepted; make sure that none runs before %s is used again", name)
			continue
		}
		fences[name] = read.value
	}
	return fences, nil
}

// fencedAlready reports whether an archive ends the timeline where it is to
// end, or before that, which it says: a cut is never moved up.
func fencedAlready(ctx context.Context, s *session, node cluster.NodeName, fence walcore.Fence, o fenceOptions) bool {
	cut, there := fence.Cut(o.Timeline)
	if !there || cut.LSN > o.LSN {
		return false
	}
	if cut.LSN < o.LSN {
		say(ctx, s, "WARNING: the archive on %s ends timeline %d at %s already (%s, %s) and not at %s", node, o.Timeline, cut.LSN, cut.By, cut.At.Format("2006-01-02 15:04:05 MST"), o.LSN)
		say(ctx, s, "What it lacks of the WAL in between it will not take: where warmrun status then shows %s behind, take a new base copy", node)
	}
	return true
}

func warnUnfenced(ctx context.Context, s *session, node cluster.NodeName, o fenceOptions, err error) {
	say(ctx, s, "WARNING: the archive on %s cannot take the fence: %s", node, oneLine(err))
	say(ctx, s, "Until that is mended it accepts WAL of timeline %d past %s, should an old primary ship any; it is not on the new primary's history", o.Timeline, o.LSN)
	say(ctx, s, "Mend the archive on %s; then see with warmrun status that it follows, and take a new base copy of it if not", node)
}

// lowerFence takes back what raiseFence has done with the same options, unless
// the promotion has come after it all the same, by whoever went on with the run.
func lowerFence(ctx context.Context, s *session, promoted cluster.NodeName, o fenceOptions) error {
	if err := notPromoted(ctx, s, promoted, o.Timeline); err != nil {
		return err
	}
	o.By = raisedBy(o.By, promoted)
	return clearFences(ctx, s, promoted, o)
}

// notPromoted refuses where the node that was to be promoted cannot say that it
// was not, and where another that answers has the history of a promotion.
func notPromoted(ctx context.Context, s *session, promoted cluster.NodeName, timeline walcore.Timeline) error {
	reason, err := callOn(ctx, s, promoted, "standby.underway", underwayOptions{timeline}, promotionUnderway)
	if err != nil {
		return hint.Wrap(fmt.Errorf("the fence stays: %s cannot be asked whether it was promoted: %w", promoted, err),
			"when it answers, on the old primary: warmrun lowerFence")
	}
	for _, n := range s.site.Nodes {
		offshoots, err := offshootsOf(ctx, s, n.Name, timeline)
		if err == nil && len(offshoots) > 0 && reason == "" {
			reason = fmt.Sprintf("%s has the history of timeline %d, which left timeline %d at %s", n.Name, offshoots[0].Timeline, timeline, offshoots[0].LSN)
		}
	}
	if reason != "" {
		return hint.Wrap(fmt.Errorf("the fence on timeline %d stays, it is right: %s", timeline, reason),
			"look at: warmrun status; the old primary must become a standby of the new one, there: warmrun rejoin")
	}
	return nil
}

func clearFences(ctx context.Context, s *session, promoted cluster.NodeName, o fenceOptions) error {
	for _, n := range s.site.Nodes {
		if _, err := callOn(ctx, s, n.Name, "fence.clear", o, clearFence); err != nil {
			if n.Name == promoted {
				return err
			}
			say(ctx, s, "%s cannot be reached; a fence may be left in its archive (%s)", n.Name, oneLine(err))
		}
	}
	return nil
}
