package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestOvertaken: a run that another process has gone on with does nothing more
// from the moment it is told so, be it on its way forward or back, and leaves its
// end to that one.
func TestOvertaken(t *testing.T) {
	for from, want := range []string{
		"", "first", "first", "first, block", "first, block, stop", "first, block, stop", "first, block, stop, start",
		"first, block, stop, start, unblock", "first, block, stop, start, unblock", "first, block, stop, start, unblock, unfirst",
	} {
		w := &world{hook: func(_ context.Context, call string) error {
			if strings.Contains(call, "stop") {
				return errors.New("no answer")
			}
			return nil
		}}
		asked, late := 0, ""
		told := false
		_, err := runNested(t, w, `steps = {
  step { "first", run = function(c) psql.exec(c.node, "first") end, undo = function(c) psql.exec(c.node, "unfirst") end },
  step { "flush", run = function(c) runbook.run("flush") end },
}`, RunOptions{
			Before: func(context.Context, string) error {
				asked++
				if told = asked > from; told {
					return errors.Join(ErrOvertaken, NotBegun(errors.New("by dr")))
				}
				return nil
			},
			Observe: func(e Event) error {
				if told && (e.Kind == GaveUp || e.Kind == RunEnded || e.Kind == UndoBegan) {
					late += string(e.Kind) + " "
				}
				return nil
			},
		})
		if got := strings.ReplaceAll(names(w), " fast", ""); got != want || late != "" {
			t.Errorf("overtaken after %d questions: calls %q, want %q; events %q", from, got, want, late)
		}
		var step *StepError
		if last := from == 9; errors.Is(err, ErrOvertaken) == last || errors.As(err, &step) != last {
			t.Errorf("overtaken after %d questions: %v", from, err)
		}
	}
}
