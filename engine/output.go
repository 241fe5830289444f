package engine

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// indenter puts blanks before every line that is written through it. It passes
// everything on at once, so that output stays live.
type indenter struct {
	told *teller // of each line; nil where nobody follows the run

	mu      sync.Mutex
	to      io.Writer
	blanks  []byte
	middle  bool // the last byte written did not end a line
	written written
}

// written is how much was written, and when last.
type written struct {
	bytes int64
	last  time.Time
}

func newIndenter(to io.Writer, blanks string) *indenter {
	return &indenter{to: to, blanks: []byte(blanks)}
}

func (w *indenter) Write(p []byte) (int, error) {
	if w.told != nil {
		_, _ = w.told.veiled.Write(p) // whoever follows the run cannot fail it
	}
	return w.print(p)
}

// count is how much was written until now.
func (w *indenter) count() written {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// print writes what is not to be told of.
func (w *indenter) print(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written.bytes, w.written.last = w.written.bytes+int64(len(p)), time.Now()
	var b bytes.Buffer
	for _, c := range p {
		if !w.middle && c != '\n' && c != '\r' {
			b.Write(w.blanks)
		}
		b.WriteByte(c)
		w.middle = c != '\n' && c != '\r'
	}
	if _, err := w.to.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// endLine ends a line that was left open.
func (w *indenter) endLine() {
	if w.told != nil {
		w.told.end()
	}
	w.mu.Lock()
	open := w.middle
	w.middle = false
	w.mu.Unlock()
	if open {
		fmt.Fprintln(w.to)
	}
}

// printer writes the frame around the output of steps. A run is not failed by
// output that nobody can read any more, so its errors are dropped: a broken
// pipe in the middle of a switchover must not stop it half way.
type printer struct {
	to    *heading
	color bool
	quiet bool
}

const (
	bold  = "1"
	red   = "31"
	green = "32"
)

func (p *printer) paint(code, text string) string {
	if !p.color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// line is left out of quiet output.
func (p *printer) line(format string, args ...any) {
	if !p.quiet {
		p.always(format, args...)
	}
}

func (p *printer) always(format string, args ...any) {
	fmt.Fprintf(p.to, format+"\n", args...)
}

// begin prints the title of a step or its undo, end how that ended.
func (p *printer) begin(title, rest string) { p.to.begin(p.paint(bold, "==> "+title) + rest) }

func (p *printer) end(code, word, how string) { p.to.end(p.paint(code, word) + how) }

// mark draws a line across the output.
func (p *printer) mark(text string) {
	if text != "" {
		p.line("%s", p.paint(bold, "-- "+text+" --"))
	}
}

// body is where the output of a step or a check goes.
func (p *printer) body() *indenter {
	if p.quiet {
		return newIndenter(io.Discard, "")
	}
	return newIndenter(&lenient{to: p.to}, "    ")
}

// lenient goes on when nobody reads the output any more.
type lenient struct{ to io.Writer }

func (w *lenient) Write(p []byte) (int, error) {
	if _, err := w.to.Write(p); err != nil {
		return len(p), nil
	}
	return len(p), nil
}
