package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	lua "github.com/yuin/gopher-lua"

	"github.com/warmrun/warmrun/walcore/hint"
)

// runner is one run of a runbook.
type runner struct {
	rb      *Runbook
	vm      *vm
	opts    RunOptions
	out     *printer
	parent  *scope // the step of another run that this run is part of
	apart   bool   // it has a journal of its own
	path    string
	params  map[string]any
	results map[string]any
	veil    *veil // over the secrets among the parameters
	result  *Result
	past    bool // the line of no return has been passed
	tried   []*trial
	// tookBack are the steps that were undone, in that order.
	tookBack []string
	// ending and failure are how the run has ended, for the steps of finally;
	// closing says that these are being run.
	ending, failure lua.LValue
	closing         bool
	// before is what the journal tells, where the run goes on from it.
	before *recalled
}

// trial is a step that has been begun.
type trial struct {
	def      *stepDef
	finished bool
	changed  bool // it has called a function that may have changed something
	// turnedDown: it failed with an error that NotBegun has marked.
	turnedDown bool
	// inner are the runs of other runbooks that finished within the step, in
	// the order of their ending; nested those that it has called and that have a
	// journal of their own, in the order of the calls.
	inner  []*runner
	nested []calledRun
	// undoNested are those that its undo has called: they are never undone.
	undoNested []calledRun
	undoCalls  int
	entry      int // index in the result, where finished
	// recorded: the journal has that it may have changed something.
	recorded bool
	attempt  int // the number of the try, from 1
	calls    int // of runs with a journal of their own, within this try
	// past is what the journal tells of the step, where it was begun before the
	// run was interrupted.
	past *pastStep
}

// Run checks and runs the runbook. Arguments are texts by parameter name.
//
// The error is a *ParamError when the arguments are wrong, a *CheckError when
// a check did not pass (in both cases nothing was changed), or a *StepError.
// The result is there with an error too, unless nothing was begun.
//
// When a step fails, that step and the finished ones before it are undone in
// reverse, each with a context of its own that the end of ctx does not touch.
// The failing step is undone as well, because it may have done half its work:
// an undo must therefore be able to run when there is nothing to undo. Only a
// step that was refused before it changed anything is left alone (NotBegun). A
// failing undo does not keep the others from running. Once the line of no
// return has been passed nothing is undone.
//
// Within a step of another run the output, the answers and the observer are
// that run's, and when that run fails later, what this one did is undone with
// it, unless the step has an undo of its own.
func (r *Runbook) Run(ctx context.Context, args map[string]string, opts RunOptions) (*Result, error) {
	values, texts, err := r.arguments(args, opts.History.goesBack())
	if err != nil {
		return nil, NotBegun(err)
	}
	v, err := r.book.instance(ctx, false)
	if err != nil {
		return nil, NotBegun(err)
	}
	run := &runner{rb: r, vm: v, opts: opts, params: values, veil: veilOver(values), path: r.Name, results: map[string]any{}}
	defer run.inherit(ctx)()
	run.result = &Result{Runbook: r.Name, Params: texts, Began: r.book.host.now(), Next: r.Next}
	if opts.History != nil {
		if err := run.recall(opts.History); err != nil {
			return nil, NotBegun(err)
		}
	}
	err = run.all(ctx)
	run.result.Ended = r.book.host.now()
	err = run.veil.error(err)
	if err != nil && !run.begun() {
		err = NotBegun(err)
	}
	return run.result, err
}

