package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// closeGrace is how long a command has to end after its input was closed.
const closeGrace = 10 * time.Second

// Stream is a command whose standard output is read and whose standard input
// is written, by a protocol between two programs. One goroutine may read while
// another writes; Close may be called at any time.
type Stream struct {
	session *session
	ctx     context.Context // the life of the command
	stop    func() bool     // detaches ctx
	stderr  *gate
	copied  chan struct{} // closed when the standard error has ended

	chunks  chan []byte // what was read; closed at the end of the output
	spare   chan []byte // buffers to read into
	pending []byte      // the rest of the chunk that Read is at
	buffer  []byte      // the chunk itself

	outgoing []byte // a chunk on its way
	writes   chan []byte
	written  chan error

	closed chan struct{} // closed when Close begins
	close  func() error
}

// Start runs a command and returns its standard output and input as one
// stream. The end of ctx is the end of the command: reads and writes fail with
// its cause at once. The end of the output is io.EOF only for a command that
// did not fail; otherwise it is the command's error, and a broken connection
// is an UnreachableError. Close closes the input, waits for the command to end
// and returns its error with the tail of its standard error.
func (c *Client) Start(ctx context.Context, command string) (io.ReadWriteCloser, error) {
	s, err := c.StartStream(ctx, command, nil)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// StartStream is Start with the standard error also copied to a writer, which
// may be nil.
func (c *Client) StartStream(ctx context.Context, command string, stderr io.Writer) (*Stream, error) {
	inner, err := c.open(ctx, command)
	if err != nil {
		return nil, err
	}
	s := &Stream{
		session: inner, ctx: ctx, stderr: newGate(&inner.stderr, stderr), copied: make(chan struct{}),
		chunks: make(chan []byte), spare: make(chan []byte, 2),
		outgoing: make([]byte, writeSize), writes: make(chan []byte), written: make(chan error, 1),
		closed: make(chan struct{}),
	}
	s.close = sync.OnceValue(s.finish)
	s.stop = context.AfterFunc(ctx, func() { inner.terminate(termGrace, nil) })
	c.spawn(func() {
		defer close(s.copied)
		inner.copyOutput(s.stderr, inner.channel.Stderr())
	})
	c.spawn(s.readAhead)
	c.spawn(s.writeBehind)
	return s, nil
}

// How much is read or written at once. The first is the size of ssh's own
// packets, in which it hands over what it reads. What is written it divides by
// itself, and handing over much at a time costs less.
const (
	readSize  = 32 << 10
	writeSize = 256 << 10
)

// readAhead reads the output, so that a Read can be left when ctx ends: ssh's
// own read ends only with the channel. Once the stream is closed the rest is
// thrown away.
func (s *Stream) readAhead() {
	defer close(s.chunks)
	for range cap(s.spare) {
		s.spare <- make([]byte, readSize)
	}
	for {
		var buf []byte
		select {
		case buf = <-s.spare:
		case <-s.closed:
			buf = make([]byte, readSize)
		}
		n, err := s.session.channel.Read(buf)
		s.session.received.Add(int64(n))
		if n > 0 {
			select {
			case s.chunks <- buf[:n]:
			case <-s.closed:
				s.give(buf)
			}
		}
		if err != nil {
			return
		}
	}
}

// give returns a buffer for the next read.
func (s *Stream) give(buf []byte) {
	select {
	case s.spare <- buf[:cap(buf)]:
	default:
	}
}

// writeBehind writes what Write hands over, for the same reason. A nil chunk is
// the end of the input, which comes from here as well: ssh's Write and
// CloseWrite must not meet.
func (s *Stream) writeBehind() {
	for {
		select {
		case p := <-s.writes:
			if p == nil {
				s.written <- s.session.channel.CloseWrite()
				continue
			}
			_, err := s.session.channel.Write(p)
			s.written <- err
		case <-s.closed:
			_ = s.session.channel.CloseWrite() // fails where the command has ended
			return
		case <-s.session.ended:
			return
		}
	}
}

// Read reads the command's standard output.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.pending) == 0 {
		if s.buffer != nil {
			s.give(s.buffer)
			s.buffer = nil
		}
		select {
		case chunk, ok := <-s.chunks:
			if !ok {
				return 0, s.atEnd(io.EOF)
			}
			s.buffer, s.pending = chunk, chunk
		case <-s.ctx.Done():
			return 0, s.session.interrupted(s.ctx)
		case <-s.closed:
			return 0, net.ErrClosed
		}
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// Write writes to the command's standard input.
func (s *Stream) Write(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		// After a write that was left behind the buffer may still be in use.
		select {
		case <-s.ctx.Done():
			return total, s.session.interrupted(s.ctx)
		case <-s.closed:
			return total, net.ErrClosed
		case <-s.session.ended:
			return total, s.atEnd(s.brokenPipe())
		default:
		}
		n := copy(s.outgoing, p[total:])
		if err := s.writeChunk(s.outgoing[:n]); err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

func (s *Stream) writeChunk(p []byte) error {
	select {
	case s.writes <- p:
	case <-s.session.ended:
		return s.atEnd(s.brokenPipe())
	case <-s.ctx.Done():
		return s.session.interrupted(s.ctx)
	case <-s.closed:
		return net.ErrClosed
	}
	select {
	case err := <-s.written:
		if err != nil {
			return s.atEnd(s.brokenPipe())
		}
		return nil
	case <-s.ctx.Done():
		return s.session.interrupted(s.ctx)
	case <-s.closed:
		return net.ErrClosed
	}
}

func (s *Stream) brokenPipe() error {
	return fmt.Errorf("write to %s on %s: %w", shorten(s.session.command), s.session.hop.target, syscall.EPIPE)
}

// Signal sends a signal to the command, named without SIG, as in TERM. sshd passes
// it to the command's process group, but not for root.
func (s *Stream) Signal(name string) error { return s.session.signal(name) }

// CloseWrite closes the command's standard input and leaves its output open.
// It must not be called while a Write is going on.
func (s *Stream) CloseWrite() error {
	err := s.writeChunk(nil)
	if errors.Is(err, syscall.EPIPE) {
		return nil // the far side has closed it already
	}
	return err
}

// Close ends the command and returns its error. It may be called again, with
// the same answer.
func (s *Stream) Close() error { return s.close() }

// atEnd is what a read or write reports that met the end of the command: why
// it failed, or usual where it did not. The exit status follows close behind
// the end of the output.
func (s *Stream) atEnd(usual error) error {
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-s.ctx.Done():
		return s.session.interrupted(s.ctx)
	case <-s.session.exited:
	case <-s.session.ended:
	case <-grace.C:
		return usual // it has closed its output and goes on
	}
	s.session.drain(s.ctx, s.copied)
	if err := s.session.result(); err != nil {
		return err
	}
	return usual
}

// settleStderr lets the end of the standard error arrive.
func (s *Stream) settleStderr() {
	moment := time.NewTimer(100 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-s.copied:
	case <-moment.C:
	}
}

// finish is Close.
func (s *Stream) finish() error {
	close(s.closed)
	late := s.outlive()
	interrupted := !s.stop()
	s.session.hangUp()
	s.settleStderr()
	// What the writer makes of it has been its own affair.
	_ = s.stderr.shut()
	switch {
	case interrupted:
		return s.session.interrupted(s.ctx)
	case late:
		return fmt.Errorf("%s on %s did not end within %s after its input was closed", shorten(s.session.command), s.session.hop.target, closeGrace)
	}
	return s.session.result()
}

// outlive waits for the command to end, and reports whether it had to be ended
// by a signal.
func (s *Stream) outlive() (late bool) {
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-s.session.exited:
		s.session.drain(s.ctx, s.copied)
	case <-s.session.ended:
	case <-s.ctx.Done():
	case <-grace.C:
		s.session.terminate(termGrace, nil)
		return true
	}
	return false
}
