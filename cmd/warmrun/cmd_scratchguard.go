package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/warmrun/warmrun/builtins/scratch"
)

// scratchGuardCommand removes a scratch server whose maker was killed: it could run
// on for a day, on a disk that has no room for two.
type scratchGuardCommand struct {
	Dir string `arg:""`
}

// Run waits for the end of standard input, which the maker holds. What is there
// to be used by then stays.
func (c *scratchGuardCommand) Run(ctx context.Context, p *process, _ *globals) error {
	ended := make(chan error, 1)
	go func() { // it ends with the process at the latest
		_, err := io.Copy(io.Discard, p.in)
		ended <- err
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-ended:
		if err != nil {
			return err
		}
	}
	server, err := scratch.Open(c.Dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && server.Stays {
		return nil
	}
	if err != nil {
		return err
	}
	return server.Remove(ctx)
}

// guardScratch leaves `warmrun scratch-guard DIR` behind, which outlives this
// process.
func (s *session) guardScratch(dir string) error {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := detached("scratch-guard", dir)
	cmd.Stdin = theirs
	if err := cmd.Start(); err != nil {
		return errors.Join(err, ours.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guarded = append(s.guarded, ours)
	return cmd.Process.Release()
}
