package filesync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// stream is the driving side's end of one connection.
type stream struct {
	c       *conn
	rw      io.ReadWriteCloser
	machine string        // of the other side
	answer  time.Duration // how long it took to open the root
	files   *handover     // where that is in this process
	detach  func() bool
	stop    context.CancelFunc // of what keeps it alive
	alive   sync.WaitGroup

	once     sync.Once
	closeErr error
}

// verdictTime is how long a stream whose sending side broke is read for the
// other side's own account of what went wrong.
const verdictTime = 5 * time.Second

// dial starts the other side and greets it. The stream ends when ctx does.
func dial(ctx context.Context, d Dialer) (*stream, error) {
	rw, err := d(ctx)
	if err != nil {
		return nil, err
	}
	s := &stream{c: newConn(rw), rw: rw}
	if here, ok := rw.(*hereEnd); ok {
		s.files = here.files
	}
	s.detach = context.AfterFunc(ctx, func() { _ = s.hangUp() }) // the cause that is reported is ctx's
	life, stop := context.WithCancel(ctx)
	s.stop = stop
	payload, err := s.call(ctx, frameHello, greeting{Magic: magic, Version: protocolVersion, Machine: machineID()}.encode(), frameWelcome)
	if err != nil {
		return nil, errors.Join(s.explain(ctx, err), s.close())
	}
	g, err := decodeGreeting(payload)
	if err != nil {
		return nil, errors.Join(advise(err), s.close())
	}
	s.machine = g.Machine
	s.alive.Go(func() { s.c.keepAlive(life) })
	return s, nil
}

// close ends the stream. What the other side was asked for and has answered
// stands, so a caller that has its answer may ignore the error.
func (s *stream) close() error {
	s.detach()
	s.stop()
	defer s.alive.Wait()
	return s.hangUp()
}

// hangUp closes the connection once, from whichever goroutine comes first.
func (s *stream) hangUp() error {
	s.once.Do(func() { s.closeErr = s.rw.Close() })
	return s.closeErr
}

// open opens the root on the other side.
func (s *stream) open(ctx context.Context, r openRequest) (openReply, error) {
	asked := time.Now()
	payload, err := s.call(ctx, frameOpen, r.encode(), frameOpened)
	if err != nil {
		return openReply{}, fmt.Errorf("open %s there: %w", r.Root, err)
	}
	s.answer = time.Since(asked)
	return decodeOpenReply(payload)
}

// reasonOf is why a further stream of a copy could not be opened. That the copy
// has ended there is no reason: its first stream is about to say why, and ends
// ctx with that.
func reasonOf(ctx context.Context, err error) error {
	if !errors.Is(err, errCopyEnded) {
		return err
	}
	timer := time.NewTimer(verdictTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return err
	}
}

// list has the other side list its tree, in the order of a walk. Entries that
// the filter matches are left out by a source, and listed without what is in
// them by a target, which also lists what earlier copies left, and tells first
// what they have noted.
func (s *stream) list(ctx context.Context, prune filter, note func(noted), emit func(Entry) error) error {
	if err := s.c.send(frameList, prune.encode()); err != nil {
		return s.explain(ctx, err)
	}
	var order listing
	names := map[string]string{}
	for {
		t, payload, err := s.c.read()
		if err != nil {
			return s.explain(ctx, err)
		}
		if t == frameListed {
			return nil
		}
		if t == frameNoted && note != nil {
			f, err := decodeNoted(payload)
			if err != nil {
				return err
			}
			note(f)
			continue
		}
		if t != frameEntries {
			return s.unexpected(t, payload)
		}
		d := decoder{b: payload}
		for len(d.b) > 0 && d.err == nil {
			e := d.entry()
			e.User, e.Group = intern(names, e.User), intern(names, e.Group)
			if d.err = errors.Join(d.err, order.check(e)); d.err == nil {
				d.err = emit(e)
			}
		}
		if err := d.finish(); err != nil {
			return err
		}
	}
}

// maxNames bounds how many owners' names are remembered.
const maxNames = 10_000

// intern returns the one copy of a string that comes many times.
func intern(seen map[string]string, s string) string {
	if one, there := seen[s]; there {
		return one
	}
	if len(seen) < maxNames {
		seen[s] = s
	}
	return s
}

// call sends a request and returns the payload of its answer, which is valid
// until the next read.
func (s *stream) call(ctx context.Context, t frameType, payload []byte, want frameType) ([]byte, error) {
	sendErr := s.c.send(t, payload)
	got, answer, err := s.c.read() // also when sending failed: the other side may have said why
	if err != nil {
		return nil, s.explain(ctx, errors.Join(sendErr, err))
	}
	if got != want {
		return nil, s.unexpected(got, answer)
	}
	return answer, nil
}

// unexpected is the error for a frame that was not waited for.
func (s *stream) unexpected(t frameType, payload []byte) error {
	if t == frameFail {
		return decodeFailure(payload)
	}
	return protocolError("an unexpected frame of type %d", t)
}

// explain turns the error of a broken stream into what broke it: the caller's
// own wish to stop, or what the process on the other side left behind.
func (s *stream) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !broken(err) {
		return err
	}
	if closeErr := s.hangUp(); closeErr != nil && !broken(closeErr) {
		return fmt.Errorf("the connection to the other side ended before the copy did: %w", closeErr)
	}
	return fmt.Errorf("the connection to the other side ended before the copy did: %w", notEOF(err))
}

// broken reports whether an error only says that the stream is no more.
func broken(err error) bool {
	for _, target := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, os.ErrClosed, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// duplex sends in one goroutine and reads in another until both are done. When
// one fails the stream is closed, which stops the other.
func (s *stream) duplex(ctx context.Context, send, read func(ctx context.Context) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reading := make(chan error, 1)
	go func() {
		err := read(inner)
		if err != nil {
			cancel(err)
			_ = s.hangUp() // the error that counts is the one at hand
		}
		reading <- err
	}()
	sendErr := send(inner)
	if sendErr == nil {
		return s.explain(ctx, <-reading)
	}
	return s.explain(ctx, s.first(inner, sendErr, reading))
}

// first decides between the errors of the two directions once sending has
// failed: what the other side said is better than that it said no more.
func (s *stream) first(inner context.Context, sendErr error, reading <-chan error) error {
	if broken(sendErr) {
		timer := time.NewTimer(verdictTime)
		defer timer.Stop()
		select {
		case err := <-reading:
			if err != nil {
				return err
			}
			return sendErr
		case <-timer.C:
		}
	}
	stopped := inner.Err() != nil // reading failed first, and sending because of it
	_ = s.hangUp()                // sendErr is what is reported
	if err := <-reading; err != nil && stopped {
		return err
	}
	return sendErr
}
