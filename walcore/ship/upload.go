package ship

import (
	"context"
	"io"
	"sync"

	"github.com/warmrun/warmrun/walcore/fault"
)

// maxUploads is how many files a client may send at once. Together with the
// pieces that wait for the disk it bounds the agent's memory.
const maxUploads = 8

// upload is one file on its way in: the session's reader feeds it, a goroutine
// of its own stores it.
type upload struct {
	id      uint32
	in      chan frame
	before  <-chan struct{} // closed when the file before has its name, or will not get it
	settled chan struct{}   // the same, of this one
	settle  func()
	over    chan struct{} // closed when nobody takes frames any more
	why     error         // that ends the session, once over; may be nil
}

// next yields the next frame; io.EOF when the client has gone.
func (u *upload) next() (frame, error) {
	f, ok := <-u.in
	if !ok {
		return frame{}, io.EOF
	}
	return f, nil
}

// turn waits for the file before this one.
func (u *upload) turn(ctx context.Context) error {
	select {
	case <-u.before:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// step lets the next file get its name as soon as this one has.
func (u *upload) step(step string) error {
	switch step {
	case "write":
		fault.At(fault.AgentWrite)
	case "fsync":
		fault.At(fault.AgentFlush)
	case "rename":
		fault.At(fault.AgentRename)
	case "fsync-dir":
		u.settle()
		fault.At(fault.AgentFlushDir)
	}
	return nil
}

// uploads are those of one session. Its zero value has none.
type uploads struct {
	wait   sync.WaitGroup
	free   freeList
	codecs codecs

	mu   sync.Mutex
	open map[uint32]*upload
	last <-chan struct{} // that the newest one has settled
}

// begin opens an upload, which comes after all those before it.
func (s *uploads) begin(id uint32) (*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[uint32]*upload{}
		nothing := make(chan struct{})
		close(nothing)
		s.last = nothing
	}
	if len(s.open) == maxUploads {
		return nil, protocolError("more than %d files at once", maxUploads)
	}
	if s.open[id] != nil {
		return nil, protocolError("request %d for the second time", id)
	}
	u := &upload{id: id, in: make(chan frame, 2), before: s.last, settled: make(chan struct{}), over: make(chan struct{})}
	u.settle = sync.OnceFunc(func() { close(u.settled) })
	s.open[id], s.last = u, u.settled
	return u, nil
}

// run starts the goroutine of an upload.
func (s *uploads) run(store func()) { s.wait.Go(store) }

// end closes an upload that has been answered. why, unless nil, is what the
// client did that ends the session.
func (s *uploads) end(u *upload, why error) {
	u.settle()
	u.why = why
	close(u.over)
	if why != nil {
		return // it stays, for feed to find out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, u.id)
}

// feed hands a piece to its upload, and waits while that is busy.
func (s *uploads) feed(f frame) error {
	s.mu.Lock()
	u := s.open[f.request]
	s.mu.Unlock()
	if u == nil {
		return protocolError("a frame of type %q for request %d, which takes no data", f.kind, f.request)
	}
	select {
	case u.in <- f:
		return nil
	case <-u.over:
	}
	if u.why != nil {
		return u.why
	}
	return protocolError("more data for request %d, which has ended", f.request)
}

// finish tells all uploads that nothing more will come, and waits for them.
func (s *uploads) finish() {
	s.mu.Lock()
	for _, u := range s.open {
		close(u.in)
	}
	s.mu.Unlock()
	s.wait.Wait()
	s.codecs.close()
}

func (s *uploads) memory(length int) []byte { return s.free.take(length) }
func (s *uploads) recycle(payload []byte)   { s.free.give(payload) }

// smallPayload is what is not worth keeping.
const smallPayload = 4 << 10

// freeList keeps the memory of pieces for the next ones.
type freeList struct {
	mu   sync.Mutex
	bufs [][]byte
}

func (l *freeList) take(length int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if length <= smallPayload {
		return make([]byte, length)
	}
	if n := len(l.bufs); n > 0 && cap(l.bufs[n-1]) >= length {
		buf := l.bufs[n-1]
		l.bufs = l.bufs[:n-1]
		return buf[:cap(buf)]
	}
	return make([]byte, max(length, dataPayload))
}

// give takes memory back. A few pieces are kept; more is for the collector.
func (l *freeList) give(buf []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cap(buf) >= dataPayload && len(l.bufs) < maxUploads {
		l.bufs = append(l.bufs, buf)
	}
}
