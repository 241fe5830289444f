package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Streams are a command's standard input, output and error. Input that is nil
// is empty; output that is nil is thrown away.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer

	// KeepOpen leaves the standard input open behind In until the command has
	// ended or ctx has: its end tells the command that the caller is gone,
	// whatever became of it.
	KeepOpen bool

	// Grace is how long the command has to end after SIGTERM, with its output
	// still copied; 0 means two seconds. A command that has something to take
	// back needs more. GiveUp, when closed, ends the grace at once.
	Grace  time.Duration
	GiveUp <-chan struct{}
}

// Run runs a command, a line for the login shell of the user on the node, and
// copies its streams while it runs. It returns nil when the command has exited
// with 0, and *ExitError when it failed.
//
// When ctx ends, the command gets SIGTERM and, once it has ended or the grace is
// over, its streams are closed. (sshd passes no signals to root's commands;
// those see the closed streams only.) The error then tells why ctx ended, and
// is an *ExitError too where the command has told how it ended.
//
// A daemon that the command leaves behind may keep the streams open: Run
// returns about a second after the command has exited. Out and Err are not
// written to after Run has returned, but a Read of In that blocks may still be
// going on.
func (c *Client) Run(ctx context.Context, command string, streams Streams) error {
	s, err := c.open(ctx, command)
	if err != nil {
		return err
	}
	fed := make(chan struct{})
	// Not one of the client's goroutines: a read of In may never return.
	go func() {
		defer close(fed)
		s.feed(streams)
	}()
	out, stderr := newGate(streams.Out), newGate(&s.stderr, streams.Err)
	copied := make(chan struct{})
	c.spawn(func() {
		defer close(copied)
		var both sync.WaitGroup
		both.Go(func() { s.copyOutput(out, s.channel) })
		both.Go(func() { s.copyOutput(stderr, s.channel.Stderr()) })
		both.Wait()
	})
	interrupted := s.wait(ctx, copied, streams)
	s.hangUp()
	failed := errors.Join(out.shut(), stderr.shut())
	settle(fed)
	switch {
	case interrupted:
		return s.interrupted(ctx)
	case failed != nil:
		return fmt.Errorf("write the output of %s on %s: %w", shorten(command), s.hop.target, failed)
	}
	return s.result()
}

// Output is Run with the standard output as its result. What was written
// before a failure is returned with the error.
func (c *Client) Output(ctx context.Context, command string, in io.Reader) ([]byte, error) {
	var out bytes.Buffer
	err := c.Run(ctx, command, Streams{In: in, Out: &out})
	return out.Bytes(), err
}

// feed copies the standard input. That it cannot all be written is no error:
// a command need not read its input to the end.
func (s *session) feed(streams Streams) {
	if streams.In != nil {
		_, _ = io.Copy(s.channel, streams.In)
	}
	if !streams.KeepOpen {
		_ = s.channel.CloseWrite()
	}
}

// wait returns when the command and its output have ended. It reports whether
// ctx ended first.
func (s *session) wait(ctx context.Context, copied <-chan struct{}, streams Streams) (interrupted bool) {
	select {
	case <-ctx.Done():
		if streams.KeepOpen {
			s.client.spawn(func() { _ = s.channel.CloseWrite() })
		}
		s.terminate(cmp.Or(streams.Grace, termGrace), streams.GiveUp)
		return true
	case <-s.ended:
		// What had arrived by then is still to be written.
		select {
		case <-copied:
		case <-ctx.Done():
			return true
		}
	case <-s.exited:
		s.drain(ctx, copied)
	}
	return false
}

// settle gives the copying of the input a moment to end, so that a caller can
// use its reader again. One that blocks in a read is left alone.
func settle(fed <-chan struct{}) {
	moment := time.NewTimer(100 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-fed:
	case <-moment.C:
	}
}
