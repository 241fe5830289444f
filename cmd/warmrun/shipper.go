package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/ship"
)

// shipperDir is where the shippers of a home directory have their places.
func shipperDir(home string) string { return filepath.Join(home, "local", "ship") }

// program tells this build from any other one: a shipper must not outlive the
// binary that it was started from.
func program() string {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return version
	}
	return fmt.Sprintf("%s %d %d", version, info.Size(), info.ModTime().UnixNano())
}

// shipperOf calls the shipper of a data directory.
func shipperOf(home, pgdata string) (ship.Caller, error) {
	if pgdata == "" {
		return ship.Caller{}, errors.New("the data directory is not known")
	}
	place, err := ship.PlaceOf(shipperDir(home), pgdata)
	if err != nil {
		return ship.Caller{}, err
	}
	caller := ship.Caller{Place: place, Program: program()}
	caller.Start = func() (<-chan struct{}, error) { return startShipper(home, place) }
	return caller, nil
}

// longestLog is when the log is begun anew; the old one is kept beside it.
const longestLog = 1 << 20

// startShipper leaves a shipper behind that has nothing of the server's but its
// environment: neither its session nor the pipe to its logging collector, which
// must see an end when the server is stopped.
func startShipper(home string, place ship.Place) (<-chan struct{}, error) {
	if err := os.MkdirAll(place.Dir, 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Stat(place.LogFile()); err == nil && info.Size() > longestLog {
		if err := os.Rename(place.LogFile(), place.LogFile()+".old"); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(place.LogFile(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := detached("--home", home, "--pgdata", place.DataDir, "shipper", "run")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it says in its log why
		close(ended)
	}()
	return ended, nil
}

// endShippers has the next call of each server start a new one, which logs in
// anew.
func endShippers(ctx context.Context, dir string) error {
	places, err := ship.Places(dir)
	if err != nil {
		return err
	}
	for _, place := range places {
		if err := place.Stop(ctx); err != nil && !errors.Is(err, ship.ErrNoShipper) {
			return fmt.Errorf("end the shipper of %s: %w", place.DataDir, err)
		}
	}
	return nil
}

// heldAgent starts the receiving end of WAL shipping over an ssh connection of
// its own, which ends with it.
// What there is to say about the login goes to remarks.
func (s *session) heldAgent(name cluster.NodeName, remarks io.Writer) ship.Dialer {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		alone := newSession(s.site, s.out, remarks)
		alone.aliveInterval = s.aliveInterval
		stream, err := alone.agent(name)(ctx)
		if err != nil {
			return nil, errors.Join(err, alone.Close())
		}
		return heldStream{stream, alone}, nil
	}
}

// heldStream is a stream together with the session that is its alone.
type heldStream struct {
	io.ReadWriteCloser
	session *session
}

// Close returns how the command ended.
func (h heldStream) Close() error {
	err := h.ReadWriteCloser.Close()
	return errors.Join(err, h.session.Close())
}
