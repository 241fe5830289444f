package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

// The connection that a stopped server's last segment goes over is opened before
// the stop: to log in and to start the agent takes longer than to send it.

// readyToFlush opens the connection, unless it is there, and asks what the other
// side has replayed, so that the next question finds the program there waiting.
func readyToFlush(ctx context.Context, s *session, o toOption) (none, error) {
	if _, err := progressOf(ctx, s, o.To); err != nil {
		return none{}, err
	}
	if client := s.takeShip(o.To); client != nil {
		_ = client.Close() // it may have broken since
	}
	client, err := s.shipTo(context.WithoutCancel(ctx), o.To)
	if err != nil {
		return none{}, fmt.Errorf("reach the archive on %s: %w", o.To, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready[o.To] = client
	return none{}, nil
}

// takeShip is the connection that was opened beforehand, or nil.
func (s *session) takeShip(to cluster.NodeName) *ship.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.ready[to]
	delete(s.ready, to)
	return client
}

// closeReady ends those that were not used.
func (s *session) closeReady() error {
	s.mu.Lock()
	ready := s.ready
	s.ready = map[cluster.NodeName]*ship.Client{}
	s.mu.Unlock()
	var errs []error
	for _, client := range ready {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}
