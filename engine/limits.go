package engine

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// limits keep a runbook that goes wild from taking the machine with it. The
// library's own memory limit ends the whole process.
type limits struct {
	// compute is how long Lua may run without calling a function of the host.
	compute time.Duration
	// memory is by how many bytes the heap may grow while Lua runs.
	memory uint64
}

var usualLimits = limits{compute: 30 * time.Second, memory: 1 << 30}

// limitError is the end of a call that has gone over a limit. Another try would
// do the same.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

// watchPause is how often a call is looked at.
const watchPause = 50 * time.Millisecond

// watched bounds what runs under ctx in this Lua state. The function that it
// gives ends the watch and waits for it.
func (v *vm) watched(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	outer := v.since.Swap(time.Now().UnixNano())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.watch(ctx, cancel)
	}()
	return ctx, func() {
		cancel(nil)
		<-ended
		v.since.Store(outer)
	}
}

// watch looks on until ctx ends.
func (v *vm) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(watchPause)
	defer ticker.Stop()
	var before uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if before == 0 {
			before = heapSize()
		}
		since := v.since.Load()
		switch {
		case since == 0: // a function of the host is at work
		case time.Since(time.Unix(0, since)) > v.book.limits.compute:
			cancel(&limitError{fmt.Sprintf("has computed for %s without calling anything: a loop that does not end?", v.book.limits.compute)})
		case heapSize() > before+v.book.limits.memory && v.grown(before):
			cancel(&limitError{fmt.Sprintf("has taken more than %d MB of memory: a table that grows without end?", v.book.limits.memory>>20)})
		}
	}
}

// grown reports whether the heap is as large without what nobody holds.
func (v *vm) grown(before uint64) bool {
	runtime.GC()
	return heapSize() > before+v.book.limits.memory
}

// heapSize is the size of all objects on the heap.
func heapSize() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// inHost marks the time that a function of the host takes, which is bounded by
// the step's timeout and not by the limits. The function that it gives ends it.
func (v *vm) inHost() func() {
	v.since.Store(0)
	return func() { v.since.Store(time.Now().UnixNano()) }
}
