package remote

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// timeLimit ends a context after some time, during which it can be halted: a
// user who types a passphrase may take as long as it needs.
type timeLimit struct {
	mu     sync.Mutex
	timer  *time.Timer
	length time.Duration
	cancel context.CancelCauseFunc
}

func newTimeLimit(ctx context.Context, length time.Duration) (context.Context, *timeLimit) {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &timeLimit{length: length, cancel: cancel}
	l.timer = time.AfterFunc(length, func() {
		cancel(fmt.Errorf("no answer within %s: %w", length, context.DeadlineExceeded))
	})
	return ctx, l
}

// without runs f with the clock halted, and then gives the full time again.
func (l *timeLimit) without(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
	f()
	l.timer.Reset(l.length)
}

// end releases what the limit holds.
func (l *timeLimit) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
	l.cancel(context.Canceled)
}
