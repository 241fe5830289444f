package remote

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay passes bytes to a server, and can stop doing so without closing
// anything.
type relay struct {
	port int
	mu   sync.Mutex
	held chan struct{}
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{port: l.Addr().(*net.TCPAddr).Port, held: make(chan struct{})}
	close(r.held)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			work.Go(func() { r.pass(near, far) })
			work.Go(func() { r.pass(far, near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.release()
		work.Wait()
	})
	return r
}

func (r *relay) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		held := r.held
		r.mu.Unlock()
		<-held
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			_, _ = io.Copy(io.Discard, from)
			return
		}
	}
}

// hold stops passing bytes on.
func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = make(chan struct{})
}

// release goes on.
func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.held:
	default:
		close(r.held)
	}
}
