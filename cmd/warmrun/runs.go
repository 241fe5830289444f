package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// runCommand is one runbook called from the command line.
type runCommand struct {
	args   map[string]string
	plan   bool
	json   bool   // the plan is for a program
	out    string // the file that the plan is saved in
	within string // the run that called this one from another node
	driver string // the process that drives that one
	// attended: the run around this one holds standard input open.
	attended bool
	as       string // the ID that the run has as a part of that one
	again    bool   // it may have been begun before
	words    verdicts
	// holds is asked under the locks, before the checks; nil asks nothing.
	holds func(context.Context) error
	color bool
}

// runRunbook runs or plans a loaded runbook.
func (p *process) runRunbook(ctx context.Context, s *session, book *engine.Runbook, c runCommand) error {
	s.color = c.color
	if c.within != "" {
		s.joins(c.within, c.driver)
	}
	switch {
	case c.plan:
		return p.planRunbook(ctx, s, book, c)
	case c.within != "":
		return explainStep(runForAnother(ctx, p, s, book, c), book, "")
	}
	err := runOutermost(ctx, p, s, book, c)
	return explainStep(err, book, s.run)
}

// planRunbook prints a plan, and saves it where that is asked for.
func (p *process) planRunbook(ctx context.Context, s *session, book *engine.Runbook, c runCommand) error {
	rests := planFile{}
	if c.out != "" { // what was so before the plan was made
		rests = foundation(ctx, s, book, c.args)
	}
	plan, err := book.Plan(ctx, c.args)
	if err != nil {
		return explainStep(err, book, "")
	}
	if c.within == "" && plan.Outage != nil {
		plan.Outage.Past = pastOutages(ctx, s, plan.Outage, book.Name)
	}
	if err := p.printPlan(plan, c.json); err != nil || c.within != "" {
		return err
	}
	if c.out != "" {
		if err := savePlan(c.out, rests, plan); err != nil {
			return err
		}
	}
	if plan.Failed() {
		return negativeError{errors.New("a check fails as things stand now")}
	}
	return nil
}

func (p *process) printPlan(plan *engine.Plan, forProgram bool) error {
	if forProgram {
		return printJSON(p.out, plan)
	}
	_, err := fmt.Fprint(p.out, fold(plan.Text(), columnsOf(p.out)))
	return err
}

// runOutermost runs a runbook that is no part of another run.
func runOutermost(ctx context.Context, p *process, s *session, book *engine.Runbook, c runCommand) error {
	if err := checkRunsOn(ctx, s, book); err != nil {
		return engine.NotBegun(err)
	}
	s.drive(newRunID(book.Name, string(s.site.Self.Name), time.Now()))
	lock, err := lockRun(ctx, s, book.Name, book.LockFor(c.args))
	if err != nil {
		return err
	}
	defer lock.release()
	if err := refuseUnfinished(ctx, s, lock); err != nil {
		return err
	}
	if c.holds != nil {
		if err := c.holds(ctx); err != nil {
			return engine.NotBegun(err)
		}
	}
	rec, err := beginRecord(s, book, s.setting(), s.run, c.args)
	if err != nil {
		return err
	}
	lock.follow(rec)
	return carryOut(ctx, rec, c.args, p.runOptions(s, lock))
}

// runForAnother runs a runbook for a run on another node, which holds standard
// input open.
func runForAnother(ctx context.Context, p *process, s *session, book *engine.Runbook, c runCommand) error {
	if c.as != "" && !validRunID(c.as) {
		return usageError{fmt.Errorf("%q is not the ID of a run", c.as)}
	}
	caller, ctx, leave := p.calledBy(ctx, c.attended)
	defer leave()
	lock, err := lockWithin(ctx, s, book.Name, book.LockFor(c.args))
	if err != nil {
		return err
	}
	defer lock.release()
	opts := p.runOptions(s, lock)
	opts.Observe = caller.observe
	call := nestedCall{name: book.Name, id: cmp.Or(c.as, newRunID(book.Name, string(s.site.Self.Name), time.Now())), args: c.args, again: c.again, words: c.words, passed: caller.tell}
	return nestedRun(ctx, s, s.setting(), call, opts)
}

// runOptions are what all runs of this process have in common.
func (p *process) runOptions(s *session, lock runLock) engine.RunOptions {
	return engine.RunOptions{Out: foldTo(p.out), Terminal: s.color, AssumeYes: s.yes, StopUndo: p.stopUndo, Before: lock.check}
}

