package rehearsal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/builtins/lab/boundary"
	"github.com/warmrun/warmrun/walcore/hint"
)

// plan is what is to happen in a row. The zero value disturbs nothing.
type plan struct {
	boundary *Boundary
	kill     Victim
	// back: the operator undoes the run, where that can still be.
	back bool
	// heard is told of all moments; nil is allowed.
	heard func(boundary.Moment)
}

// undisturbed runs the runbook alone and notes what boundaries it passes.
func (r *rehearsal) undisturbed(ctx context.Context, report *Report) (Row, error) {
	past := false
	ended := map[string]bool{}
	row, err := r.play(ctx, plan{heard: func(m boundary.Moment) {
		past = past || m.Event == "no return"
		if m.Runbook == r.o.Book.Name && m.Event == "step ended" && m.Outcome == "done" {
			ended[m.Step] = true
		}
		b, ok := boundaryOf(m)
		b.Past = past
		known := func(other Boundary) bool {
			return other.Runbook == b.Runbook && other.Step == b.Step && other.At == b.At
		}
		if ok && !slices.ContainsFunc(report.Declared, known) {
			report.Declared = append(report.Declared, b)
		}
	}})
	if err != nil {
		return row, err
	}
	for _, step := range r.o.Book.Steps {
		if !ended[step] {
			report.Skipped = append(report.Skipped, step)
		}
	}
	row.Hit = true
	r.reference = &row
	return row, nil
}

// asked are the boundaries that the filters leave.
func (r *rehearsal) asked(declared []Boundary) ([]Boundary, error) {
	var asked []Boundary
	for _, b := range declared {
		named := r.o.Step == "" || r.o.Step == b.Step || r.o.Step == b.Runbook+"/"+b.Step
		if named && (r.o.At == "" || r.o.At == b.At) {
			asked = append(asked, b)
		}
	}
	if len(asked) > 0 {
		return asked, nil
	}
	var names []string
	for _, b := range declared {
		names = append(names, b.label(r.o.Book.Name))
	}
	return nil, hint.Wrap(fmt.Errorf("no boundary is left: --only %q, --at %q", r.o.Step, r.o.At),
		"the steps that a run of %s passes here are %s", r.o.Book.Name, strings.Join(slices.Compact(names), ", "))
}

// plans are the rows for the boundaries. A killed run that could go either way
// goes both.
func (r *rehearsal) plans(asked []Boundary) (plans []plan) {
	for i := range asked {
		for _, victim := range Victims() {
			if r.o.Kill != "" && r.o.Kill != victim {
				continue
			}
			plans = append(plans, plan{boundary: &asked[i], kill: victim})
			if victim == Program && !asked[i].Past {
				plans = append(plans, plan{boundary: &asked[i], kill: victim, back: true})
			}
		}
	}
	return plans
}
