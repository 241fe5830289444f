package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
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

// raiseFence writes the fence with an epoch above every known one. The node to
// be promoted must take it; one that cannot be reached is said and passed over.
func raiseFence(ctx context.Context, s *session, promoted cluster.NodeName, o fenceOptions) (walcore.Cut, error) {
	reached := map[cluster.NodeName]bool{}
	for _, n := range s.site.Nodes {
		fence, err := callOn(ctx, s, n.Name, "fence.read", none{}, readFence)
		if err != nil {
			if n.Name == promoted {
				return walcore.Cut{}, err
			}
			say(ctx, s, "%s cannot be reached; its archive is not fenced (%v)", n.Name, err)
			continue
		}
		reached[n.Name] = true
		o.Epoch = max(o.Epoch, fence.Epoch)
	}
	o.Epoch++
	o.At = time.Now().UTC()
	for _, n := range s.site.Nodes {
		if !reached[n.Name] {
			continue
		}
		if _, err := callOn(ctx, s, n.Name, "fence.set", o, setFence); err != nil {
			err = fmt.Errorf("fence the archive on %s: %w", n.Name, err)
			return walcore.Cut{}, errors.Join(err, lowerFence(ctx, s, promoted, o))
		}
	}
	say(ctx, s, "Fence: timeline %d ends at %s in every archive that can be reached (epoch %d)", o.Timeline, o.LSN, o.Epoch)
	return o.cut(), nil
}

func lowerFence(ctx context.Context, s *session, promoted cluster.NodeName, o fenceOptions) error {
	for _, n := range s.site.Nodes {
		if _, err := callOn(ctx, s, n.Name, "fence.clear", o, clearFence); err != nil {
			if n.Name == promoted {
				return err
			}
			say(ctx, s, "%s cannot be reached; a fence may be left in its archive (%v)", n.Name, err)
		}
	}
	return nil
}
