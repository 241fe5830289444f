package filesync

import (
	"context"
	"sync"
	"time"
)

// pacer holds content back so that no more than rate bytes a second pass, over
// all streams together. The zero rate lets everything pass.
type pacer struct {
	rate int64

	mu   sync.Mutex
	free time.Time // when the bytes let through so far will have been due
}

// wait returns when n more bytes may be sent.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	delay := p.free.Sub(now)
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
