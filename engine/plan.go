package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// planTimeout bounds the planning of one step: a loop that waits for a change
// would go on for ever, because the change is not made.
const planTimeout = 2 * time.Minute

// Plan is what a run would do, as far as that can be known beforehand.
type Plan struct {
	Runbook string `json:"runbook"`
	Summary string `json:"summary"`
	// On is the node that the runbook runs on, where the host names it.
	On string `json:"on,omitempty"`
	// Next is what usually follows.
	Next   string            `json:"next,omitempty"`
	Params map[string]string `json:"params,omitempty"`
	// Warnings are of secrets that cannot be read and that a run does without.
	Warnings []string       `json:"warnings,omitempty"`
	Checks   []PlannedCheck `json:"checks"`
	Steps    []PlannedStep  `json:"steps"`
	// Outage is when clients cannot write; nil where no step says anything of it.
	Outage *Outage `json:"outage,omitempty"`
}

// PlannedCheck is a check as it stands now.
type PlannedCheck struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// PlannedStep is one step of a plan.
type PlannedStep struct {
	Name string `json:"name"`
	// Outcome is AlreadyDone or Skipped where that is known, else empty.
	Outcome Outcome `json:"outcome,omitempty"`
	// Lines are the changes in words, in order. Lines of a runbook inside
	// the step are indented by two blanks.
	Lines []string `json:"lines,omitempty"`
	// Mark is a line to draw before the step.
	Mark string `json:"mark,omitempty"`
	// Outage is "begins" or "ends", and Expect what is known of how long the step
	// will take.
	Outage string `json:"outage,omitempty"`
	Expect string `json:"expect,omitempty"`
	// Within are the plans of the runbooks within the step.
	Within []*Plan `json:"within,omitempty"`
	// Says is what the step would print, as far as that is known now.
	Says []string `json:"says,omitempty"`
	// Asks is the question that the step puts to the operator.
	Asks string `json:"asks,omitempty"`
	// Unknown says what the rest of the step depends on.
	Unknown string `json:"unknown,omitempty"`
	// Problem is an error that the step would meet as things stand now.
	Problem string `json:"problem,omitempty"`
	// Notes are anything else worth knowing.
	Notes []string `json:"notes,omitempty"`
	// Irreversible is true for a step that cannot be undone, by its own word or
	// for what it calls. The line of no return lies before the first of them.
	Irreversible bool `json:"irreversible,omitempty"`
	// Finally is true for a step at the end of every run, done or failed.
	Finally bool `json:"finally,omitempty"`
	// Passes is true when a runbook within the step passes the line.
	Passes bool `json:"passes,omitempty"`
}

// planner makes one plan.
type planner struct {
	rb      *Runbook
	vm      *vm
	params  map[string]any
	results map[string]lua.LValue
	plan    *Plan
	step    *PlannedStep // the step being planned
	outer   *planner     // the plan that this one is part of
	changes bool         // a change has been recorded
	ending  lua.LValue   // how the run will have ended, for the steps of finally
}

// Plan runs the checks and the reads of every step for real and lists the
// changes that a run would make, without making any. The error is a
// *ParamError, an *InternalError or the end of ctx; failing checks and steps
// are part of the plan.
//
// Reads see the cluster as it is now, not as the planned changes would leave
// it. Where that matters the plan says so.
func (r *Runbook) Plan(ctx context.Context, args map[string]string) (*Plan, error) {
	values, texts, err := r.arguments(args, true)
	if err != nil {
		return nil, err
	}
	v, err := r.book.instance(ctx, true)
	if err != nil {
		return nil, err
	}
	p := &planner{rb: r, vm: v, params: values, results: map[string]lua.LValue{}, outer: scopeOf(ctx).pl}
	p.plan = &Plan{Runbook: r.Name, Summary: r.Summary, Next: r.Next, Params: texts}
	p.plan.On, _ = r.book.host.Vars["node"].(string)
	v.plan = p
	p.secrets()
	if err := p.checks(ctx); err != nil {
		return nil, err
	}
	if err := p.steps(ctx); err != nil {
		return nil, err
	}
	p.plan.Outage = p.plan.outage()
	if p.outer != nil {
		p.outer.adopt(p.plan, p.changes)
	}
	return p.plan, nil
}

