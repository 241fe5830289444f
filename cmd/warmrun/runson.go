package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// checkRunsOn refuses a runbook on a node whose part is another one.
func checkRunsOn(ctx context.Context, s *session, book *engine.Runbook) error {
	self := s.site.Self
	switch book.RunsOn {
	case "any":
		return nil
	case "dr":
		if self.Role == cluster.RoleDR {
			return nil
		}
		return wrongNode(ctx, s, book, fmt.Sprintf("%s is not the DR node", self.Name))
	case "pair":
		if self.Role == cluster.RolePair {
			return nil
		}
		return wrongNode(ctx, s, book, fmt.Sprintf("%s is the DR node", self.Name))
	}
	state, err := s.self().Inspect(ctx)
	if err != nil {
		return err
	}
	if plays(book.RunsOn, self, state) {
		return nil
	}
	where := fmt.Sprintf("%s is a %s", self.Name, state.Role)
	if state.Role == standby.RoleEmpty {
		where = fmt.Sprintf("%s has no data directory at %s", self.Name, self.PGData)
	}
	return wrongNode(ctx, s, book, where)
}

// plays reports whether a node in a state has the part that a runbook runs on.
func plays(part string, n cluster.Node, state standby.State) bool {
	switch part {
	case "dr":
		return n.Role == cluster.RoleDR
	case "pair":
		return n.Role == cluster.RolePair
	case "primary":
		return state.Role == standby.RolePrimary
	}
	return state.Role == standby.RoleStandby || state.Role == standby.RoleStoppedStandby
}

func wrongNode(ctx context.Context, s *session, book *engine.Runbook, where string) error {
	err := fmt.Errorf("%s runs on the %s, and %s", book.Name, book.RunsOn, where)
	right, silent := rightNodes(ctx, s, book.RunsOn)
	switch {
	case len(right) > 0:
		return hint.Wrap(err, "nothing was changed; run it on %s", strings.Join(right, " or "))
	case len(silent) > 0:
		return hint.Wrap(err, "nothing was changed; no node that answers is a %s, and %s cannot be asked; look at: warmrun status", book.RunsOn, strings.Join(silent, " and "))
	}
	return hint.Wrap(err, "nothing was changed; no node of this cluster is a %s now; look at: warmrun status", book.RunsOn)
}

// rightNodePatience bounds the look at the other nodes: it is for a hint only.
const rightNodePatience = 5 * time.Second

// rightNodes asks the other nodes at once which of them have a part; silent are
// those that gave no answer. A DR node stands back where one of the pair has it.
func rightNodes(ctx context.Context, s *session, part string) (right, silent []string) {
	ctx, cancel := context.WithTimeout(ctx, rightNodePatience)
	defer cancel()
	states, errs := make([]standby.State, len(s.site.Nodes)), make([]error, len(s.site.Nodes))
	var group sync.WaitGroup
	for i, n := range s.site.Nodes {
		if s.site.IsSelf(n.Name) || part == "dr" || part == "pair" {
			continue // known already
		}
		group.Go(func() { states[i], errs[i] = stateOf(ctx, s, n.Name) })
	}
	group.Wait()
	var dr []string
	for i, n := range s.site.Nodes {
		switch {
		case s.site.IsSelf(n.Name):
		case errs[i] != nil:
			silent = append(silent, string(n.Name))
		case plays(part, n, states[i]) && n.Role == cluster.RoleDR:
			dr = append(dr, string(n.Name))
		case plays(part, n, states[i]):
			right = append(right, string(n.Name))
		}
	}
	if len(right) == 0 {
		right = dr
	}
	return right, silent
}
