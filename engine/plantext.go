package engine

import (
	"fmt"
	"strings"
)

// noReturn is drawn before the first step that cannot be undone.
const noReturn = "-- no return from here --"

// Text is the plan for an operator to read, without colour.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Plan of %s: %s\n", p.Runbook, p.Summary)
	b.WriteString("Nothing is changed by planning.\n")
	if len(p.Params) > 0 {
		b.WriteString("\nParameters\n")
		for _, name := range sortedKeys(p.Params) {
			fmt.Fprintf(&b, "  --%s %s\n", strings.ReplaceAll(name, "_", "-"), p.Params[name])
		}
	}
	if len(p.Warnings) > 0 {
		b.WriteString("\n")
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "%s\n", warning)
	}
	if len(p.Checks) > 0 {
		b.WriteString("\nChecks\n")
		p.checksText(&b)
	}
	if p.Outage != nil {
		b.WriteString("\nExpected outage\n")
		p.Outage.text(&b, p)
	}
	b.WriteString("\nSteps\n")
	p.stepsText(&b)
	return b.String()
}

// Nested is the plan as a part of another one: the checks that fail and the
// steps.
func (p *Plan) Nested() string {
	var b strings.Builder
	fmt.Fprintf(&b, "runbook %s", p.Runbook)
	if p.On != "" {
		fmt.Fprintf(&b, ", on %s", p.On)
	}
	b.WriteString("\n")
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "  %s\n", warning)
	}
	for _, c := range p.Checks {
		if !c.OK {
			fmt.Fprintf(&b, "  must hold by then: %s\n", c.byThen())
		}
	}
	p.stepsText(&b)
	return b.String()
}

// byThen is a check that does not hold yet, which is no failure where the steps
// before it are there to make it hold.
func (c PlannedCheck) byThen() string {
	if c.Message == c.Name {
		return c.Name
	}
	return fmt.Sprintf("%s (now: %s)", c.Name, c.Message)
}

func (c PlannedCheck) sentence() string {
	f := CheckFailure{Name: c.Name, Message: c.Message}
	return f.sentence()
}

func (p *Plan) checksText(b *strings.Builder) {
	for _, c := range p.Checks {
		if c.OK {
			fmt.Fprintf(b, "  ok      %s\n", c.Name)
			continue
		}
		fmt.Fprintf(b, "  FAILED  %s\n", c.sentence())
		if c.Hint != "" {
			fmt.Fprintf(b, "          %s\n", c.Hint)
		}
	}
}

func (p *Plan) stepsText(b *strings.Builder) {
	width := len(fmt.Sprint(len(p.Steps)))
	passed := false
	for i, s := range p.Steps {
		if s.Mark != "" && s.Outcome == "" {
			fmt.Fprintf(b, "  -- %s --\n", s.Mark)
		}
		if s.Irreversible && !passed && s.Outcome == "" {
			fmt.Fprintf(b, "  %s\n", noReturn)
			passed = true
		}
		passed = passed || s.Passes
		fmt.Fprintf(b, "  %*d. %s%s\n", width, i+1, s.Name, s.remark())
		indent := strings.Repeat(" ", width+6)
		for _, line := range s.body() {
			b.WriteString(indent + line + "\n")
		}
	}
}

func (s *PlannedStep) remark() string {
	if s.Outcome != "" {
		return ": " + string(s.Outcome)
	}
	if s.Finally {
		return " (at the end of every run, done or failed)"
	}
	return ""
}

func (s *PlannedStep) body() []string {
	if s.Outcome != "" {
		return nil
	}
	var lines []string
	if s.Asks != "" {
		lines = append(lines, "asks: "+s.Asks)
	}
	for _, note := range s.Notes {
		lines = append(lines, "("+note+")")
	}
	lines = append(lines, s.Lines...)
	switch {
	case s.Unknown != "":
		lines = append(lines, "unknown from here: depends on "+s.Unknown)
	case s.Problem != "":
		lines = append(lines, "as things stand now it fails: "+s.Problem)
	case len(s.Lines) == 0 && len(s.Says) > 0:
		for _, text := range s.Says {
			lines = append(lines, "says: "+text)
		}
	case len(s.Lines) == 0:
		lines = append(lines, "only looks")
	}
	return lines
}
