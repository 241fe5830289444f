package engine

import (
	"io"
	"sync"
	"time"
)

// announceAfter is how long the title of a step is held back.
const announceAfter = 300 * time.Millisecond

// heading lets the title of a step and its end share a line where nothing is
// printed between them. The title is held back until there is output, or the
// end, or it has been long enough that somebody may wonder; so every line is
// written whole, and titles of slow steps stand there while they run.
type heading struct {
	to    io.Writer
	after time.Duration

	mu    sync.Mutex
	title string // not printed yet
	wait  *time.Timer
}

func newHeading(to io.Writer, after time.Duration) *heading {
	if after == 0 {
		after = announceAfter
	}
	return &heading{to: to, after: after}
}

// Write prints below the title.
func (h *heading) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flush()
	return h.to.Write(p)
}

// begin takes a title, without the end of its line.
func (h *heading) begin(title string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flush()
	h.title = title
	h.wait = time.AfterFunc(h.after, h.show)
}

// show prints a title that is held back.
func (h *heading) show() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flush()
}

// end prints how the step ended: beside the title if that was held back all
// the time, else below it.
func (h *heading) end(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.title == "" {
		h.print("    " + text + "\n")
		return
	}
	h.print(h.take() + "  " + text + "\n")
}

func (h *heading) flush() {
	if h.title != "" {
		h.print(h.take() + "\n")
	}
}

func (h *heading) take() string {
	title := h.title
	h.title = ""
	h.wait.Stop()
	return title
}

// print drops errors, as printer does.
func (h *heading) print(text string) { _, _ = io.WriteString(h.to, text) }
