package remote

import (
	"io"
	"sync"
)

// gate lets output through to its writers until it is shut. A stream that its
// far side does not end can be left behind with it.
type gate struct {
	mu      sync.Mutex
	writers []io.Writer
	closed  bool
	err     error
}

// newGate leaves out writers that are nil.
func newGate(writers ...io.Writer) *gate {
	g := &gate{}
	for _, w := range writers {
		if w != nil {
			g.writers = append(g.writers, w)
		}
	}
	return g
}

// pass writes p, and reports false when a write has just failed for the first
// time.
func (g *gate) pass(p []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.err != nil || len(p) == 0 {
		return true
	}
	for _, w := range g.writers {
		if _, err := w.Write(p); err != nil {
			g.err = err
			return false
		}
	}
	return true
}

// shut waits for a write that is going on and lets no more through. It returns
// the first error of a write.
func (g *gate) shut() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return g.err
}
