package engine

import "strings"

// Runbook is a loaded and validated runbook. It holds no Lua state: every plan
// and run starts from a fresh one, so a Runbook may be used more than once.
type Runbook struct {
	API         int    `json:"api"`
	Name        string `json:"name"`
	Summary     string `json:"summary"`
	Description string `json:"description,omitempty"`
	// RunsOn is primary, standby, dr, pair or any.
	RunsOn string `json:"runs_on"`
	// Lock is cluster, node or none.
	Lock string `json:"lock"`
	// LockUnless is a boolean parameter with which a run takes no lock; see LockFor.
	LockUnless string `json:"lock_unless,omitempty"`
	// Next names the runbook that usually follows, or is empty.
	Next   string      `json:"next,omitempty"`
	Params []Param     `json:"params"`
	Checks []CheckInfo `json:"checks"`
	Steps  []StepInfo  `json:"steps"`
	// Finally are the steps at the end of every run that has begun one, done
	// or failed. Extensions add them.
	Finally []StepInfo `json:"finally,omitempty"`

	book *book
}

// Param is one declared parameter, in the order of the file.
type Param struct {
	Name string `json:"name"`
	// Type is string, integer, boolean, duration, size, choice, node, time,
	// secret or the name of an opaque type that has a text form.
	Type    string `json:"type"`
	Default string `json:"default,omitempty"`
	Help    string `json:"help,omitempty"`
	// Choices are the values of a choice.
	Choices  []string `json:"choices,omitempty"`
	Required bool     `json:"required,omitempty"`
	// Bare: a word on the command line that names no option is its value.
	Bare bool `json:"bare,omitempty"`
	// HasDefault tells an empty default from none.
	HasDefault bool `json:"has_default,omitempty"`
	// Dispensable: a secret of an extension whose steps only warn when they fail. A
	// run goes on where it cannot be read.
	Dispensable bool `json:"dispensable,omitempty"`
}

// Flag is the parameter's name on the command line, without the dashes.
func (p Param) Flag() string { return strings.ReplaceAll(p.Name, "_", "-") }

// CheckInfo describes a check without running it.
type CheckInfo struct {
	Name string `json:"name"`
	Hint string `json:"hint,omitempty"`
	Line int    `json:"line"`
	// Again: it is made again when a run is resumed that has begun a step and
	// has not passed the line of no return.
	Again bool `json:"again,omitempty"`
}

// StepInfo describes a step without running it.
type StepInfo struct {
	Name         string `json:"name"`
	Line         int    `json:"line"`
	Irreversible bool   `json:"irreversible,omitempty"`
	// Repeatable: run may be called again after it was interrupted halfway, and
	// nobody knows where. So may one with retries.
	Repeatable bool `json:"repeatable,omitempty"`
	// Mark is a line to draw before the step.
	Mark string `json:"mark,omitempty"`
	// Outage is "begins" or "ends" where clients cannot write from the step on, or
	// can again.
	Outage    string `json:"outage,omitempty"`
	HasUndo   bool   `json:"undo,omitempty"`
	HasDoneIf bool   `json:"done_if,omitempty"`
	Asks      bool   `json:"asks,omitempty"`
	Timeout   string `json:"timeout,omitempty"`
	Retries   int    `json:"retries,omitempty"`
	Hint      string `json:"hint,omitempty"`
	// OnError is "warn" or "fail" for a step that an extension has added.
	OnError string `json:"on_error,omitempty"`
}

// LockFor is the lock of a run with these arguments: none where they ask for what
// only reads.
func (r *Runbook) LockFor(args map[string]string) string {
	for name, text := range args {
		if r.LockUnless != "" && paramOf(name) == r.LockUnless && text == "true" {
			return "none"
		}
	}
	return r.Lock
}

// Source is the text that the runbook was loaded from.
func (r *Runbook) Source() Source { return r.book.main.source }