func (p *planner) steps(ctx context.Context) error {
	defs := p.vm.def.steps
	for i, def := range slices.Concat(defs, p.vm.def.finally) {
		if i == len(defs) {
			p.ending = p.vm.unknown("how the run ends")
		}
		if err := p.planStep(ctx, def); err != nil {
			return err
		}
		p.step.Finally = i >= len(defs)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// adopt takes over what matters of the plan of a runbook within the step.
func (p *planner) adopt(plan *Plan, changes bool) {
	p.changes = p.changes || changes
	p.step.Within = append(p.step.Within, plan)
	for _, s := range plan.Steps {
		if (s.Irreversible || s.Passes) && s.Outcome == "" {
			p.step.Passes = true
		}
	}
}

// PlansWithin makes a plan that another process has made part of the plan that
// ctx belongs to, as Plan does with its own.
func PlansWithin(ctx context.Context, plan *Plan) {
	if p := scopeOf(ctx).pl; p != nil && p.step != nil {
		p.adopt(plan, slices.ContainsFunc(plan.Steps, func(s PlannedStep) bool { return len(s.Lines) > 0 }))
	}
}

func (p *planner) checks(ctx context.Context) error {
	for _, def := range p.vm.def.checks {
		failure := judge(quietly(ctx, &scope{pl: p}), p.vm, def, p.c())
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c := PlannedCheck{Name: def.Name, OK: failure == nil}
		if failure != nil {
			if isInternal(failure.Err) {
				return failure.Err
			}
			c.Message, c.Hint = failure.Message, failure.Hint
		}
		p.plan.Checks = append(p.plan.Checks, c)
	}
	return nil
}

func (p *planner) c() lua.LValue {
	return p.vm.c(handed{params: p.params, outcome: p.ending, failure: p.ending, results: func(step string) (lua.LValue, bool) {
		for _, s := range p.vm.def.steps {
			if s.Name == step {
				if value, planned := p.results[step]; planned {
					return value, true
				}
				return lua.LNil, true
			}
		}
		return lua.LNil, false
	}})
}

// record notes a change that is not made.
func (p *planner) record(text string) {
	p.changes = true
	p.step.Lines = append(p.step.Lines, strings.Split(strings.TrimRight(text, "\n"), "\n")...)
}

// recordNested notes the plan of a runbook within the step.
func (p *planner) recordNested(text string) {
	for line := range strings.Lines(text) {
		p.step.Lines = append(p.step.Lines, "  "+strings.TrimRight(line, "\n"))
	}
}

func (p *planner) planStep(ctx context.Context, def *stepDef) error {
	p.plan.Steps = append(p.plan.Steps, PlannedStep{Name: def.Name, Irreversible: def.Irreversible, Mark: def.Mark, Outage: def.Outage})
	p.step = &p.plan.Steps[len(p.plan.Steps)-1]
	p.results[def.Name] = p.vm.unknown("the result of step " + def.Name)
	ctx, cancel := context.WithTimeoutCause(ctx, planTimeout, fmt.Errorf("planning took longer than %s", planTimeout))
	defer cancel()
	ctx = quietly(ctx, &scope{pl: p})
	settled, err := p.settle(ctx, def)
	if err != nil || settled {
		return err
	}
	if err := errors.Join(p.question(ctx, def), p.expect(ctx, def)); err != nil {
		return err
	}
	values, err := p.vm.call(ctx, running, def.run, p.c())
	if err != nil {
		return p.trouble(ctx, "", err)
	}
	p.results[def.Name] = lua.LNil
	if len(values) > 0 {
		p.results[def.Name] = values[0]
	}
	return nil
}

// settle asks when and done_if. What they say is certain only as long as no
// change comes before the step.
func (p *planner) settle(ctx context.Context, def *stepDef) (bool, error) {
	if def.when != nil {
		wanted, _, err := p.condition(ctx, def, "when", def.when)
		switch {
		case err != nil:
			return false, p.trouble(ctx, "whether it runs", err)
		case !wanted && !p.changes:
			p.step.Outcome = Skipped
			p.results[def.Name] = lua.LNil
			return true, nil
		case !wanted:
			p.note("not needed as things stand now")
		}
	}
	if def.doneIf == nil {
		return false, nil
	}
	done, value, err := p.condition(ctx, def, "done_if", def.doneIf)
	switch {
	case err != nil:
		return false, p.trouble(ctx, "whether it is already done", err)
	case done && !p.changes:
		p.step.Outcome = AlreadyDone
		p.results[def.Name] = value
		return true, nil
	case done:
		p.note("already done as things stand now, before the changes above")
	}
	return false, nil
}

func (p *planner) condition(ctx context.Context, def *stepDef, key string, fn *lua.LFunction) (bool, lua.LValue, error) {
	values, err := p.vm.call(ctx, asking, fn, p.c())
	if err != nil {
		return false, lua.LNil, err
	}
	return truth(values, def.Name, key)
}

func (p *planner) question(ctx context.Context, def *stepDef) error {
	if def.confirmFn == nil {
		p.step.Asks = def.confirm
		return nil
	}
	values, err := p.vm.call(ctx, asking, def.confirmFn, p.c())
	if err != nil {
		return p.trouble(ctx, "its question", err)
	}
	p.step.Asks, err = questionOf(values, def.Name)
	if err != nil {
		return p.trouble(ctx, "its question", err)
	}
	return nil
}

// expect asks what is known of how long the step will take.
func (p *planner) expect(ctx context.Context, def *stepDef) error {
	if def.expect == nil {
		return nil
	}
	values, err := p.vm.call(ctx, asking, def.expect, p.c())
	if err != nil {
		return p.trouble(ctx, "how long it will take", err)
	}
	if len(values) > 0 && values[0].Type() == lua.LTString {
		p.step.Expect = values[0].String()
	}
	return nil
}

func (p *planner) note(text string) { p.step.Notes = append(p.step.Notes, text) }

// trouble makes an error a part of the plan. What is left as an error ends the
// plan: faults of the program.
func (p *planner) trouble(ctx context.Context, what string, err error) error {
	var depends *unknownError
	switch {
	case errors.As(err, &depends) && what == "":
		p.step.Unknown = depends.from
	case errors.As(err, &depends):
		p.note(what + " depends on " + depends.from)
	case isInternal(err):
		return err
	case what == "":
		p.step.Problem = explained(ctx, err).Error()
	default:
		p.note(what + " cannot be told: " + err.Error())
	}
	return nil
}

// Failed reports whether the checks would keep a run from beginning.
func (p *Plan) Failed() bool {
	for _, c := range p.Checks {
		if !c.OK {
			return true
		}
	}
	return false
}
