package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// stopOptions: without drain the stop is fast at once; with it, new
// connections are refused and clients may finish before the fast stop.
type stopOptions struct {
	Drain   time.Duration `json:"drain"`
	Timeout time.Duration `json:"timeout"`
	Mode    string        `json:"mode"`
}

type timeoutOption struct {
	Timeout time.Duration `json:"timeout"`
}

type versionResult struct {
	Major pgctl.Version `json:"major"`
}

func pgctlOperations() []operation {
	return []operation{
		onNode("pg_ctl", "status", engine.Read, "whether a server runs on the node, and where it listens",
			func(ctx context.Context, s *session, _ none) (pgctl.Status, error) { return s.server().Status(ctx) }),
		onNode("pg_ctl", "control", engine.Read, "the node's pg_control",
			func(_ context.Context, s *session, _ none) (walcore.ControlFile, error) { return s.server().Control() }),
		onNode("pg_ctl", "version", engine.Read, "the major version of the node's data directory",
			func(_ context.Context, s *session, _ none) (versionResult, error) {
				major, err := s.server().Version()
				return versionResult{major}, err
			}),
		onNode("pg_ctl", "may_control", engine.Read, "that this program is allowed and able to start and stop the node's server", mayControl),
		onNode("pg_ctl", "start", engine.Change, "start the server and wait until it is ready",
			func(ctx context.Context, s *session, o timeoutOption) (pgctl.Status, error) {
				return startServer(ctx, s, o.Timeout)
			}),
		onNode("pg_ctl", "stop", engine.Change, "stop the server: smart while clients drain, then fast, never immediate unless asked to", stopServer),
		onNode("pg_ctl", "restart", engine.Change, "stop fast and start",
			func(ctx context.Context, s *session, o timeoutOption) (pgctl.Status, error) {
				if _, err := stopServer(ctx, s, stopOptions{Timeout: o.Timeout}); err != nil {
					return pgctl.Status{}, err
				}
				return startServer(ctx, s, o.Timeout)
			}),
		onNode("pg_ctl", "reload", engine.Change, "read the configuration again",
			func(ctx context.Context, s *session, _ none) (none, error) { return none{}, s.server().Reload(ctx) }),
		pastReturn(onNode("pg_ctl", "promote", engine.Change, "end recovery, past the line of no return; prefer the triggerStandby runbook, which checks first", promoteServer)),
	}
}

// mayControl is asked of every node that a runbook is going to stop or start:
// nothing may be stopped that cannot be started again.
func mayControl(ctx context.Context, s *session, _ none) (bool, error) {
	if err := s.server().MayControl(ctx); err != nil {
		return false, fmt.Errorf("the server on %s cannot be controlled: %w", s.site.Self.Name, err)
	}
	return true, nil
}

func startServer(ctx context.Context, s *session, timeout time.Duration) (pgctl.Status, error) {
	server := s.server()
	if why, err := s.self().HalfRewound(); err != nil {
		return pgctl.Status{}, engine.NotBegun(err)
	} else if why != "" {
		return pgctl.Status{}, engine.NotBegun(hint.Wrap(errors.New(why), "a base copy mends it: warmrun rejoin, on this node"))
	}
	err := server.Start(ctx, pgctl.StartOptions{Timeout: orDefault(timeout, 10*time.Minute), LogFile: s.site.Local("server.log")})
	if err != nil {
		return pgctl.Status{}, err
	}
	return server.Status(ctx)
}

// stopServer notes when the stop was asked for that ended the clients' sessions.
func stopServer(ctx context.Context, s *session, o stopOptions) (none, error) {
	asked := time.Now().UTC()
	err := stopWith(ctx, s, o, func() { asked = time.Now().UTC() })
	if err == nil {
		noteMoments(s.site, func(m *moments) { m.StopAsked, m.Stopped = asked, time.Now().UTC() })
	}
	return none{}, err
}

// stopWith calls fast before it asks for the stop that waits for nobody.
func stopWith(ctx context.Context, s *session, o stopOptions, fast func()) error {
	server := s.server()
	_ = s.dropSQL() // it may have broken
	defer s.telling(ctx, func(ctx context.Context) string {
		status, err := server.Status(ctx)
		if err != nil || !status.Running {
			return ""
		}
		return server.Occupants(status.PID)
	})()
	if o.Drain > 0 {
		// Smart refuses new sessions and waits for the others; that it did not
		// suffice is no failure, the fast stop follows.
		status, err := server.Status(ctx)
		if err == nil && status.Running {
			if err = server.Stop(ctx, pgctl.StopOptions{Mode: pgctl.ModeSmart, Timeout: o.Drain}); err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return err
			}
			say(ctx, s, "Clients are still connected after %s: stopping fast", o.Drain)
		}
	}
	fast()
	return server.Stop(ctx, pgctl.StopOptions{Mode: pgctl.Mode(o.Mode), Timeout: orDefault(o.Timeout, 10*time.Minute)})
}

// promoteServer notes when it asked, and when the server was seen to accept writes.
func promoteServer(ctx context.Context, s *session, o timeoutOption) (none, error) {
	defer s.tellReplay(ctx, 0)()
	asked := time.Now().UTC()
	err := s.server().Promote(ctx, orDefault(o.Timeout, time.Hour))
	if err == nil {
		noteMoments(s.site, func(m *moments) { m.PromotionAsked, m.Opened = asked, time.Now().UTC() })
	}
	return none{}, err
}

// pgctlStatus is pg_ctl.status for our own use.
func pgctlStatus(ctx context.Context, s *session, node cluster.NodeName) (pgctl.Status, error) {
	return callOn(ctx, s, node, "pg_ctl.status", none{},
		func(ctx context.Context, s *session, _ none) (pgctl.Status, error) { return s.server().Status(ctx) })
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
