package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// heartbeatAfter is how long a step may say nothing before it is said that it
// still runs. While it goes on saying nothing, the pauses grow up to
// heartbeatMost, so that a night's work does not fill a log.
const (
	heartbeatAfter = 30 * time.Second
	heartbeatMost  = 5 * time.Minute
)

// heartbeat is a sign of life of a step that says nothing for a while.
type heartbeat struct {
	r    *runner
	step string
	body *indenter
	// began is when the step did.
	began time.Time

	mu sync.Mutex
	// soFar is how far the step is, by its own word, on each node of on_nodes.
	soFar map[string]string
	// elsewhere counts the runs within the step that give signs of life
	// themselves, and back is when one of them last ended.
	elsewhere int
	back      time.Time
}

// beats gives a step its heartbeat. The function that it gives ends it and waits
// for it.
func (r *runner) beats(step string, body *indenter) (*heartbeat, func()) {
	after := r.opts.heartbeatAfter
	if after == 0 {
		after = heartbeatAfter
	}
	h := &heartbeat{r: r, step: step, body: body, began: time.Now()}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		h.watch(after, stop)
	}()
	return h, sync.OnceFunc(func() {
		close(stop)
		<-ended
	})
}

// watch beats whenever the body was silent for long enough.
func (h *heartbeat) watch(after time.Duration, stop <-chan struct{}) {
	pause, written, since := after, h.body.count(), time.Now()
	for {
		timer := time.NewTimer(time.Until(since.Add(pause)))
		select {
		case <-stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		now := h.body.count()
		switch elsewhere, back := h.otherLife(); {
		case now.bytes != written.bytes:
			pause, since = after, now.last
		case elsewhere:
			since = time.Now()
		case back.After(since):
			pause, since = after, back
		default:
			h.beat()
			pause, since = min(2*pause, heartbeatMost), time.Now()
		}
		written = h.body.count()
	}
}

// otherLife reports whether a run within the step gives signs of life now, and when
// one last ended.
func (h *heartbeat) otherLife() (now bool, ended time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.elsewhere > 0, h.back
}

// beat says that the step still runs.
func (h *heartbeat) beat() {
	h.mu.Lock()
	soFar := h.far()
	h.mu.Unlock()
	took := time.Since(h.began)
	text := fmt.Sprintf("still running after %s, since %s", elapsed(took), h.began.Format("15:04:05"))
	if soFar != "" {
		text += ": " + soFar
	}
	h.body.endLine()
	_, _ = untold{h.body}.Write([]byte(text + "\n"))
	h.r.tell(Event{Kind: StillRunning, Step: h.step, Line: soFar, Seconds: took.Seconds()})
}

// SoFar notes how far a function that takes its time has come, in words that
// follow a colon: "3 of 12 segments". The step's next sign of life says it. It is
// cheap, and prints nothing itself.
func SoFar(ctx context.Context, format string, args ...any) {
	s := scopeOf(ctx)
	if h := s.beat; h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.soFar == nil {
			h.soFar = map[string]string{}
		}
		h.soFar[s.node] = fmt.Sprintf(format, args...)
	}
}

// far is how far the step is, on all nodes.
func (h *heartbeat) far() string {
	var texts []string
	for _, node := range slices.Sorted(maps.Keys(h.soFar)) {
		text := h.soFar[node]
		if node != "" {
			text = node + ": " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// LivesElsewhere says that what the step calls gives signs of life itself, until
// the function that it gives is called.
func LivesElsewhere(ctx context.Context) (done func()) {
	h := scopeOf(ctx).beat
	if h == nil {
		return func() {}
	}
	h.add(1)
	return func() { h.add(-1) }
}

func (h *heartbeat) add(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.elsewhere += n
	if n < 0 {
		h.back = time.Now()
	}
}
