package rehearsal

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/boundary"
)

// Place is a boundary's place in the life of its step.
type Place string

// The places.
const (
	// Before: what the step is about to call first that changes something, or
	// another runbook, is on record, and not called.
	Before Place = "before"
	// Changed: the step has done its work, and its end is not on record.
	Changed Place = "changed"
	// Ended: the step's end is on record.
	Ended Place = "ended"
)

// Places are all of them, in their order.
func Places() []Place { return []Place{Before, Changed, Ended} }

// Victim is what is killed at a boundary.
type Victim string

// The victims.
const (
	// Program: the warmrun that runs the step, on whatever node.
	Program Victim = "warmrun"
	// Link: all ssh connections between the nodes.
	Link Victim = "ssh"
	// Server: the one that accepts writes, or that is to accept them next.
	Server Victim = "server"
)

// Victims are all of them.
func Victims() []Victim { return []Victim{Program, Link, Server} }

// Boundary is a place at which a run can be cut short.
type Boundary struct {
	// Runbook is the rehearsed one, or one that a step of it has run.
	Runbook string `json:"runbook"`
	Step    string `json:"step"`
	At      Place  `json:"at"`
	// Past: the line of no return was passed before it.
	Past bool `json:"past_no_return,omitempty"`
}

// boundaryOf is the boundary that a moment is, if it is one.
func boundaryOf(m boundary.Moment) (b Boundary, ok bool) {
	b = Boundary{Runbook: m.Runbook, Step: m.Step}
	switch {
	case (m.Event == "change began" || m.Event == "nested run called") && !m.Before:
		b.At = Before
	case m.Event == "step ended" && m.Outcome == "done" && m.Before:
		b.At = Changed
	case m.Event == "step ended" && m.Outcome == "done":
		b.At = Ended
	}
	return b, b.At != ""
}

func (b Boundary) is(m boundary.Moment) bool {
	other, ok := boundaryOf(m)
	other.Past = b.Past
	return ok && other == b
}

// Row is one run of the runbook.
type Row struct {
	// Boundary and Killed are empty where the run was left alone.
	Boundary *Boundary `json:"boundary,omitempty"`
	Killed   Victim    `json:"killed,omitempty"`
	// Node is where what was killed was.
	Node string `json:"node,omitempty"`
	Hit  bool   `json:"hit"`
	// Did is what the operator typed afterwards: resume, rollback, again.
	Did []string `json:"did,omitempty"`
	// Ended is what the journal says of the run: done, undone, not begun.
	Ended string            `json:"ended"`
	Nodes map[string]string `json:"nodes"` // what each is at the end
	// Acknowledged is how many rows clients were told are safe, and Gap the
	// longest time in which none was.
	Acknowledged int64   `json:"acknowledged"`
	Gap          float64 `json:"gap_seconds"`
	Seconds      float64 `json:"seconds"`
	// Problems are what must not be.
	Problems []string `json:"problems,omitempty"`
	// Said is what the commands printed, of a row with problems.
	Said string `json:"said,omitempty"`

	start  map[string]string // what each was before the run
	mended bool              // the server that was killed was started again
}

func (r *Row) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Report is a whole rehearsal.
type Report struct {
	Runbook string `json:"runbook"`
	Command string `json:"command"` // as it was typed, with its node
	Server  string `json:"postgresql"`
	// Skipped are steps that were left out by their own condition.
	Skipped []string `json:"skipped,omitempty"`
	// Declared are the boundaries that an undisturbed run passes, and Missed
	// those among the ones asked for at which nothing was killed.
	Declared []Boundary `json:"declared"`
	Missed   []Boundary `json:"missed,omitempty"`
	Rows     []Row      `json:"rows"`
	Passed   bool       `json:"passed"`
	Seconds  float64    `json:"seconds"`
}

// conclude counts.
func (r *Report) conclude(asked []Boundary, began time.Time) {
	r.Passed = len(r.Rows) > 0
	hit := map[Boundary]bool{}
	for _, row := range r.Rows {
		r.Passed = r.Passed && len(row.Problems) == 0
		if row.Boundary != nil && row.Hit {
			hit[*row.Boundary] = true
		}
	}
	for _, b := range asked {
		if !hit[b] {
			r.Missed = append(r.Missed, b)
			r.Passed = false
		}
	}
	r.Seconds = time.Since(began).Seconds()
}

// tableLine sets out one line of the table.
func tableLine(step, at, killed, then, ended, gap, took, verdict string) string {
	return strings.TrimRight(fmt.Sprintf("%-27s %-8s %-12s %-18s %-7s %6s %6s  %s", step, at, killed, then, ended, gap, took, verdict), " ") + "\n"
}

func tableHead() string {
	return tableLine("step", "at", "killed", "then", "ended", "gap", "took", "")
}

// line is the row of the table.
func (r *Row) line(book string) string {
	step, at, killed := "(undisturbed)", "", ""
	if r.Boundary != nil {
		step, at, killed = r.Boundary.label(book), string(r.Boundary.At), string(r.Killed)
		if r.Node != "" {
			killed += " " + r.Node
		}
	}
	verdict := "ok"
	if len(r.Problems) > 0 {
		verdict = "FAILED"
	}
	return tableLine(step, at, killed, strings.Join(r.Did, ", "), r.Ended, seconds(r.Gap), seconds(r.Seconds), verdict)
}

// label names the step, of a runbook within the rehearsed one with its name.
func (b Boundary) label(book string) string {
	if b.Runbook == book {
		return b.Step
	}
	return b.Runbook + "/" + b.Step
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }

// print shows a row and, of one with problems, what was printed in it.
func (r *Row) print(out io.Writer, book string) {
	var b strings.Builder
	b.WriteString(r.line(book))
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "    %s\n", problem)
	}
	for line := range strings.Lines(r.Said) {
		fmt.Fprintf(&b, "    | %s\n", strings.TrimRight(line, "\n"))
	}
	_, _ = io.WriteString(out, b.String()) // nobody is left to tell
}

// Verdict is the report's last paragraph.
func (r Report) Verdict() string {
	var b strings.Builder
	failed := 0
	for _, row := range r.Rows {
		if len(row.Problems) > 0 {
			failed++
		}
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintf(&b, "Not run here, by their own condition: %s\n", strings.Join(r.Skipped, ", "))
	}
	for _, missed := range r.Missed {
		fmt.Fprintf(&b, "Never hit: %s, %s\n", missed.label(r.Runbook), missed.At)
	}
	switch {
	case r.Passed && len(r.Rows) == 1:
		fmt.Fprintf(&b, "PASSED: never two nodes that accept writes, no gap in the WAL, no acknowledged row lost.\n")
	case r.Passed:
		fmt.Fprintf(&b, "PASSED: %d boundaries declared, all that were asked for were hit, in %d runs. Never two nodes that\naccept writes, no gap in the WAL, no acknowledged row lost.\n", len(r.Declared), len(r.Rows))
	default:
		fmt.Fprintf(&b, "FAILED: %d of %d runs, %d boundaries never hit.\n", failed, len(r.Rows), len(r.Missed))
	}
	return b.String()
}
