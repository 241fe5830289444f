package health

import "cmp"

// Secret is a file that a parameter of kind secret names by its default.
type Secret struct {
	Runbook string `json:"runbook"`
	Flag    string `json:"flag"`
	// Needed: a run is refused without it; else it goes on, and what takes the secret
	// is not done.
	Needed bool   `json:"needed,omitempty"`
	Error  string `json:"error,omitempty"` // why it cannot be read
	Hint   string `json:"hint,omitempty"`
}

// secrets judges whether the runbooks find theirs: a run at night must not be the
// first to miss one.
func (j *judge) secrets(n NodeStatus) {
	missing := 0
	for _, s := range n.Facts.Secrets {
		if s.Error == "" {
			continue
		}
		missing++
		next := cmp.Or(s.Hint, "mend that file on "+string(n.Node))
		if s.Needed {
			j.add(Critical, n, "secrets", next, "%s is refused without its secret --%s: %s", s.Runbook, s.Flag, s.Error)
		} else {
			j.add(Warning, n, "secrets", next, "%s goes on without its secret --%s, and what takes it is not done: %s", s.Runbook, s.Flag, s.Error)
		}
	}
	if all := len(n.Facts.Secrets); all > 0 && missing == 0 {
		j.add(OK, n, "secrets", "", "runbooks can read their secrets (%d)", all)
	}
}
