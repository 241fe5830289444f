package filesync

import (
	"context"
	"sync"
)

// window is the set of files that have been asked for and not yet received.
// One goroutine adds, another takes away.
type window struct {
	mu      sync.Mutex
	jobs    map[uint32]job
	bytes   int64
	closed  bool
	changed chan struct{} // holds a token when something was taken away
}

func newWindow() *window {
	return &window{jobs: map[uint32]job{}, changed: make(chan struct{}, 1)}
}

// room waits until another file may be asked for and returns how large it may
// be. An empty window takes a file of any size.
func (w *window) room(ctx context.Context) (int64, error) {
	for {
		w.mu.Lock()
		n, bytes := len(w.jobs), w.bytes
		w.mu.Unlock()
		if n == 0 {
			return anySize, nil
		}
		if n < maxAhead && bytes < mostAhead {
			return mostAhead - bytes, nil
		}
		if err := w.change(ctx); err != nil {
			return 0, err
		}
	}
}

// change waits until something was taken away.
func (w *window) change(ctx context.Context) error {
	select {
	case <-w.changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close reports whether everything has been received. If so, nothing more will
// be asked for.
func (w *window) close() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = len(w.jobs) == 0
	return w.closed
}

// isClosed reports whether the other side may say that it is done.
func (w *window) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *window) add(j job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs[j.id] = j
	w.bytes += j.size()
}

// job is what was asked for under an id. What was not asked for is refused.
func (w *window) job(id uint32) (job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j, there := w.jobs[id]
	if !there {
		return job{}, protocolError("a file that was not asked for")
	}
	return j, nil
}

// done takes a file away.
func (w *window) done(id uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[id]
	delete(w.jobs, id)
	w.bytes -= j.size()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
