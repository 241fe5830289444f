package main

import (
	"context"
	"fmt"
	"time"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// What keeps the old primary from writing beside the new one: its signal file
// where it can be reached, the site's fencing hook where it cannot.

// fencedRivals are the nodes that can no longer be written to by clients.
type fencedRivals struct {
	// Fenced are stopped, and can start only as standbys.
	Fenced []cluster.NodeName `json:"fenced"`
	// Off cannot be asked, and are off, says the site's fencing hook.
	Off []cluster.NodeName `json:"off"`
}

// fenceRivals makes every stopped primary beside the node able to start only as
// a standby, and has the hook switch off what cannot be asked. The DR node is not
// its business: what matters there is whether it was promoted, and checkRivals has
// said what that means.
func fenceRivals(ctx context.Context, s *session, promoted cluster.NodeName, acceptSplit bool) (fencedRivals, error) {
	done := fencedRivals{Fenced: []cluster.NodeName{}, Off: []cluster.NodeName{}}
	for _, n := range s.site.Nodes {
		if n.Name == promoted {
			continue
		}
		state, err := stateOf(ctx, s, n.Name)
		switch {
		case err != nil && n.Role == cluster.RolePair:
			off, err := switchOff(ctx, s, n, acceptSplit, err)
			if err != nil {
				return done, done.begun(err)
			}
			if off {
				done.Off = append(done.Off, n.Name)
			}
		case err != nil:
		case state.Role == standby.RolePrimary:
			return done, done.begun(hint.Wrap(fmt.Errorf("%s has come up meanwhile and accepts writes", n.Name), "stop it, then repeat; on %s: pg_ctl -D %s stop -m fast", n.Name, state.PGData))
		case state.Role == standby.RoleStoppedPrimary:
			if err := fenceStopped(ctx, s, n.Name); err != nil {
				return done, err
			}
			done.Fenced = append(done.Fenced, n.Name)
		}
	}
	return done, nil
}

// begun marks an error that has come before anything was done.
func (f fencedRivals) begun(err error) error {
	if len(f.Fenced)+len(f.Off) > 0 {
		return err
	}
	return engine.NotBegun(err)
}

// switchOff has the site's fencing hook make sure that a node which cannot be asked
// is off. With --accept-split it is run all the same, and what it says is no more
// than a comfort.
func switchOff(ctx context.Context, s *session, n cluster.Node, acceptSplit bool, unasked error) (bool, error) {
	if s.site.Fencing.Command == "" {
		if acceptSplit {
			return false, nil
		}
		return false, hint.Wrap(fmt.Errorf("%s has answered before and can no longer be asked: %w", n.Name, unasked),
			"see what became of it and repeat this; when you have made sure that it is down, with --accept-split")
	}
	err := runFencingHook(ctx, s, n)
	switch {
	case err == nil:
		say(ctx, s, "%s is off, says the site's fencing hook", n.Name)
		return true, nil
	case ctx.Err() != nil:
		return false, err
	case acceptSplit:
		say(ctx, s, "RISK: the site's fencing hook does not say that %s is off (%s). If its server still runs, it goes on accepting writes, and they will be lost.", n.Name, oneLine(err))
		return false, nil
	}
	return false, hint.Wrap(fmt.Errorf("%s cannot be asked, and the site's fencing hook does not say that it is off: %w", n.Name, err),
		"nobody was promoted; mend fencing.command in cluster.toml and repeat, or make sure by other means that %s is down and repeat with --accept-split", n.Name)
}

// runFencingHook is an error unless the hook says that the node is off. A hook that
// hangs is ended with all that it has started.
func runFencingHook(ctx context.Context, s *session, n cluster.Node) error {
	patience := time.Duration(s.site.Fencing.Timeout)
	if patience == 0 {
		patience = cluster.DefaultFencingTimeout
	}
	line := s.site.Fencing.Line(n, func(word string) string { return remote.Quote(word) })
	say(ctx, s, "The site's fencing hook for %s: %s", n.Name, line)
	limited, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s: no end after %s (fencing.timeout)", line, patience))
	defer cancel()
	out := s.live(ctx)
	err := runShell(limited, line, out, out)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func fenceStopped(ctx context.Context, s *session, node cluster.NodeName) error {
	_, err := callOn(ctx, s, node, "standby.configure", configureOptions{Fence: true},
		func(ctx context.Context, s *session, _ configureOptions) (none, error) {
			return none{}, s.self().Fence(ctx)
		})
	if err != nil {
		return hint.Wrap(fmt.Errorf("fence %s: %w", node, err),
			"without its signal file the server on %s could come back as a second primary: mend that and repeat this, or take the host off the network and repeat with --accept-split", node)
	}
	say(ctx, s, "%s is fenced: its server can start only as a standby", node)
	return nil
}
