package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/warmrun/warmrun/engine"
)

// errCallerLost is why a run ends that was called by a run on another node.
var errCallerLost = errors.New("the run that called this one has ended, or the connection to it has")

// caller is the run on another node that this one is part of. A run that has
// lost it undoes what it has done; once past the line of no return it goes on
// to its end, because half a promotion helps nobody.
type caller struct {
	mu   sync.Mutex
	lost bool
	past bool
	out  io.Writer // the standard error that it reads
}

// calledBy is the run around this one. Where that attends it, its end is the end
// of ctx.
func (p *process) calledBy(ctx context.Context, attended bool) (*caller, context.Context, func()) {
	c := &caller{out: p.err}
	if !attended {
		return c, ctx, func() {}
	}
	ctx, leave := c.watch(ctx, p.in)
	return c, ctx, leave
}

// watch ends ctx when the input ends before the line of no return was passed.
// The goroutine that reads may outlive the run: nothing ends a read of standard
// input but the process.
func (c *caller) watch(ctx context.Context, in io.Reader) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		if c.gone() {
			cancel(errCallerLost)
		}
	}()
	return ctx, func() { cancel(nil) }
}

// tell prints the mark of the line of no return for the calling run.
func (c *caller) tell() error {
	if _, err := fmt.Fprintln(c.out, noReturnMark); err != nil {
		return err
	}
	return c.passNoReturn()
}

// observe tells the caller when the line is passed.
func (c *caller) observe(e engine.Event) error {
	if e.Kind != engine.NoReturnPassed {
		return nil
	}
	return c.tell()
}

// gone notes that the caller is lost, and reports whether that ends the run.
func (c *caller) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = !c.past
	return c.lost
}

// passNoReturn is an error when the caller was lost before.
func (c *caller) passNoReturn() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost {
		return errCallerLost
	}
	c.past = true
	return nil
}

// outliveReaders makes a write to a pipe that nobody reads any more an error
// like any other, until the function it gives is called. Without it the write
// would be the end of the process, in the middle of a change of state. The
// programs that are started are not touched: they would inherit a signal that
// is ignored, but not one that is caught.
func outliveReaders() (stop func()) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGPIPE)
	return func() { signal.Stop(caught) }
}

// unread goes on when nobody reads the output any more.
type unread struct{ to io.Writer }

func (w unread) Write(p []byte) (int, error) {
	_, _ = w.to.Write(p)
	return len(p), nil
}
