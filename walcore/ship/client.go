package ship

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
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
	// Compress is how files are packed on the wire; empty means S2.
	Compress cluster.Compression
	// Store is how the archive there is to store whole segments. Where it packs,
	// they go over the wire in the same form, whatever Compress says. An agent
	// that does not know the form stores them plain.
	Store packed.Form
}

// Client is a connection to the agent of one archive. Calls may come from many
// goroutines, and several are under way at once: while the agent flushes one
// file, it takes in the next. After an error of the connection itself every
// call fails; make a new one then. An error of the agent's keeps its type:
// *walcore.RefusedError, *walcore.SpaceError, walcore.ErrNoArchive,
// walcore.ErrNotArchived, ErrRestricted.
type Client struct {
	frames   *frames
	peer     hello
	stall    time.Duration
	compress cluster.Compression
	store    packed.Form
	packers  packers
	close    func() error
	silence  *time.Timer   // ends the connection
	received chan struct{} // closed when nothing more is received
	dead     chan struct{} // closed when no call can succeed any more

	mu     sync.Mutex
	last   uint32 // the number of the newest exchange
	open   map[uint32]*exchange
	broken error // why it is dead
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
	c := &Client{
		frames: newFrames(stream), stall: o.Stall, compress: o.Compress, store: o.Store, close: closeOnce(stream),
		received: make(chan struct{}), dead: make(chan struct{}), open: map[uint32]*exchange{},
		last: math.MaxUint32, // the greeting is exchange 0
	}
	c.silence = c.watchSilence()
	c.frames.alive = c.moved
	err = c.call(ctx, func(*exchange) error {
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
	if !slices.Contains(c.peer.Stores, c.store) {
		c.store = packed.Plain
	}
	go func() {
		defer close(c.received)
		c.receive()
	}()
	return c, nil
}

// noAgent explains a connection that did not get as far as an agent.
func (c *Client) noAgent(err error) error {
	err = errors.Join(err, unless(c.close(), err))
	err = fmt.Errorf("no answer from a warmrun agent: %w", oneLine(err))
	if hint.Of(err) != "" {
		return err
	}
	return hint.Wrap(err, "see whether warmrun runs there (distrib brings it), and that no shell start-up file prints anything in a session without a terminal")
}

// PeerVersion is the version of the program at the other end.
func (c *Client) PeerVersion() string { return c.peer.Program }

// lost reports whether no call can succeed any more.
func (c *Client) lost() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// Restricted reports whether the agent lets this client only ship WAL.
func (c *Client) Restricted() bool { return c.peer.Restricted }

// Close ends the agent and returns how it ended.
func (c *Client) Close() error {
	c.fail(errClosed)
	<-c.received
	return c.close()
}

// errClosed is why no call succeeds after Close.
var errClosed = errors.New("it was closed on this side")

// simple is a request with one reply, which checks may find unfit.
func (c *Client) simple(ctx context.Context, r request, reply any, checks ...func() error) error {
	return c.call(ctx, func(x *exchange) error {
		err := x.ask(r, reply)
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
