package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// lostRun is a run whose nested run's end is not known: the connection broke.
// Settle is what becomes of that when it is asked again.
type lostRun struct {
	*ground
	ended  bool // the nested run's end is known
	events []Event
	settle func() error
}

func (l *lostRun) run(t *testing.T, text string, h *History) error {
	host := l.host()
	host.Modules = append(host.Modules, Module{Name: "remote", Funcs: []Func{
		{Name: "run", Effect: Change, Resumes: true, Fn: func(ctx context.Context) error {
			key, _, err := CallsRun(ctx, "db2", "inner")
			if l.ended {
				CallEnded(ctx, key)
			}
			return errors.Join(err, errors.New("the connection broke"))
		}},
	}})
	_, err := mustLoad(t, text, host).Run(t.Context(), nil, RunOptions{
		History: h,
		Observe: func(e Event) error { l.events = append(l.events, e); return nil },
		SettleNested: func(context.Context, NestedRun) error {
			l.change("settled", true)
			return l.settle()
		},
	})
	return err
}

const callsRemote = `steps = {
  step { "first", run = function(c) site.set("first") end, undo = function(c) site.unset("first") end },
  step { "flush", run = function(c) remote.run() end, undo = function(c) site.unset("flush") end },
}`

// TestLostNestedRunIsSettledFirst: where a nested run's end is not known, nothing
// of the run around it is undone before that is.
func TestLostNestedRunIsSettledFirst(t *testing.T) {
	for _, test := range []struct {
		name   string
		ended  bool
		settle error
		want   string // the changes
		left   string
		past   bool
		state  State
	}{
		{"it is undone", false, nil, "first=true settled=true flush=false first=false", "", false, TakenBack},
		{"it has passed the line", false, ErrPastReturn, "first=true settled=true", "", true, Halfway},
		{"it cannot be asked", false, errors.New("unreachable"), "first=true settled=true", "flush first", false, Interrupted},
		{"it has ended and left something", true, errors.New("no"), "first=true settled=true flush=false first=false", "flush", false, Halfway},
	} {
		l := &lostRun{ground: newGround(), ended: test.ended, settle: func() error { return test.settle }}
		err := l.run(t, bookText(callsRemote), nil)
		var step *StepError
		if !errors.As(err, &step) || step.PastReturn != test.past || strings.Join(step.Left, " ") != test.left || step.Undone != (test.state == TakenBack) {
			t.Errorf("%s: %v, %+v", test.name, err, step)
		}
		if got := strings.Join(l.changes, " "); got != test.want {
			t.Errorf("%s: changes %s, want %s", test.name, got, test.want)
		}
		if got := (History{Events: l.events}).Summary().State; got != test.state {
			t.Errorf("%s: the run is %s, want %s", test.name, got, test.state)
		}
		if test.state != Interrupted {
			continue
		}
		again := &lostRun{ground: newGround("first"), settle: func() error { return nil }}
		if err := again.run(t, bookText(callsRemote), &History{Events: l.events, Back: true}); !errors.As(err, &step) || !step.Undone || again.set["first"] {
			t.Errorf("%s, and then rolled back: %v", test.name, err)
		}
	}
}

// TestFinishedNestedRunIsUndoneByItsJournal: a step without an undo that a nested
// run has finished in is undone when a later one fails, as it is after a kill.
func TestFinishedNestedRunIsUndoneByItsJournal(t *testing.T) {
	for _, apart := range []bool{false, true} {
		s := newGround()
		s.apart = apart
		s.texts["inner"] = named3("inner", crashInner)
		err := s.run(t.Context(), bookText(`steps = {
  step { "nested", run = function(c) site.run("inner") end },
  step { "later", run = function(c) fail("no") end },
}`), "top", &History{})
		var step *StepError
		if !errors.As(err, &step) || !step.Undone || s.now() != "" || !slices.Equal(step.TookBack, []string{"nested"}) {
			t.Errorf("in a process of its own %t: set %s; %v, %+v", apart, s.now(), err, step)
		}
		if got, want := strings.Join(s.changes, " "), "x=true y=true y=false x=false"; got != want {
			t.Errorf("in a process of its own %t: changes %s, want %s", apart, got, want)
		}
		inner := mustLoad(t, s.texts["inner"], s.host())
		if h := (History{Events: must(s.events(inner, "top.1"))}); h.Summary().State != TakenBack {
			t.Errorf("in a process of its own %t: its journal says %s", apart, h.Summary().State)
		}
	}
}
