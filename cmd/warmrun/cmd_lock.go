package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// lockCommand holds this node's part of the cluster lock for a run on another
// node. It reads who wants the lock, a line of JSON, and answers with one; from
// then on every line is answered with an empty one. The lock is released at the
// end of the input, so with the connection, and after lockSilence without a
// line: a host that loses its power does not end its connections.
type lockCommand struct{}

// lockReply is the first answer.
type lockReply struct {
	// Holder is who has the lock, where it was refused.
	Holder *lockHolder `json:"holder,omitempty"`
	// Before is the run that had it last.
	Before string `json:"before,omitempty"`
	// Error is why it could not be tried at all.
	Error string `json:"error,omitempty"`
}

// lockSilence is how long a lock outlives a host that was cut off.
const lockSilence = time.Minute

// Run returns when the lock is released.
func (c *lockCommand) Run(ctx context.Context, p *process, g *globals) error {
	in := bufio.NewReader(p.in)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return usageError{fmt.Errorf("read who wants the lock: %w", err)}
	}
	var holder lockHolder
	if err := json.Unmarshal(line, &holder); err != nil {
		return usageError{fmt.Errorf("read who wants the lock: %w", err)}
	}
	lock, reply := c.take(p, *g, holder)
	if err := json.NewEncoder(p.out).Encode(reply); err != nil || lock == nil {
		return err
	}
	return errors.Join(answer(ctx, in, p.out), lock.Close())
}

func (c *lockCommand) take(p *process, g globals, holder lockHolder) (*lockFile, lockReply) {
	s, err := p.session(g)
	if err != nil {
		return nil, lockReply{Error: err.Error()}
	}
	lock, err := takeLock(s.site, clusterLockName, holder)
	var held *heldError
	switch {
	case errors.As(err, &held):
		return nil, lockReply{Holder: &held.holder}
	case err != nil:
		return nil, lockReply{Error: err.Error()}
	}
	return lock, lockReply{Before: lock.before.Run}
}

// answer answers every line until the input ends, ctx ends, or no line comes
// for too long. The goroutine that reads may outlive it: nothing ends a read of
// standard input but the process.
func answer(ctx context.Context, in *bufio.Reader, out io.Writer) error {
	lines := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := in.ReadBytes('\n'); err != nil {
				return
			}
			lines <- struct{}{}
		}
	}()
	silence := time.NewTimer(lockSilence)
	defer silence.Stop()
	for {
		select {
		case <-lines:
			silence.Reset(lockSilence)
			if _, err := io.WriteString(out, "\n"); err != nil {
				return err
			}
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		case <-silence.C:
			return nil
		}
	}
}
