package engine

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// coverage notes which failures the cases of a test have brought about.
type coverage struct {
	book   *Runbook
	checks map[string]bool // that have failed
	steps  map[string]bool
	undone map[string]bool
	works  map[string]bool // steps that call something, and so can fail
	lines  map[string]bool // that call fail
	calls  int             // before the step that runs now
}

func newCoverage() *coverage {
	return &coverage{checks: map[string]bool{}, steps: map[string]bool{}, undone: map[string]bool{}, works: map[string]bool{}, lines: map[string]bool{}}
}

func (s *coverage) fail(where string) { s.lines[where] = true }

// event follows a run; calls is the number of calls until then.
func (s *coverage) event(e Event, calls int) {
	switch e.Kind {
	case CheckEnded:
		s.checks[e.Step] = s.checks[e.Step] || e.Outcome == Failed
	case StepBegan:
		s.calls = calls
	case StepEnded:
		s.works[e.Step] = s.works[e.Step] || calls > s.calls && e.Outcome != AlreadyDone && e.Outcome != Skipped
		s.steps[e.Step] = s.steps[e.Step] || e.Outcome == Failed
	case UndoBegan:
		s.undone[e.Step] = true
	}
}

func (s *coverage) end(err error) {
	var step *StepError
	if errors.As(err, &step) {
		s.steps[step.Step] = true
	}
}

// untried are the failures that have not come about.
func (s *coverage) untried() []string {
	var out []string
	for _, c := range s.book.Checks {
		if !s.checks[c.Name] {
			out = append(out, "check "+c.Name+" never fails")
		}
	}
	for _, step := range slices.Concat(s.book.Steps, s.book.Finally) {
		if s.works[step.Name] && !s.steps[step.Name] {
			out = append(out, "step "+step.Name+" never fails")
		}
		if step.HasUndo && !s.undone[step.Name] {
			out = append(out, "step "+step.Name+" is never undone")
		}
	}
	for _, src := range s.book.Sources() {
		for _, line := range failLines(src) {
			if where := fmt.Sprintf("%s:%d", src.file(), line); !s.lines[where] {
				out = append(out, "fail is never called: "+where)
			}
		}
	}
	return out
}

// failLines are the lines of a text that call fail.
func failLines(src Source) []int {
	stmts, ok := parseFor(src)
	if !ok {
		return nil
	}
	var lines []int
	walk(reflect.ValueOf(stmts), func(node any) {
		if call, ok := node.(*ast.FuncCallExpr); ok && identName(call.Func) == "fail" {
			lines = append(lines, call.Line())
		}
	})
	slices.Sort(lines)
	return slices.Compact(lines)
}
