package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// TestReport is what came of the cases in one file.
type TestReport struct {
	Runbook string       `json:"runbook"`
	Cases   []CaseReport `json:"cases"`
	// Untried are failures of the runbook that no case has brought about: of
	// checks and steps, undos that never ran, and lines that call fail.
	Untried []string `json:"untried,omitempty"`
}

// CaseReport is one case.
type CaseReport struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
	// Problems are empty for a case that has passed.
	Problems []string `json:"problems,omitempty"`
	// Calls and Output are what happened, for a case that has not.
	Calls  []string `json:"calls,omitempty"`
	Output string   `json:"output,omitempty"`
}

// Failed counts the cases that have not passed.
func (r TestReport) Failed() int {
	failed := 0
	for _, c := range r.Cases {
		failed += min(1, len(c.Problems))
	}
	return failed
}

// TestRunbook runs the cases of a test's file. The runbook that it names comes
// from find, and every function of the host is replaced by a fake, so that
// nothing is read and nothing is changed. The error is that of a file that
// cannot be used; what the cases find is in the report.
func TestRunbook(ctx context.Context, src Source, host Host, find func(name string) (Source, error)) (TestReport, error) {
	v, t, err := loadTest(ctx, src, host)
	if err != nil {
		return TestReport{}, err
	}
	report := TestReport{Runbook: t.runbook}
	book, err := find(t.runbook)
	if err != nil {
		return report, fmt.Errorf("%s:%d: %w", src.file(), t.line, err)
	}
	if err := t.knownAnswers(host, src.file()); err != nil {
		return report, err
	}
	seen := newCoverage()
	for _, c := range t.cases {
		s := &stage{v: v, c: c, common: t.answers, used: map[string]int{}}
		rb, err := Load(ctx, book, s.host(host))
		if err != nil {
			return report, err
		}
		seen.book, rb.book.failing = rb, seen.fail
		played := s.play(ctx, rb, seen)
		if c.sweep && len(played.Problems) == 0 {
			played.Problems = s.sweep(ctx, rb, seen)
		}
		report.Cases = append(report.Cases, played)
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
	}
	report.Untried = seen.untried()
	return report, nil
}

// knownAnswers refuses an answer for a function that there is not: it would
// never be given.
func (t *testDef) knownAnswers(host Host, file string) error {
	var known []string
	for _, m := range host.Modules {
		for _, f := range m.Funcs {
			known = append(known, m.Name+"."+f.Name)
		}
	}
	check := func(answers map[string]lua.LValue, line int) error {
		for _, name := range sortedKeys(answers) {
			if !contains(known, name) {
				return fmt.Errorf("%s:%d: an answer for %s, which is no function%s", file, line, name, didYouMean(name, known))
			}
		}
		return nil
	}
	err := check(t.answers, t.line)
	for _, c := range t.cases {
		err = errors.Join(err, check(c.answers, c.line))
	}
	return err
}

// play plans, runs and judges one case.
func (s *stage) play(ctx context.Context, rb *Runbook, seen *coverage) CaseReport {
	c := s.c
	report := CaseReport{Name: c.Name, File: c.file, Line: c.line}
	if c.plans != nil {
		plan, err := rb.Plan(ctx, c.params)
		report.Problems = append(report.Problems, planProblems(plan, err, c.plans)...)
	}
	var out bytes.Buffer
	result, err := s.run(ctx, rb, seen, &out)
	report.Problems = append(report.Problems, s.problems(err, out.String())...)
	report.Problems = append(report.Problems, s.expected(ctx, result, err, out.String())...)
	if len(report.Problems) > 0 {
		report.Calls, report.Output = s.callTexts(), out.String()
	}
	return report
}

func (s *stage) run(ctx context.Context, rb *Runbook, seen *coverage, out io.Writer) (*Result, error) {
	s.calls, s.used, s.missing, s.asked = nil, map[string]int{}, nil, nil
	result, err := rb.Run(ctx, s.c.params, RunOptions{Out: out, Observe: func(e Event) error {
		seen.event(e, len(s.calls))
		return nil
	}})
	seen.end(err)
	return result, err
}

