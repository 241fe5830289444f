package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// exchange is one request of a client's, its answers and its data.
type exchange struct {
	c    *Client
	id   uint32
	in   chan frame    // what the agent says to it
	over chan struct{} // closed when nobody listens any more
}

// ask sends a request and reads the reply to it.
func (x *exchange) ask(r request, reply any) error {
	if err := x.say(r); err != nil {
		return err
	}
	return x.reply(reply)
}

// say sends a request.
func (x *exchange) say(r request) error { return x.c.frames.sendJSON(frameRequest, x.id, r) }

// reply reads an answer. A no of the agent's is an *answerError.
func (x *exchange) reply(into any) error {
	f, err := x.next()
	switch {
	case err != nil:
		return noEOF(err)
	case f.kind == frameError:
		var said failure
		if err := decode(f.payload, &said); err != nil {
			return err
		}
		return &answerError{said.err()}
	case f.kind != frameReply:
		return protocolError("a frame of type %q where a reply should be", f.kind)
	}
	return decode(f.payload, into)
}

// next waits for the agent's next frame to this exchange.
func (x *exchange) next() (frame, error) {
	select {
	case f := <-x.in:
		return f, nil
	case <-x.c.dead:
	}
	// What came before the connection ended counts.
	select {
	case f := <-x.in:
		return f, nil
	default:
		return frame{}, x.c.reason()
	}
}

// refused is the agent's no to data that is still being sent.
func (x *exchange) refused() error {
	select {
	case f := <-x.in:
		var said failure
		if f.kind != frameError {
			return protocolError("a frame of type %q before all data was sent", f.kind)
		}
		if err := decode(f.payload, &said); err != nil {
			return err
		}
		return said.err()
	default:
		return nil
	}
}

// answerError is an error that the agent answered with, or one of this side's
// that leaves the connection as good as it was.
type answerError struct{ error }

func (e *answerError) Unwrap() error { return e.error }

// call runs one exchange with the agent. When ctx ends, or when nothing moves
// for too long while answers are due, the stream is closed, which is the one
// way to end a read; it ends all other exchanges with it.
func (c *Client) call(ctx context.Context, exchange func(x *exchange) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	x, err := c.begin()
	if err != nil {
		return err
	}
	defer c.end(x)
	stop := context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	defer stop()
	err = exchange(x)
	var answer *answerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return answer.error
	}
	c.fail(err)
	if errors.Is(err, errProtocol) {
		return err // the stream may well have ended first, as such streams do
	}
	return c.reason()
}

// begin opens an exchange.
func (c *Client) begin() (*exchange, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, fmt.Errorf("the connection to the agent was lost before: %w", c.broken)
	}
	c.last++
	x := &exchange{c: c, id: c.last, in: make(chan frame, 4), over: make(chan struct{})}
	c.open[x.id] = x
	c.silence.Reset(c.stall)
	return x, nil
}

func (c *Client) end(x *exchange) {
	close(x.over)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, x.id)
	if len(c.open) == 0 {
		c.silence.Stop()
	}
}

// moved is called whenever bytes have: the agent is alive.
func (c *Client) moved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) > 0 && c.broken == nil {
		c.silence.Reset(c.stall)
	}
}

// receive hands what the agent says to those who have asked, until the stream
// ends.
func (c *Client) receive() {
	for {
		f, err := c.frames.read(nil)
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		x := c.open[f.request]
		stranger := x == nil && f.request > c.last
		c.mu.Unlock()
		if stranger {
			c.fail(protocolError("an answer to request %d, which was never made", f.request))
			return
		}
		if x == nil {
			continue // nobody listens to this one any more
		}
		select {
		case x.in <- f:
		case <-x.over:
		case <-c.dead:
			return
		}
	}
}

// fail ends the connection for everybody. The first reason counts, with what
// the other side said as it ended.
func (c *Client) fail(err error) {
	c.mu.Lock()
	first := c.broken == nil
	if first {
		c.broken = err
	}
	c.silence.Stop()
	c.mu.Unlock()
	closeErr := c.close()
	if !first {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the agent closed the connection")
	}
	c.mu.Lock()
	c.broken = oneLine(errors.Join(err, unless(closeErr, err)))
	c.mu.Unlock()
	close(c.dead)
}

// reason is why the connection has ended. It waits for how the agent did.
func (c *Client) reason() error {
	<-c.dead
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// watchSilence ends a connection on which nothing moves.
func (c *Client) watchSilence() *time.Timer {
	timer := time.AfterFunc(time.Hour, func() {
		c.fail(fmt.Errorf("the agent gave no sign of life for %s", c.stall))
	})
	timer.Stop()
	return timer
}

// closeOnce closes the stream once, and remembers how that went.
func closeOnce(stream io.Closer) func() error { return sync.OnceValue(stream.Close) }