// inherit fills in what comes from the host and the run around this one. What it
// gives ends the output.
func (r *runner) inherit(ctx context.Context) (end func()) {
	o := &r.opts
	outer := scopeOf(ctx)
	if outer.run != nil {
		r.parent = outer
		around := outer.run.opts
		o.AssumeYes = o.AssumeYes || around.AssumeYes
		o.Quiet = o.Quiet || around.Quiet
		o.Terminal = o.Terminal || around.Terminal
		if r.apart = o.Observe != nil; !r.apart {
			r.path = outer.run.path + "/" + outer.at.name() + "/" + r.rb.Name
		}
		if o.Out == nil {
			o.Out = frame(outer.out)
		}
		if o.Observe == nil {
			o.Observe = around.Observe
		}
		if o.Tell == nil {
			o.Tell = around.Tell
		}
		if o.Before == nil {
			o.Before = around.Before
		}
		if o.StopUndo == nil {
			o.StopUndo = around.StopUndo
		}
		if o.SettleNested == nil {
			o.SettleNested = around.SettleNested
		}
		if o.UndoTimeout == 0 {
			o.UndoTimeout = around.UndoTimeout
		}
		o.announceAfter, o.heartbeatAfter = around.announceAfter, around.heartbeatAfter
	}
	if o.Out == nil {
		o.Out = r.rb.book.host.Out
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.UndoTimeout == 0 {
		o.UndoTimeout = defaultUndoTimeout
	}
	veiled := r.veil.over(o.Out)
	r.out = &printer{to: newHeading(veiled, o.announceAfter), color: o.Terminal, quiet: o.Quiet}
	alive := LivesElsewhere(ctx)
	return func() {
		alive()
		veiled.flush()
	}
}

func (t *trial) name() string {
	if t == nil {
		return ""
	}
	return t.def.Name
}

// canAsk fails before anything is done when a question will come and nobody is
// there to answer it.
func (r *runner) canAsk() error {
	if r.opts.AssumeYes || r.rb.book.host.Confirm != nil {
		return nil
	}
	for _, s := range r.vm.def.steps {
		if s.Asks && !r.before.begun(s.Name) {
			return hint.Wrap(fmt.Errorf("step %s of %s asks a question and there is no terminal to answer it", s.Name, r.rb.Name),
				"agree beforehand with --yes")
		}
	}
	return nil
}

func (r *runner) all(ctx context.Context) (err error) {
	began := Event{Kind: RunBegan}
	if r.before != nil {
		began.Kind = RunResumed
	}
	if err := r.event(began); err != nil {
		return err
	}
	defer r.out.to.show()
	switch {
	case r.before != nil && r.before.back:
		err = r.goBack(ctx)
		if !unsettled(err) {
			r.finally(ctx, err)
		}
	default:
		err = r.forward(ctx)
	}
	if unsettled(err) {
		return err // nothing was undone, and the run stays open
	}
	end := Event{Kind: RunEnded, Outcome: Done}
	if err != nil {
		end.Outcome, end.Error = Failed, err.Error()
	}
	var failure *StepError
	if errors.As(err, &failure) {
		end.Left = failure.Left
	}
	if unrecorded := r.event(end); unrecorded != nil && err == nil {
		err = unrecorded
	}
	if err == nil && !r.apart && r.parent != nil && r.parent.at != nil {
		r.parent.at.inner = append(r.parent.at.inner, r)
	}
	return err
}

// forward makes the checks and runs the steps. Once a step was begun only those
// checks are made again that say so: where one no longer holds, what was done is
// undone, as when the next step fails.
func (r *runner) forward(ctx context.Context) error {
	for _, secret := range r.rb.lost(r.params) {
		r.out.always("%s", secret.warning())
	}
	resumed := r.before != nil && len(r.before.steps) > 0
	if err := r.checks(ctx, r.checksNow(resumed)); err != nil {
		if resumed {
			if err = r.giveUp(ctx, r.unfinished(), err); !unsettled(err) {
				r.finally(ctx, err)
			}
		}
		return err
	}
	// After the checks: what they find matters more than who is there to answer.
	if err := r.canAsk(); err != nil {
		return err
	}
	err := r.steps(ctx)
	if !unsettled(err) {
		r.finally(ctx, err)
	}
	return err
}

// errUnrecorded is in errors of a run whose observer fails: it must not go on.
var errUnrecorded = errors.New("cannot be recorded")

// event tells the observer, and then who follows the run.
func (r *runner) event(e Event) error {
	// The steps of finally are run at each end, and are not on record.
	if r.opts.Observe != nil && !r.closing {
		e.At, e.Runbook, e.Error = r.rb.book.host.now(), r.path, r.veil.text(e.Error)
		if err := r.opts.Observe(e); err != nil {
			return fmt.Errorf("the run %w: %w", errUnrecorded, err)
		}
	}
	r.tell(e)
	return nil
}

// c is the argument for the functions of the runbook.
func (r *runner) c() lua.LValue {
	return r.vm.c(handed{params: r.params, outcome: r.ending, failure: r.failure, results: func(step string) (lua.LValue, bool) {
		for _, s := range r.vm.def.steps {
			if s.Name == step {
				return r.vm.toLua(r.results[step]), true
			}
		}
		return lua.LNil, false
	}})
}

func (r *runner) steps(ctx context.Context) error {
	for i, def := range r.vm.def.steps {
		if r.before.ended(def.Name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return r.giveUp(ctx, def, context.Cause(ctx))
		}
		if r.opts.Before != nil {
			err := r.opts.Before(ctx, def.Name)
			if errors.Is(err, ErrOvertaken) {
				return leave(err)
			}
			if err != nil {
				return r.giveUp(ctx, def, err)
			}
		}
		r.mark(def)
		if !r.out.quiet {
			r.out.begin(def.Name, fmt.Sprintf("  [%d/%d]", i+1, len(r.vm.def.steps)))
		}
		err := r.step(ctx, def)
		if errors.Is(err, errUnsettled) {
			return err
		}
		if err != nil {
			return r.giveUp(ctx, def, err)
		}
	}
	return nil
}

// passNoReturn draws the line for this run and those around it, once.
func (r *runner) passNoReturn(step string) error {
	if r.past {
		return nil
	}
	if r.parent != nil && r.parent.run != nil {
		if err := r.parent.run.passNoReturn(r.parent.at.name()); err != nil {
			return err
		}
	}
	if err := r.event(Event{Kind: NoReturnPassed, Step: step}); err != nil {
		return err
	}
	r.past = true
	return nil
}
