package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// nestedCall is a run within a step of another run. It has a journal of its own
// on the node that it runs on, under an ID that tells which call of that run it
// is: so that run can go on with it, whatever process or node drives that then.
type nestedCall struct {
	name, id string
	args     map[string]string
	// again: the step was interrupted after it had called this run.
	again bool
	// words are on interrupted steps, as the run around this one names them.
	words verdicts
	// passed tells the run around it that the line of no return was passed.
	passed func() error
}

// nestedRun makes a nested run on this node, or goes on with what an earlier
// call of it has left.
func nestedRun(ctx context.Context, s *session, at setting, call nestedCall, opts engine.RunOptions) error {
	if call.again {
		fresh, err := reattach(ctx, s, call, opts)
		if err != nil || !fresh {
			return err
		}
	}
	if err := setAsideFinal(ctx, s, call.id); err != nil {
		return engine.NotBegun(err)
	}
	book, err := loadRunbook(ctx, s, at, call.name)
	if err != nil {
		return engine.NotBegun(err)
	}
	if err := checkRunsOn(ctx, s, book); err != nil {
		return engine.NotBegun(err)
	}
	if warning, err := movedWarning(s.site, call.name); err != nil || warning != "" {
		say(ctx, s, "%s", cmp.Or(warning, fmt.Sprint(err)))
	}
	rec, err := beginRecord(s, book, at, call.id, call.args)
	if err != nil {
		return err
	}
	return carryOut(ctx, rec, call.args, opts)
}

// setAsideFinal puts out of the way what an earlier end of the run around has left
// of a run that a step of finally calls: that is begun anew at each end.
func setAsideFinal(ctx context.Context, s *session, id string) error {
	key := id[strings.LastIndexByte(id, '.')+1:]
	if _, err := os.Stat(runDir(s.site, id)); !strings.HasPrefix(key, "f") || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := waitEnded(ctx, s, id); err != nil {
		return err
	}
	return setAside(s.site, id)
}

// reattach brings the earlier call of a nested run to its end. Fresh says that
// there was none, or that it was undone.
func reattach(ctx context.Context, s *session, call nestedCall, opts engine.RunOptions) (fresh bool, err error) {
	if err := waitEnded(ctx, s, call.id); err != nil {
		return false, err
	}
	record, err := readRecord(s.site, call.id)
	if errors.Is(err, fs.ErrNotExist) {
		return true, os.RemoveAll(runDir(s.site, call.id))
	}
	if err != nil {
		return false, err
	}
	if record.Head.Runbook != call.name {
		return false, fmt.Errorf("run %s on %s is one of %s, and %s was to be run under that name", call.id, s.site.Self.Name, record.Head.Runbook, call.name)
	}
	state := record.summary()
	if state.Past {
		if err := call.passed(); err != nil {
			return false, err
		}
	}
	switch state.State {
	case engine.Succeeded:
		say(ctx, s, "%s was done on %s before this run was interrupted", call.name, s.site.Self.Name)
		return false, nil
	case engine.TakenBack, engine.Untouched:
		return true, setAside(s.site, call.id)
	}
	words := call.words.within(call.name)
	return false, continueRun(ctx, s, call.id, &engine.History{Done: words.done, Again: words.again}, opts, nil)
}

// continueRun goes on with a run from its journal on this node. Follow, where it
// is given, lets other nodes keep copies of it.
func continueRun(ctx context.Context, s *session, id string, h *engine.History, opts engine.RunOptions, follow func(*recorder)) error {
	rec, record, err := resumeRecord(ctx, s, id)
	if err != nil {
		return err
	}
	if h.Events, err = record.events(rec.book); err == nil {
		err = rec.hear(h)
	}
	if err == nil {
		err = rec.take()
	}
	if err != nil {
		return engine.NotBegun(errors.Join(err, rec.close()))
	}
	if follow != nil {
		follow(rec)
	}
	switch {
	case len(h.Events) > 0:
		opts.History = h
	case h.Back: // it was killed before it had begun
		return errors.Join(rec.endAt(errors.New("given up")), rec.close())
	}
	return carryOut(ctx, rec, record.Head.Args, opts)
}

