package engine

import (
	"context"
	"io"
)

// scope is what a function called from a runbook can find out through its
// context: whether this is a plan, where output goes, and the run that it
// belongs to.
type scope struct {
	out io.Writer
	run *runner // the run, or nil
	at  *trial  // the step being run or undone, or nil
	// beat is the step's sign of life, or nil.
	beat *heartbeat
	pl   *planner // the plan, or nil
	// node is where on_nodes has called the function, or empty.
	node string
	// undoing: the step's own undo is what is being run.
	undoing bool
}

type scopeKey struct{}

func withScope(ctx context.Context, s *scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, s)
}

// scopeOf never is nil.
func scopeOf(ctx context.Context) *scope {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s
	}
	return &scope{}
}

// Planning reports whether ctx belongs to a plan: a function with Plans set
// must then only plan.
func Planning(ctx context.Context) bool { return scopeOf(ctx).pl != nil }

// Output is where a function writes live output, such as progress. It is
// never nil. Every line is indented below the heading of its step; a carriage
// return begins the line anew.
func Output(ctx context.Context) io.Writer {
	if out := scopeOf(ctx).out; out != nil {
		return out
	}
	return io.Discard
}

// NoReturn records the line of no return, for the run that ctx belongs to and
// every run around it. A function calls it right before the act that cannot be
// taken back, and must not go on when it returns an error. Outside a run it
// does nothing.
func NoReturn(ctx context.Context) error {
	s := scopeOf(ctx)
	if s.run == nil {
		return nil
	}
	step := ""
	if s.at != nil {
		step = s.at.def.Name
	}
	return s.run.passNoReturn(step)
}

// touched notes that a step calls something that changes the world, and where
// the step is run and not undone puts it on record before the first such call,
// and the line of no return before one that cannot be taken back. The nodes are
// those of a call on several. The function that it gives takes the note back.
func touched(ctx context.Context, sig *signature, record bool, nodes ...string) (untouched func(), err error) {
	s := scopeOf(ctx)
	if s.at == nil || sig.Effect != Change {
		return func() {}, nil
	}
	if record && sig.NoReturn {
		if err := s.run.passNoReturn(s.at.def.Name); err != nil {
			return nil, NotBegun(err)
		}
	}
	before := s.at.changed
	s.at.changed = true
	if record && !sig.Resumes && !s.at.recorded {
		if err := s.run.event(Event{Kind: ChangeBegan, Step: s.at.def.Name, Func: sig.fullName(), Nodes: nodes}); err != nil {
			s.at.changed = before
			return nil, NotBegun(err)
		}
		s.at.recorded = true
	}
	return func() { s.at.changed = before }, nil
}
