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
	"github.com/warmrun/warmrun/walcore/hint"
)

// runCommand is one runbook called from the command line.
type runCommand struct {
	args   map[string]string
	plan   bool
	within string // the run that called this one from another node
	// attended: the run around this one holds standard input open.
	attended bool
	color    bool
}

// runRunbook runs or plans a loaded runbook.
func (p *process) runRunbook(ctx context.Context, s *session, book *engine.Runbook, c runCommand) error {
	if c.plan {
		plan, err := book.Plan(ctx, c.args)
		if err != nil {
			return explainStep(err, book)
		}
		text := plan.Text()
		if c.within != "" {
			text = plan.Nested()
		}
		if _, err = fmt.Fprint(p.out, fold(text, columnsOf(p.out))); err != nil || c.within != "" || !plan.Failed() {
			return err
		}
		return negativeError{errors.New("a check fails as things stand now")}
	}
	if err := checkRunsOn(ctx, s, book); err != nil {
		return engine.NotBegun(err)
	}
	s.run, s.color = c.within, c.color
	if s.run == "" {
		s.run = newRunID(book.Name, string(s.site.Self.Name), time.Now())
	}
	before, unlock, err := lockRun(ctx, s, book, c.within != "")
	if err != nil {
		return err
	}
	defer unlock()
	caller := &caller{}
	if c.attended {
		var leave func()
		ctx, leave = caller.watch(ctx, p.in)
		defer leave()
	}
	_, err = book.Run(ctx, c.args, engine.RunOptions{
		Out: foldTo(p.out), Terminal: c.color, AssumeYes: s.yes, StopUndo: p.stopUndo, Before: before,
		Observe: func(e engine.Event) error {
			if e.Kind != engine.NoReturnPassed || c.within == "" {
				return nil
			}
			if _, err := fmt.Fprintln(p.err, noReturnMark); err != nil {
				return err
			}
			return caller.passNoReturn()
		},
	})
	return explainStep(err, book)
}

// explainStep adds to a failed run what state it has left.
func explainStep(err error, book *engine.Runbook) error {
	var param *engine.ParamError
	if errors.As(err, &param) && hint.Of(err) == "" {
		return hint.Wrap(err, "nothing was done; see: warmrun %s --help", book.Name)
	}
	var check *engine.CheckError
	if errors.As(err, &check) && hint.Of(err) == "" && hint.File(err) == "" {
		return hint.Wrap(err, "nothing was changed; mend that and repeat (warmrun status shows what every node does)")
	}
	var step *engine.StepError
	if !errors.As(err, &step) {
		return err
	}
	own := hint.Of(err)
	var says []string
	switch {
	case len(step.Left) > 0:
		// What was left half done matters more than what was wrong at first.
		says = append(says, fmt.Sprintf("not undone: %s (%s)", strings.Join(step.Left, ", "), oneLine(step.UndoErr)))
		says = append(says, cmp.Or(hint.Of(step.UndoErr), own, "look at: warmrun status"))
	case step.PastReturn:
		says = append(says, cmp.Or(own, "the line of no return was passed and nothing was undone; look at: warmrun status"))
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

func newRunID(book, node string, now time.Time) string {
	return fmt.Sprintf("%s-%s-%s-%d", now.UTC().Format("20060102T150405Z"), book, node, os.Getpid())
}

// lockRun takes the lock that a runbook asks for, and gives what the engine is
// to ask before each step. "cluster" is shared by all runbooks that change the
// state of the cluster, on all nodes; "node" keeps a runbook from overlapping
// with itself on one node. A run that another node's run has called is not in
// that one's way.
func lockRun(ctx context.Context, s *session, book *engine.Runbook, nested bool) (before func(context.Context, string) error, unlock func(), err error) {
	switch {
	case book.Lock == "none":
		return nil, func() {}, nil
	case book.Lock == "node":
		lock, err := takeLock(s.site, book.Name, holderOf(s, book.Name))
		var held *heldError
		if errors.As(err, &held) {
			return nil, nil, heldBy(held.holder, s.site.Self.Name)
		}
		if err != nil {
			return nil, nil, err
		}
		return nil, func() { _ = lock.Close() }, nil // it keeps nothing that must last
	case !nested:
		lock, err := lockCluster(ctx, s, book.Name)
		if err != nil {
			return nil, nil, err
		}
		return lock.check, lock.release, nil
	}
	lock := &lentLock{s: s, book: book.Name}
	if err := lock.check(ctx, ""); err != nil {
		return nil, nil, err
	}
	return lock.check, lock.release, nil
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
}

func (l *lentLock) check(context.Context, string) error {
	if l.own != nil {
		return nil
	}
	own, err := lockHere(l.s, l.book)
	if err != nil {
		return err
	}
	first := !l.begun
	l.own, l.begun = own, true
	if first {
		l.lent = own == nil
		return nil
	}
	if own != nil && l.lent && own.before.Run != l.s.run {
		return lockedError{fmt.Errorf("the run that called this one has lost its lock on %s, and run %s has come in between", l.s.site.Self.Name, own.before.Run)}
	}
	return nil
}

func (l *lentLock) release() {
	if l.own != nil {
		_ = l.own.Close() // nothing was written that must last
	}
}
