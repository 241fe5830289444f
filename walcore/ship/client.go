package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

// defaultStall is how long a connection may stand still. An agent that flushes
// a gigabyte to a slow disk is silent for a while.
const defaultStall = 2 * time.Minute

// Options bend a connection. The zero value will do.
type Options struct {
	// Version is this program's, for messages.
	Version string
	// Stall is how long no byte may move while an answer is awaited before the
	// connection is given up; 0 means two minutes.
	Stall time.Duration
}

// Client is a connection to the agent of one archive. Calls may come from many
// goroutines and are answered one after the other. After an error of the
// connection itself every call fails; make a new one then. An error of the
// agent's keeps its type: *walcore.RefusedError, *walcore.SpaceError,
// walcore.ErrNoArchive, walcore.ErrNotArchived, ErrRestricted.
type Client struct {
	mu     sync.Mutex
	stream io.ReadWriteCloser
	frames *frames
	peer   hello
	stall  time.Duration
	broken error // why no call can succeed any more
	close  func() error
}

// Connect starts an agent and greets it.
func Connect(ctx context.Context, dial Dialer) (*Client, error) {
	return ConnectWith(ctx, dial, Options{})
}

// ConnectWith is Connect with options.
func ConnectWith(ctx context.Context, dial Dialer, o Options) (*Client, error) {
	if o.Stall == 0 {
		o.Stall = defaultStall
	}
	stream, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &Client{stream: stream, frames: newFrames(stream), stall: o.Stall, close: sync.OnceValue(stream.Close)}
	err = c.call(ctx, func() error {
		if err := c.frames.greet(hello{Program: o.Version}); err != nil {
			return err
		}
		c.peer, err = c.frames.greeting()
		return err
	})
	if err == nil {
		err = c.peer.checkVersion()
	}
	if err != nil {
		return nil, c.noAgent(err)
	}
	return c, nil
}

// noAgent explains a connection that did not get as far as an agent.
func (c *Client) noAgent(err error) error {
	err = errors.Join(err, c.close())
	err = fmt.Errorf("no answer from a warmrun agent: %w", oneLine(err))
	if hint.Of(err) != "" {
		return err
	}
	return hint.Wrap(err, "see whether warmrun runs there (distrib brings it), and that no shell start-up file prints anything in a session without a terminal")
}

// PeerVersion is the version of the program at the other end.
func (c *Client) PeerVersion() string { return c.peer.Program }

// Restricted reports whether the agent lets this client only ship WAL.
func (c *Client) Restricted() bool { return c.peer.Restricted }

// Close ends the agent and returns how it ended.
func (c *Client) Close() error {
	return c.close()
}

// call runs one exchange with the agent. The stream is closed when ctx ends or
// when nothing moves for too long, which is the one way to end a read.
func (c *Client) call(ctx context.Context, exchange func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return fmt.Errorf("the connection to the agent was lost before: %w", c.broken)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	watch := c.watch(ctx)
	err := exchange()
	interrupted := watch.stop()
	var answer *answerError
	switch {
	case interrupted != nil:
		c.broken = interrupted
		return interrupted
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return answer.error
	}
	c.broken = c.lost(err)
	return c.broken
}

// lost is an error of the stream, with what the other side said as it ended.
func (c *Client) lost(err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("the agent closed the connection")
	}
	return oneLine(errors.Join(err, c.close()))
}

// watchdog closes the stream of a call that takes too long.
type watchdog struct {
	timer   *time.Timer
	stopCtx func() bool
	mu      sync.Mutex
	why     error
}

func (c *Client) watch(ctx context.Context) *watchdog {
	w := &watchdog{}
	end := func(why error) {
		w.mu.Lock()
		first := w.why == nil
		if first {
			w.why = why
		}
		w.mu.Unlock()
		if first {
			_ = c.close() // why is the error that counts
		}
	}
	w.timer = time.AfterFunc(c.stall, func() {
		end(fmt.Errorf("the agent gave no sign of life for %s", c.stall))
	})
	w.stopCtx = context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	c.frames.alive = func() { w.timer.Reset(c.stall) }
	return w
}

// stop ends the watch and says why it closed the stream, if it did.
func (w *watchdog) stop() error {
	w.timer.Stop()
	w.stopCtx()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why
}

