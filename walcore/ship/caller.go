package ship

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/fault"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Caller has a file shipped by the shipper of a data directory.
type Caller struct {
	Place Place
	// Program is this build of the program, as in ShipperConfig.
	Program string
	// Start starts a shipper that outlives this process. The channel is closed
	// when it has ended, as it does at once where it cannot work.
	Start func() (ended <-chan struct{}, err error)
	// Silence is how long a shipper may give no sign of life before it is taken
	// for stuck; 0 means half a minute.
	Silence time.Duration
}

// A shipper says every few seconds that it is at work on a call.
const (
	signOfLife     = 5 * time.Second
	defaultSilence = 30 * time.Second
)

// startPatience is how long a new shipper may take to answer.
const startPatience = 3 * time.Second

// ErrNoShipper says that the file was not shipped, because no shipper could be
// had or it ended. Whoever gets it ships the file by itself.
var ErrNoShipper = errors.New("there is no shipper")

// Archive has the file at path, an absolute one, shipped. What the shipper has
// to say beside goes to out. Every error but ErrNoShipper is the one of the
// function Archive.
func (c Caller) Archive(ctx context.Context, path string, name walcore.FileName, out io.Writer) error {
	fault.At(fault.CallConnect)
	conn, err := c.connect(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoShipper, err)
	}
	fault.At(fault.CallAsk)
	reply, err := ask(ctx, conn, cmp.Or(c.Silence, defaultSilence), call{Op: callArchive, Program: c.Program, Path: path, Name: name})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoShipper, err)
	case !reply.Done:
		return fmt.Errorf("%w: it is of another version of the program and ends", ErrNoShipper)
	}
	fault.At(fault.CallAnswer)
	_, err = io.WriteString(out, reply.Said)
	switch {
	case reply.Error == "":
		return err
	case reply.Hint == "":
		return errors.New(reply.Error)
	}
	return hint.Wrap(errors.New(reply.Error), "%s", reply.Hint)
}

// connect calls the shipper, and starts it where none answers.
func (c Caller) connect(ctx context.Context) (*net.UnixConn, error) {
	conn, err := c.Place.dial(ctx)
	if err == nil || c.Start == nil {
		return conn, err
	}
	ended, err := c.Start()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		conn, err := c.Place.dial(ctx)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ended:
			// Another call may have started one at the same time.
			return c.Place.dial(ctx)
		case <-ctx.Done():
			return nil, err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Status asks the shipper of a place what it does; ErrNoShipper when none runs.
func (p Place) Status(ctx context.Context) (ShipperStatus, error) {
	reply, err := p.ask(ctx, callStatus)
	if err == nil && reply.Status == nil {
		err = ErrNoShipper
	}
	if err != nil {
		return ShipperStatus{}, err
	}
	return *reply.Status, nil
}

// Stop ends the shipper of a place. It returns when that has been told; files
// under way are brought to an end.
func (p Place) Stop(ctx context.Context) error {
	_, err := p.ask(ctx, callStop)
	return err
}

func (p Place) ask(ctx context.Context, op callOp) (callReply, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return callReply{}, fmt.Errorf("%w: %w", ErrNoShipper, err)
	}
	return ask(ctx, conn, defaultSilence, call{Op: op})
}

// ask has one call answered, and closes the connection. A shipper that is silent
// for too long is an error.
func ask(ctx context.Context, conn *net.UnixConn, silence time.Duration, c call) (reply callReply, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // to end a read
	defer stop()
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := json.NewEncoder(conn).Encode(c); err != nil {
		return reply, err
	}
	err = json.NewDecoder(&patientReader{ctx, conn, silence}).Decode(&reply)
	if ctx.Err() != nil {
		return reply, context.Cause(ctx)
	}
	return reply, err
}

// patientReader waits for each piece of an answer, but not for ever.
type patientReader struct {
	ctx     context.Context
	conn    *net.UnixConn
	silence time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.conn.SetDeadline(time.Now().Add(p.silence)); err != nil {
		return 0, err
	}
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx) // its deadline may just have been taken back
	}
	return p.conn.Read(b)
}
