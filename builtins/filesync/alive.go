package filesync

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// aliveInterval is how often the driving side says that it is there.
	aliveInterval = 15 * time.Second
	// silence is how long the far end waits for a byte to come or go. A link
	// that is cut without a word, by a firewall or a power failure, ends for it
	// only so, and until then it keeps the lock of the target.
	silence = time.Minute
)

// errSilent ends a far end that was left alone.
var errSilent = errors.New("nothing came from the other side for a minute: the link was cut, or the copy was stopped there")

// keepAlive tells the far end, until ctx ends, that this one is there. What
// breaks the stream is found out by whoever uses it.
func (c *conn) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(aliveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if c.send(frameAlive) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// watchdog calls expire when a read or write of the stream has waited for so
// long without any byte coming or going. Time that is spent otherwise, such as
// on a flush, does not count.
type watchdog struct {
	rw io.ReadWriter

	mu      sync.Mutex
	waiting int // reads and writes under way
	timer   *time.Timer
}

func newWatchdog(rw io.ReadWriter, expire func()) *watchdog {
	w := &watchdog{rw: rw, timer: time.AfterFunc(silence, expire)}
	w.timer.Stop()
	return w
}

func (w *watchdog) Read(b []byte) (int, error) {
	defer w.wait()()
	return w.rw.Read(b)
}

func (w *watchdog) Write(b []byte) (int, error) {
	defer w.wait()()
	return w.rw.Write(b)
}

// wait counts a read or write as under way until the returned function is
// called.
func (w *watchdog) wait() func() {
	w.count(1)
	return func() { w.count(-1) }
}

func (w *watchdog) count(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting += n; w.waiting == 0 {
		w.timer.Stop()
		return
	}
	w.timer.Reset(silence)
}
