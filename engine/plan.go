package engine

// Plan is what a run would do, as far as that can be known beforehand.
type Plan struct {
	Runbook string            `json:"runbook"`
	Summary string            `json:"summary"`
	Params  map[string]string `json:"params,omitempty"`
	Checks  []PlannedCheck    `json:"checks"`
	Steps   []PlannedStep     `json:"steps"`
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
	// Asks is the question that the step puts to the operator.
	Asks string `json:"asks,omitempty"`
	// Unknown says what the rest of the step depends on.
	Unknown string `json:"unknown,omitempty"`
	// Problem is an error that the step would meet as things stand now.
	Problem string `json:"problem,omitempty"`
	// Note is anything else worth knowing.
	Note string `json:"note,omitempty"`
	// Irreversible is true when the line of no return lies before the step.
	Irreversible bool `json:"irreversible,omitempty"`
}