// hear sorts out what the operator says of interrupted steps: the run's own, and
// those of runs within it.
func (r *recorder) hear(h *engine.History) error {
	own, inner := verdicts{h.Done, h.Again}.split(r.book)
	calls := func(e engine.Event) bool { return e.Kind == engine.NestedCalled }
	if name := inner.any(); name != "" && r.id == r.s.run && !slices.ContainsFunc(h.Events, calls) {
		return fmt.Errorf("%s was not interrupted: run %s has called no other one", name, r.id)
	}
	h.Done, h.Again, r.words = own.done, own.again, inner
	return nil
}

// carryOut runs a runbook with its journal.
func carryOut(ctx context.Context, rec *recorder, args map[string]string, opts engine.RunOptions) error {
	tell := opts.Observe
	opts.Observe = func(e engine.Event) error {
		if err := rec.observe(e); err != nil || tell == nil {
			return err
		}
		return tell(e)
	}
	opts.Tell = rec.s.events.of(rec.id, rec.s.run, rec.s.site.Self.Name)
	opts.SettleNested = func(ctx context.Context, n engine.NestedRun) error { return settleNested(ctx, rec, n) }
	if rec.id == rec.s.run { // parts of a run print into the output of the whole
		var end func()
		opts.Out, end = rec.transcript(opts.Out)
		defer end()
	}
	_, err := rec.book.Run(rec.within(ctx), args, opts)
	if err != nil && !rec.ended && opts.History == nil && !errors.Is(err, engine.ErrOvertaken) && !engine.StaysOpen(err) {
		// Refused for its arguments, say: nothing was done, and it is over.
		err = errors.Join(err, rec.endAt(err))
	}
	if closed := rec.close(); err == nil {
		err = closed
	}
	return err
}

// settleNested undoes a nested run, on whatever node it ran.
func settleNested(ctx context.Context, outer *recorder, n engine.NestedRun) error {
	s, id := outer.s, outer.id+"."+n.Key
	if s.site.IsSelf(cluster.NodeName(n.Node)) {
		return takeBack(ctx, s, id, engine.RunOptions{AssumeYes: true})
	}
	passed := false
	words := append([]string{"runs", "rollback", id}, s.asPart(id)...)
	_, err := commandThere(ctx, s, cluster.NodeName(n.Node), n.Runbook, words, engine.Frame(ctx), func() error {
		passed = true
		return nil
	})
	if passed {
		return engine.ErrPastReturn
	}
	return err
}

// takeBack undoes a run that this node has the journal of, so far as it has not
// been. The error is engine.ErrPastReturn, and nothing is done, where it can only
// go forward. A run that was never begun is undone.
func takeBack(ctx context.Context, s *session, id string, opts engine.RunOptions) error {
	if err := waitEnded(ctx, s, id); err != nil {
		return err
	}
	record, err := readRecord(s.site, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch state := record.summary(); {
	case state.Past:
		return engine.ErrPastReturn
	case state.State == engine.TakenBack, state.State == engine.Untouched:
		return nil
	}
	return goBack(continueRun(ctx, s, id, &engine.History{Back: true}, opts, nil))
}

// goBack is the result of a rollback: a run that was undone whole is what was
// wanted.
func goBack(err error) error {
	var step *engine.StepError
	if errors.As(err, &step) && step.Undone && !step.PastReturn {
		return nil
	}
	return err
}

// unfinishedError is a run that was interrupted and stands in the way.
func unfinishedError(r runRecord) error {
	d := r.driver()
	where := "before its first step"
	switch state := r.summary(); {
	case state.Back:
		where = "while it undid what it had done"
	case state.StepEnded:
		where = "after step " + state.Step
	case state.Step != "":
		where = "in step " + state.Step
	}
	err := fmt.Errorf("run %s is unfinished: %s, driven by %s on %s, was interrupted %s", r.Head.ID, r.Head.Runbook, d.User, d.Node, where)
	return engine.NotBegun(lockedError{hint.Wrap(err, "%s", waysOut(r))})
}

// waysOut are the commands that end an unfinished run.
func waysOut(r runRecord) string {
	id := r.Head.ID
	if r.summary().Past {
		return fmt.Sprintf("the line of no return was passed; go on with it: warmrun runs resume %s; where that cannot be, give it up as it is: warmrun runs abandon %s", id, id)
	}
	return fmt.Sprintf("go on with it: warmrun runs resume %s; or undo it: warmrun runs rollback %s; where neither can be, give it up as it is: warmrun runs abandon %s", id, id, id)
}
