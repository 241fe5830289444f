package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// table is one run of the matrix.
type table struct {
	Day    string // such as 26 November 2026
	System string // the operating system
	Rows   []row
}

// row is one version.
type row struct {
	Major   int
	Version string
	System  bool // of the system's packages
	Cells   []string
}

// fill takes the cells from the results, and reports whether all of them are good.
func (t *table) fill(r results) bool {
	good := true
	for i := range t.Rows {
		row := &t.Rows[i]
		row.Cells = nil
		for _, c := range columns {
			cell := "not run"
			switch r.of(c, row.Major) {
			case "pass":
				cell = c.cell(row.System)
			case "fail":
				cell = "**FAILED**"
			}
			good = good && cell == c.cell(row.System)
			row.Cells = append(row.Cells, cell)
		}
	}
	return good
}

// systemsMark follows the version of the system's packages.
const systemsMark = ", the system's"

// markdown is the table with what its columns mean.
func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Run on %s, on %s:\n\n| PostgreSQL |", t.Day, t.System)
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.head)
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(columns)+1) + "\n")
	for _, row := range t.Rows {
		version := row.Version
		if row.System {
			version += systemsMark
		}
		fmt.Fprintf(&b, "| %s | %s |\n", version, strings.Join(row.Cells, " | "))
	}
	b.WriteString("\n")
	for _, c := range columns {
		fmt.Fprintf(&b, "- %s: %s.\n", c.head, c.about)
	}
	return b.String()
}

// The marks between which the table is in README.md.
const (
	beginMark = "<!-- make matrix writes from here -->\n"
	endMark   = "<!-- to here -->\n"
)

// split cuts a text before and after what is between the marks.
func split(text string) (before, between, after string, err error) {
	before, rest, found := strings.Cut(text, beginMark)
	between, after, foundEnd := strings.Cut(rest, endMark)
	if !found || !foundEnd {
		return "", "", "", hint.Wrap(errors.New("the place for the table is not marked"), "put the lines %q and %q around it", strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	return before, between, after, nil
}

func writeTable(path string, t table) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, _, after, err := split(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(before+beginMark+t.markdown()+endMark+after), 0o644)
}
