package lab

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// columns is how wide a line of the demo may be.
const columns = 80

// screen shows the demo's progress: one line for each step, with a mark and the
// time it took. On a terminal the line stands there while the step runs.
type screen struct {
	out      io.Writer
	terminal bool // lines may be drawn again
	verbose  bool // show what commands print
	unicode  bool
	color    bool
}

func (s *screen) print(format string, args ...any) {
	// Nobody is left to tell when the terminal is gone; the demo goes on and
	// cleans up.
	_, _ = fmt.Fprintf(s.out, format, args...)
}

// heading begins a chapter.
func (s *screen) heading(text string) {
	s.print("\n%s\n", s.styled("1", text))
}

// step runs fn and shows it as one line. fn writes what is of interest only
// when something goes wrong, or to the curious, to its argument.
func (s *screen) step(label string, fn func(detail io.Writer) error) (time.Duration, error) {
	var output bytes.Buffer
	if s.terminal {
		s.print("  %s %s", s.mark("…", "."), label)
	}
	start := time.Now()
	err := fn(&output)
	took := time.Since(start)
	if s.terminal {
		s.print("\r\033[K")
	}
	mark := s.styled("32", s.mark("✓", "ok"))
	if err != nil {
		mark = s.styled("31", s.mark("✗", "FAILED"))
	}
	shown := seconds(took)
	s.print("  %s %s%s\n", mark, s.fill(label, columns-6-len(shown)), shown)
	if s.verbose || err != nil {
		s.detail(output.String())
	}
	return took, err
}

// fill brings a label to an exact width, with dots so that the eye finds the
// time that follows it.
func (s *screen) fill(label string, width int) string {
	n := utf8.RuneCountInString(label)
	if n > width {
		runes := []rune(label)
		return string(runes[:width-4]) + "... "
	}
	if width-n < 3 {
		return label + strings.Repeat(" ", width-n)
	}
	return label + " " + s.styled("2", strings.Repeat(s.mark("·", "."), width-n-2)) + " "
}

// detail shows a command's own words, set off from ours.
func (s *screen) detail(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		s.print("      %s\n", s.styled("2", strings.TrimRight(line, "\n")))
	}
}

func (s *screen) mark(unicode, plain string) string {
	if s.unicode {
		return unicode
	}
	return plain
}

func (s *screen) styled(code, text string) string {
	if !s.color {
		return text
	}
	return "\033[" + code + "m" + text + "\033[0m"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// thousands prints a number as people read it: 12,345.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// wrap breaks a text into lines of at most width columns.
func wrap(text string, width int) string {
	var b strings.Builder
	used := 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
		case used+1+n > width:
			b.WriteString("\n")
			used = 0
		default:
			b.WriteString(" ")
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}
