package main

import (
	"io"
	"strings"
)

// fold breaks the lines of a text that are wider than a terminal, and indents
// what goes on below by two blanks more. No columns is no limit.
func fold(text string, columns int) string {
	if columns <= 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		foldLine(&b, strings.TrimSuffix(line, "\n"), columns)
		if strings.HasSuffix(line, "\n") {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func foldLine(b *strings.Builder, line string, columns int) {
	indent := len(line) - len(strings.TrimLeft(line, " "))
	for columns > indent+20 {
		at := breakAt(line, indent+2, columns)
		if at < 0 {
			break
		}
		b.WriteString(line[:at] + "\n")
		line = strings.Repeat(" ", indent+2) + line[at+1:]
	}
	b.WriteString(line)
}

// breakAt is the last blank at which a line can be broken to fit; -1 where it
// fits, or is one long word. Colours take no columns.
func breakAt(line string, from, columns int) int {
	blank, width, escape := -1, 0, false
	for i, r := range line {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			if r == ' ' && width > from && width <= columns {
				blank = i
			}
			width++
		}
	}
	if width <= columns {
		return -1
	}
	return blank
}

// folder folds what is written to a terminal. A line that is written in pieces
// or again and again, as a progress bar is, passes as it is.
type folder struct {
	to      io.Writer
	columns int
}

// foldTo is out, folded where it is a terminal.
func foldTo(out io.Writer) io.Writer {
	columns := columnsOf(out)
	if columns == 0 {
		return out
	}
	return &folder{to: out, columns: columns}
}

func (f *folder) Write(p []byte) (int, error) {
	text := string(p)
	if strings.HasSuffix(text, "\n") && !strings.Contains(text, "\r") {
		text = fold(text, f.columns)
	}
	if _, err := io.WriteString(f.to, text); err != nil {
		return 0, err
	}
	return len(p), nil
}
