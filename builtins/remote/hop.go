package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// hop is one connection that is logged in. It notices by itself when the other
// side no longer answers.
type hop struct {
	target target
	client *ssh.Client
	conn   *watchedConn
	stop   func() // ends keepAlive
	work   sync.WaitGroup
	gone   chan struct{} // closed when the connection has ended
	end    error         // why, once gone is closed
}

func newHop(t target, client *ssh.Client, conn *watchedConn) *hop {
	stopped := make(chan struct{})
	h := &hop{target: t, client: client, conn: conn, gone: make(chan struct{})}
	h.stop = sync.OnceFunc(func() { close(stopped) })
	h.work.Go(func() {
		h.end = client.Wait()
		close(h.gone)
	})
	h.work.Go(func() { h.keepAlive(stopped) })
	return h
}

func (h *hop) close() error {
	h.stop()
	err := h.client.Close()
	h.work.Wait()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil // it had ended before
	}
	return err
}

// keepAlive asks for a sign of life whenever nothing was received for one
// interval, and cuts the connection after too many intervals of silence.
func (h *hop) keepAlive(stopped <-chan struct{}) {
	ticker := time.NewTicker(h.target.AliveInterval)
	defer ticker.Stop()
	var asking atomic.Bool
	silent, seen := 0, h.conn.received.Load()
	for {
		select {
		case <-stopped:
			return
		case <-h.gone:
			return
		case <-ticker.C:
		}
		if now := h.conn.received.Load(); now != seen {
			silent, seen = 0, now
			continue
		}
		if silent++; silent > h.target.AliveCount {
			h.conn.cut(fmt.Errorf("no sign of life for %s", time.Duration(silent)*h.target.AliveInterval))
			return
		}
		if asking.CompareAndSwap(false, true) {
			h.work.Go(func() {
				// The answer is a refusal, and as good a sign as any. An
				// error means that the connection has ended.
				_, _, _ = h.client.SendRequest("keepalive@openssh.com", true, nil)
				asking.Store(false)
			})
		}
	}
}

// lost is the error for work that ended because the connection did.
func (h *hop) lost() error {
	err := h.end
	if cut := h.conn.cause.Load(); cut != nil {
		err = *cut
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return &UnreachableError{Host: h.target.String(), Err: fmt.Errorf("the connection broke: %w", err)}
}

// watchedConn counts what is received.
type watchedConn struct {
	net.Conn
	received atomic.Int64
	cause    atomic.Pointer[error]
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

// cut closes the connection for a reason.
func (c *watchedConn) cut(reason error) {
	c.cause.Store(&reason)
	// What comes of closing a dead connection is of no interest.
	_ = c.Close()
}
