package psql

import (
	"context"
	"fmt"
	"time"
)

// How often WaitReady tries. A failed attempt on a socket costs nothing, so
// the first ones follow close on each other.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = 500 * time.Millisecond
)

// WaitReady connects as soon as the server lets sessions in, and gives up when
// ctx ends; its error then says what kept the server. It waits while no server
// is there and while one starts. Anything else, such as a refused login or a
// node that cannot be reached, is returned at once, and so is what giveUp says
// true to; giveUp may be nil.
func WaitReady(ctx context.Context, t Target, giveUp func(error) bool) (*Conn, error) {
	var last error
	for pause := firstRetry; ; pause = min(pause*2, lastRetry) {
		conn, err := Connect(ctx, t)
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() == nil:
			last = err
		case last == nil:
			return nil, err
		default:
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
		if !NotRunning(err) && !StartingUp(err) || giveUp != nil && giveUp(err) {
			return nil, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
	}
}
