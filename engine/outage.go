package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a step can say of an outage.
const (
	outageBegins = "begins"
	outageEnds   = "ends"
)

// outageMarks are the lines before such steps that have none of their own.
var outageMarks = map[string]string{
	outageBegins: "the outage begins: clients cannot write from here",
	outageEnds:   "the outage ends: clients can write again",
}

// Outage is the time in which clients cannot write, as a plan knows it. Nothing in
// it is guessed: it has what the steps know now, and how long it took before.
type Outage struct {
	// Begins and Ends are the steps at which it does, each as the names of the
	// steps on the way to it: ["flush", "stop"] is step stop of the runbook within
	// step flush. Empty: no step of this plan.
	Begins []string `json:"begins,omitempty"`
	Ends   []string `json:"ends,omitempty"`
	// Known is what steps between the two expect.
	Known []Expectation `json:"known,omitempty"`
	// Untold are steps between the two of which the plan cannot tell what they do.
	Untold []string `json:"untold,omitempty"`
	// Past is how long it took in former runs, the last one first. Whoever keeps
	// them fills it in.
	Past []PastOutage `json:"past,omitempty"`
}

// Expectation is what a step knows of how long it will take.
type Expectation struct {
	Step string `json:"step"`
	Text string `json:"text"`
}

// PastOutage is the outage of a former run, in seconds.
type PastOutage struct {
	Run     string  `json:"run"`
	Seconds float64 `json:"seconds"`
}

// outage finds the outage of the plan in its steps; nil where there is none.
func (p *Plan) outage() *Outage {
	o := &Outage{}
	within := false
	p.walk(nil, func(path []string, s PlannedStep) {
		if s.Outage == outageBegins && o.Begins == nil {
			// What the steps before it expect is over by then.
			o.Begins, o.Known, o.Untold, within = path, nil, nil, true
		}
		if o.Ends == nil && (within || o.Begins == nil) {
			o.note(path, s)
		}
		if s.Outage == outageEnds && o.Ends == nil {
			o.Ends = path
		}
	})
	if o.Begins == nil && o.Ends == nil {
		return nil
	}
	return o
}

func (o *Outage) note(path []string, s PlannedStep) {
	name := strings.Join(path, "/")
	if s.Expect != "" {
		o.Known = append(o.Known, Expectation{name, s.Expect})
	}
	if len(s.Within) == 0 && len(s.Lines) == 0 && s.Problem != "" {
		o.Untold = append(o.Untold, name)
	}
}

// walk calls a function for every step that is to be run, those of runbooks within
// it after it.
func (p *Plan) walk(above []string, do func(path []string, s PlannedStep)) {
	for _, s := range p.Steps {
		if s.Outcome != "" || s.Finally {
			continue
		}
		path := append(slices.Clone(above), s.Name)
		do(path, s)
		for _, inner := range s.Within {
			inner.walk(path, do)
		}
	}
}

// text is what an operator reads of it.
func (o *Outage) text(b *strings.Builder, p *Plan) {
	switch {
	case o.Ends == nil:
		fmt.Fprintf(b, "  clients cannot write from step %s on\n", strings.Join(o.Begins, "/"))
		b.WriteString("  nothing in this runbook lets them write again")
		if p.Next != "" {
			fmt.Fprintf(b, "; what usually follows: %s", p.Next)
		}
		b.WriteString("\n")
	case o.Begins == nil:
		fmt.Fprintf(b, "  clients can write again at step %s; since when they cannot is not known here\n", strings.Join(o.Ends, "/"))
	default:
		fmt.Fprintf(b, "  clients cannot write from step %s to step %s\n", strings.Join(o.Begins, "/"), strings.Join(o.Ends, "/"))
	}
	fmt.Fprintf(b, "  %s\n", o.pastText(p))
	for _, known := range o.Known {
		fmt.Fprintf(b, "  %s: %s\n", known.Step, known.Text)
	}
	for _, name := range o.Untold {
		fmt.Fprintf(b, "  %s: what it will do cannot be told now\n", name)
	}
}

// pastText says how long it took before, or that this is not known.
func (o *Outage) pastText(p *Plan) string {
	from, to := "from its first step to there", "until there"
	if o.Begins != nil && o.Ends != nil {
		from, to = "between the two", "between the two"
	}
	if o.Ends == nil {
		from, to = "from there to its end", "from there to its end"
	}
	if len(o.Past) == 0 {
		return fmt.Sprintf("how long it takes %s is not known: no earlier run of %s that was done can be looked at here", to, p.Runbook)
	}
	least, most := o.Past[0].Seconds, o.Past[0].Seconds
	for _, past := range o.Past {
		least, most = min(least, past.Seconds), max(most, past.Seconds)
	}
	took := elapsed(seconds(least))
	if other := elapsed(seconds(most)); other != took {
		took += " to " + other
	}
	if len(o.Past) == 1 {
		return fmt.Sprintf("the last run of %s took %s %s (%s)", p.Runbook, took, from, o.Past[0].Run)
	}
	return fmt.Sprintf("the last %d runs of %s took %s %s", len(o.Past), p.Runbook, took, from)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