// sweep repeats a case with each of its calls failing in turn. Whether the run
// then fails is the runbook's affair; that it stumbles over the failure in Lua,
// or cannot undo what it has done, is a mistake in it.
func (s *stage) sweep(ctx context.Context, rb *Runbook, seen *coverage) []string {
	var problems []string
	for i, call := range s.calls {
		s.failAt = i + 1
		_, err := s.run(ctx, rb, seen, io.Discard)
		var message *luaMessage
		step := &StepError{}
		errors.As(err, &step)
		switch {
		case ctx.Err() != nil:
			return append(problems, context.Cause(ctx).Error())
		case errors.As(err, &message):
			problems = append(problems, fmt.Sprintf("when call %d fails (%s): a mistake of the runbook: %s", i+1, call.text, err))
		case len(step.Left) > 0:
			problems = append(problems, fmt.Sprintf("when call %d fails (%s): left, because its undo failed: %s (%s)", i+1, call.text, listOr(step.Left), step.UndoErr))
		}
	}
	s.failAt = 0
	return problems
}

func planProblems(plan *Plan, err error, want []string) []string {
	if err != nil {
		return []string{"it cannot be planned: " + err.Error()}
	}
	return lacking("the plan", plan.Text(), want)
}

// lacking names the texts that are not in another.
func lacking(what, text string, want []string) []string {
	var out []string
	for _, w := range want {
		if !strings.Contains(text, w) {
			out = append(out, fmt.Sprintf("%s does not have %q", what, w))
		}
	}
	return out
}

func (s *stage) callTexts() []string {
	var out []string
	for _, call := range s.calls {
		out = append(out, call.text)
	}
	return out
}

// problems are what the case expects and the run was not.
func (s *stage) problems(err error, output string) []string {
	c := s.c
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Compact(s.missing) {
		bad("no answer for %s", name)
	}
	switch {
	case c.fails == "" && err != nil:
		bad("it fails: %s", err)
	case c.fails != "" && err == nil:
		bad("it does not fail, and should with %q", c.fails)
	case c.fails != "" && !strings.Contains(err.Error(), c.fails):
		bad("it fails with %q, and should with %q", err, c.fails)
	}
	if c.hint != "" && !strings.Contains(hint.Of(err), c.hint) {
		bad("its hint is %q, and should have %q", hint.Of(err), c.hint)
	}
	step := &StepError{}
	errors.As(err, &step)
	if c.undone != nil && !slices.Equal(step.TookBack, c.undone) {
		bad("undone: %s; expected: %s", listOr(step.TookBack), listOr(c.undone))
	}
	if !slices.Equal(step.Left, c.left) {
		bad("left, because its undo failed: %s; expected: %s (%v)", listOr(step.Left), listOr(c.left), step.UndoErr)
	}
	if c.passed != lua.LNil && lua.LVAsBool(c.passed) != step.PastReturn {
		bad("past the line of no return: %v; expected: %v", step.PastReturn, c.passed)
	}
	if missed := s.notCalled(); missed != "" {
		bad("not called, in this order: %s", missed)
	}
	for _, never := range c.never {
		if i := slices.IndexFunc(s.calls, func(call fakeCall) bool { return call.is(never) }); i >= 0 {
			bad("called: %s", s.calls[i].text)
		}
	}
	return append(out, lacking("the output", output, c.says)...)
}

func listOr(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// is compares a call with its beginning, word by word.
func (f fakeCall) is(want string) bool {
	return f.text == want || strings.HasPrefix(f.text, want+" ")
}

// notCalled is the first of the expected calls that does not come where it
// should.
func (s *stage) notCalled() string {
	rest := s.calls
	for _, want := range s.c.calls {
		i := slices.IndexFunc(rest, func(call fakeCall) bool { return call.is(want) })
		if i < 0 {
			return want
		}
		rest = rest[i+1:]
	}
	return ""
}

// expected calls the case's own function.
func (s *stage) expected(ctx context.Context, result *Result, err error, output string) []string {
	if s.c.expect == nil {
		return nil
	}
	run := s.v.newTable()
	calls := s.v.newTable()
	for _, call := range s.calls {
		one, args := s.v.newTable(), s.v.newTable()
		for _, arg := range s.luaArgs(call.args) {
			args.Append(arg)
		}
		one.RawSetString("name", lua.LString(call.name))
		one.RawSetString("text", lua.LString(call.text))
		one.RawSetString("args", args)
		calls.Append(one)
	}
	run.RawSetString("calls", calls)
	run.RawSetString("output", lua.LString(output))
	run.RawSetString("asked", s.v.toLua(s.asked))
	if err != nil {
		run.RawSetString("error", lua.LString(err.Error()))
	}
	results, steps := map[string]any{}, map[string]any{}
	if result != nil {
		for _, step := range result.Steps {
			results[step.Name], steps[step.Name] = step.Value, string(step.Outcome)
		}
	}
	run.RawSetString("results", s.v.toLua(results))
	run.RawSetString("steps", s.v.toLua(steps))
	if _, err := s.v.call(ctx, checking, s.c.expect, run); err != nil {
		return []string{err.Error()}
	}
	return nil
}