// answerError is an error that the agent answered with, or one of this side's
// that leaves the connection as good as it was.
type answerError struct{ error }

func (e *answerError) Unwrap() error { return e.error }

// ask sends a request and reads the reply to it.
func (c *Client) ask(r request, reply any) error {
	if err := c.frames.writeJSON(frameRequest, r); err != nil {
		return err
	}
	return c.reply(reply)
}

func (c *Client) reply(into any) error {
	kind, payload, err := c.frames.read()
	switch {
	case err != nil:
		return noEOF(err)
	case kind == frameError:
		var f failure
		if err := decode(payload, &f); err != nil {
			return err
		}
		return &answerError{f.err()}
	case kind != frameReply:
		return protocolError("a frame of type %q where a reply should be", kind)
	}
	return decode(payload, into)
}

// simple is a request with one reply, which checks may find unfit.
func (c *Client) simple(ctx context.Context, r request, reply any, checks ...func() error) error {
	return c.call(ctx, func() error {
		err := c.ask(r, reply)
		for _, check := range checks {
			if err == nil {
				err = check()
			}
		}
		return err
	})
}

// Ping asks whether the agent answers and its archive is there.
func (c *Client) Ping(ctx context.Context) error {
	return c.simple(ctx, request{Op: opPing}, &struct{}{})
}

// Digest is Archive.Digest at the destination.
func (c *Client) Digest(ctx context.Context, name walcore.FileName) ([32]byte, int64, error) {
	var r digestReply
	err := c.simple(ctx, request{Op: opDigest, Name: name}, &r)
	return r.Digest, r.Size, err
}

// Stamp is Archive.Stamp at the destination.
func (c *Client) Stamp(ctx context.Context) (walcore.Stamp, bool, error) {
	var r stampReply
	err := c.simple(ctx, request{Op: opStamp}, &r)
	return r.Stamp, r.Stamped, err
}

// Fence is Archive.Fence at the destination.
func (c *Client) Fence(ctx context.Context) (walcore.Fence, error) {
	var fence walcore.Fence
	err := c.simple(ctx, request{Op: opFence}, &fence)
	return fence, err
}

// RaiseFence is Archive.RaiseFence at the destination.
func (c *Client) RaiseFence(ctx context.Context, cut walcore.Cut) error {
	return c.simple(ctx, request{Op: opRaiseFence, Cut: cut}, &struct{}{})
}

// LowerFence is Archive.LowerFence at the destination.
func (c *Client) LowerFence(ctx context.Context, epoch uint64) error {
	return c.simple(ctx, request{Op: opLowerFence, Epoch: epoch}, &struct{}{})
}

// Chain is Archive.Chain at the destination.
func (c *Client) Chain(ctx context.Context, from walcore.SegmentName) (walcore.Chain, error) {
	var chain walcore.Chain
	err := c.simple(ctx, request{Op: opChain, Segment: from}, &chain, func() error { return checkChain(chain) })
	return chain, err
}

// Watermark is Archive.Watermark at the destination.
func (c *Client) Watermark(ctx context.Context) (walcore.SegmentName, bool, error) {
	var r watermarkReply
	err := c.simple(ctx, request{Op: opWatermark}, &r, func() error { return checkSegments(r.Segment) })
	return r.Segment, r.Noted, err
}

// SetWatermark is Archive.SetWatermark at the destination.
func (c *Client) SetWatermark(ctx context.Context, segment walcore.SegmentName) error {
	return c.simple(ctx, request{Op: opSetWatermark, Segment: segment}, &struct{}{})
}

// Provisionals is Archive.Provisionals at the destination.
func (c *Client) Provisionals(ctx context.Context) (map[walcore.SegmentName]walcore.LSN, error) {
	found := map[walcore.SegmentName]walcore.LSN{}
	err := c.simple(ctx, request{Op: opProvisionals}, &found, func() error {
		if _, unnamed := found[""]; unnamed {
			return protocolError("an answer with a segment without a name")
		}
		return checkSegments(slices.Collect(maps.Keys(found))...)
	})
	return found, err
}

// oneLine joins the lines of a joined error: messages end up in server logs.
func oneLine(err error) error {
	text := err.Error()
	if !strings.Contains(text, "\n") {
		return err
	}
	return &remoteError{strings.ReplaceAll(text, "\n", ": "), err}
}