// explainStep adds to a failed run what state it has left, and what to type then.
// A run that is part of another has no ID here: that one says it.
func explainStep(err error, book *engine.Runbook, id string) error {
	var step *engine.StepError
	if !errors.As(err, &step) {
		return explainRefusal(err, book)
	}
	own := hint.Of(err)
	var says []string
	switch {
	case len(step.Left) > 0:
		// What was left half done matters more than what was wrong at first.
		says = append(says, fmt.Sprintf("not undone: %s (%s)", strings.Join(step.Left, ", "), oneLine(step.UndoErr)))
		says = append(says, cmp.Or(hint.Of(step.UndoErr), own, "look at: warmrun status"))
		if id != "" {
			says = append(says, "to undo the rest: warmrun runs rollback "+id)
		}
	case step.PastReturn:
		says = append(says, cmp.Or(own, "the line of no return was passed and nothing was undone; look at: warmrun status"))
		if id != "" {
			says = append(says, "to go on where it stopped: warmrun runs resume "+id)
		}
	default:
		says = append(says, cmp.Or(own, "mend the cause and run it again"))
		if !engine.HasBegun(err) {
			says = append(says, "nothing had been changed")
		}
	}
	if len(step.TookBack) > 0 {
		says = append(says, "undone: "+strings.Join(step.TookBack, ", "))
	}
	says = append(says, step.Leaves...)
	return hint.Wrap(err, "%s", strings.Join(slices.Compact(says), "; "))
}

// explainRefusal is explainStep for a run that has not begun a step.
func explainRefusal(err error, book *engine.Runbook) error {
	var param *engine.ParamError
	var check *engine.CheckError
	switch {
	case hint.Of(err) != "":
	case errors.As(err, &param):
		return hint.Wrap(err, "nothing was done; see: warmrun %s --help", book.Name)
	case errors.As(err, &check) && hint.File(err) == "":
		return hint.Wrap(err, "nothing was changed; mend that and repeat (warmrun status shows what every node does)")
	}
	return err
}

func newRunID(book, node string, now time.Time) string {
	return fmt.Sprintf("%s-%s-%s-%d", now.UTC().Format("20060102T150405Z"), book, node, os.Getpid())
}

// runLock is what a run holds against other runs.
type runLock struct {
	// check is what the engine asks before each step; nil asks nothing.
	check   func(context.Context, string) error
	release func()
	cluster *clusterLock // nil: it is not the lock on all nodes
}

// follow lets the nodes that are locked keep copies of the run's journal.
func (l runLock) follow(rec *recorder) {
	if l.cluster != nil {
		rec.copies = l.cluster
		l.cluster.follow(rec.id, rec.j)
	}
}

// nodes are the other nodes that are locked.
func (l runLock) nodes() (names []cluster.NodeName) {
	if l.cluster != nil {
		for _, far := range l.cluster.far {
			names = append(names, far.node)
		}
	}
	return names
}

// lockRun takes the lock that a runbook asks for. "cluster" is shared by all
// runbooks that change the state of the cluster, on all nodes; "node" keeps a
// runbook from overlapping with itself on one node.
func lockRun(ctx context.Context, s *session, book, kind string) (runLock, error) {
	switch kind {
	case "none":
		return runLock{release: func() {}}, nil
	case "cluster":
		lock, err := lockCluster(ctx, s, book)
		if err != nil {
			return runLock{}, err
		}
		return runLock{check: lock.check, release: lock.release, cluster: lock}, nil
	}
	lock, err := takeLock(s.site, book, holderOf(s, book))
	var held *heldError
	if errors.As(err, &held) {
		return runLock{}, heldBy(held.holder, s.site.Self.Name)
	}
	if err != nil {
		return runLock{}, err
	}
	return runLock{release: func() { _ = lock.Close() }}, nil // it keeps nothing that must last
}

// lockWithin is lockRun for a run that another node's run has called: it is not
// in that one's way.
func lockWithin(ctx context.Context, s *session, book, kind string) (runLock, error) {
	if kind != "cluster" {
		return lockRun(ctx, s, book, kind)
	}
	lock := &lentLock{s: s, book: book}
	if err := lock.check(ctx, ""); err != nil {
		return runLock{}, err
	}
	return runLock{check: lock.check, release: lock.release}, nil
}

// lentLock is this node's lock in a run that another node's run has called. It
// is that run's, and becomes this one's where that run could not take it or has
// lost it.
type lentLock struct {
	s     *session
	book  string
	own   *lockFile
	lent  bool // it was the calling run's when this one began
	begun bool
	// overtaken is why the run is not to be gone on with any more.
	overtaken error
}

func (l *lentLock) check(context.Context, string) error {
	if l.own != nil {
		return l.overtaken
	}
	own, err := lockHere(l.s, l.book)
	first := !l.begun
	var locked lockedError
	if errors.As(err, &locked) && !first {
		return fmt.Errorf("the run that called this one has lost its lock: %w: %w", locked, engine.ErrOvertaken)
	}
	if err != nil {
		return err
	}
	l.own, l.begun = own, true
	if first {
		l.lent = own == nil
		return nil
	}
	if own != nil && l.lent && own.before.Run != l.s.run {
		l.overtaken = overtakenBy(own.before, l.s.site.Self.Name, errors.New("by the run that called this one"))
	}
	return l.overtaken
}

func (l *lentLock) release() {
	if l.own != nil {
		_ = l.own.Close() // nothing was written that must last
	}
}
