package engine

import (
	"fmt"

	"github.com/warmrun/warmrun/walcore/hint"
)

// unread is a secret that could not be read, and why.
type unread struct {
	Param
	err error
}

func (u unread) sentence() string { return fmt.Sprintf("--%s: %s", u.Flag(), u.err) }

// lost are the secrets among the values that could not be read.
func (r *Runbook) lost(values map[string]any) (lost []unread) {
	for _, p := range r.Params {
		if s, ok := values[p.Name].(Secret); ok && s.lost != nil {
			lost = append(lost, unread{p, s.lost})
		}
	}
	return lost
}

// warning is what a run and a plan say of a secret that they do without.
func (u unread) warning() string {
	text := fmt.Sprintf("warning: %s: what takes it will fail, and the run goes on", u.sentence())
	if next := hint.Of(u.err); next != "" {
		text += "; " + next
	}
	return text
}

// secrets tells which ones cannot be read. A run would be refused without those that
// it needs, as by a check.
func (p *planner) secrets() {
	for _, secret := range p.rb.lost(p.params) {
		if secret.Dispensable {
			p.plan.Warnings = append(p.plan.Warnings, secret.warning())
			continue
		}
		p.plan.Checks = append(p.plan.Checks, PlannedCheck{Name: "its secrets can be read", Message: secret.sentence(), Hint: hint.Of(secret.err)})
	}
}
