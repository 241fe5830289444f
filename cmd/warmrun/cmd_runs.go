package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/hint"
)

// runsCommand looks at the runs of runbooks, and ends those that were
// interrupted.
type runsCommand struct {
	List     runsListCommand     `cmd:"" help:"List the runs that this node knows, also those that another node drives."`
	Show     runsShowCommand     `cmd:"" help:"Show what a run has done, step by step, and what can be done with it."`
	Resume   runsResumeCommand   `cmd:"" help:"Go on with a run that was interrupted, or that has stopped halfway."`
	Rollback runsRollbackCommand `cmd:"" help:"Undo what a run has done that was interrupted, in reverse."`
	Abandon  runsAbandonCommand  `cmd:"" help:"Give an interrupted run up as it is, where it can neither go on nor be undone."`
}

// runsResumeCommand is runs resume.
type runsResumeCommand struct {
	ID    string   `arg:"" help:"The run's ID, or how it begins."`
	Done  []string `help:"The step that was interrupted has done its work: go on behind it. Of a run within this one: RUNBOOK/STEP." placeholder:"STEP" sep:"none"`
	Again []string `name:"repeat" help:"The step that was interrupted has not done its work: run it again." placeholder:"STEP" sep:"none"`
	takeOver
}

// takeOver are the flags of those who go on with a run.
type takeOver struct {
	DriverLost bool `help:"Go on although the node that drove the run cannot be reached: you have made sure that its process there has ended, or that the host is down."`
	JSON       bool `help:"Print JSON: an object a line for what happens, the last of them how it ended."`
}

// Run goes on with the run under its locks.
func (c *runsResumeCommand) Run(ctx context.Context, p *process, g *globals) error {
	return p.goOn(ctx, *g, c.ID, c.takeOver, &engine.History{Done: c.Done, Again: c.Again})
}

// runsRollbackCommand is runs rollback.
type runsRollbackCommand struct {
	ID string `arg:"" help:"The run's ID, or how it begins."`
	takeOver
}

// Run undoes the run under its locks. For a run that called it as a part of
// itself it works under that one's.
func (c *runsRollbackCommand) Run(ctx context.Context, p *process, g *globals) error {
	if g.Within == "" {
		return p.goOn(ctx, *g, c.ID, c.takeOver, &engine.History{Back: true})
	}
	defer outliveReaders()()
	p.partStream(g.Events)
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	s.joins(g.Within, g.Driver)
	s.color = g.Color
	caller, ctx, leave := p.calledBy(ctx, g.Attended)
	defer leave()
	lock, err := lockWithin(ctx, s, "rollback", "cluster")
	if err != nil {
		return err
	}
	defer lock.release()
	err = takeBack(ctx, s, c.ID, p.runOptions(s, lock))
	if errors.Is(err, engine.ErrPastReturn) {
		return errors.Join(err, caller.tell())
	}
	return err
}

// goOn drives a run from here on: to its end, or back.
func (p *process) goOn(ctx context.Context, g globals, prefix string, how takeOver, h *engine.History) error {
	defer outliveReaders()()
	if how.JSON {
		return p.streamed("", func(p *process) error { return p.goOnWith(ctx, g, prefix, how.DriverLost, h) })
	}
	return p.goOnWith(ctx, g, prefix, how.DriverLost, h)
}

func (p *process) goOnWith(ctx context.Context, g globals, prefix string, driverLost bool, h *engine.History) error {
	s, err := p.session(g)
	if err != nil {
		return err
	}
	defer s.Close()
	s.color = g.Color || isTerminal(p.out)
	record, err := findRun(ctx, s, prefix)
	if err != nil {
		return err
	}
	verb := "resume"
	if h.Back {
		verb = "rollback"
	}
	if err := drivenHere(s, record, verb); err != nil {
		return err
	}
	s.drive(record.Head.ID)
	lock, err := lockRun(ctx, s, record.Head.Runbook, record.Head.Lock)
	if err != nil {
		return err
	}
	defer lock.release()
	// Only now nobody else drives it, and what was written last can be had.
	if record, err = gather(ctx, s, s.run, lock.nodes()...); err != nil {
		return err
	}
	if err := mayGoOn(ctx, s, record, lock, h.Back); err != nil {
		return err
	}
	if err := driverGone(s, record, lock, verb, driverLost); err != nil {
		return err
	}
	err = continueRun(ctx, s, s.run, h, p.runOptions(s, lock), lock.follow)
	if h.Back {
		err = goBack(err)
	}
	return explainGoOn(err, record)
}

// drivenHere refuses to touch a run of another node that has not locked all: its
// process there cannot be told from one that has ended.
func drivenHere(s *session, r runRecord, verb string) error {
	node := r.driver().Node
	if r.Head.Lock == "cluster" || s.site.IsSelf(node) {
		return nil
	}
	return hint.Wrap(fmt.Errorf("run %s was driven by %s, and has locked no other node", r.Head.ID, node), "nothing was done; on %s: warmrun runs %s %s", node, verb, r.Head.ID)
}

// mayGoOn refuses what has ended, or must not go the way that is asked for.
func mayGoOn(ctx context.Context, s *session, r runRecord, lock runLock, back bool) error {
	state := r.summary()
	id := r.Head.ID
	switch {
	case r.held != "":
		return stillUnderWay(r)
	case id != r.Head.Outermost:
		return usageError{hint.Wrap(fmt.Errorf("%s is a part of run %s", id, r.Head.Outermost), "see: warmrun runs show %s", r.Head.Outermost)}
	case r.Abandoned != nil:
		return hint.Wrap(fmt.Errorf("run %s was given up by %s on %s", id, r.Abandoned.User, r.Abandoned.Node), "nothing was done; look at: warmrun status")
	case state.State != engine.Interrupted && state.State != engine.Halfway:
		return hint.Wrap(fmt.Errorf("run %s has ended: %s", id, state.State), "nothing was done; see: warmrun runs show %s", id)
	case back && state.Past:
		return hint.Wrap(fmt.Errorf("run %s: %w", id, engine.ErrPastReturn), "nothing was done; go on with it: warmrun runs resume %s", id)
	}
	if key := r.strayPart(); key != "" {
		return hint.Wrap(fmt.Errorf("run %s has called a part of itself, %s.%s, that none of the journals that can be read tells of: one that goes further is missing", id, id, key),
			"nothing was done; repeat when every node answers; where that cannot be, give the run up as it is: warmrun runs abandon %s", id)
	}
	return refuseOvertaken(ctx, s, r, lock)
}

// refuseOvertaken refuses to go on with a run after which another has changed
// the cluster, or may have: nothing that it knows holds any more. Runs that this
// node has no journal of are known by the nodes that they have locked.
func refuseOvertaken(ctx context.Context, s *session, r runRecord, lock runLock) error {
	if lock.cluster == nil {
		return nil
	}
	others, err := allRuns(s)
	if err != nil {
		return err
	}
	for _, id := range lock.cluster.before {
		if id == "" || id == r.Head.ID || slices.ContainsFunc(others, func(o runRecord) bool { return o.Head.ID == id }) {
			continue
		}
		other, err := gather(ctx, s, id, lock.nodes()...)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was refused before it had begun
		}
		if err != nil {
			return err
		}
		others = append(others, other)
	}
	for _, other := range others {
		// While a run is unfinished no other begins that knows of it.
		if other.Head.Lock == "cluster" && other.Head.Outermost == other.Head.ID && other.Head.Began.After(r.Head.Began) &&
			other.Head.ID != r.Head.ID && !other.leftNothing() {
			return hint.Wrap(fmt.Errorf("run %s has changed the cluster since run %s stopped", other.Head.ID, r.Head.ID),
				"nothing was done; look at: warmrun status")
		}
	}
	return nil
}

// explainGoOn adds what to type to the error of a run that was gone on with.
func explainGoOn(err error, r runRecord) error {
	id := r.Head.ID
	var unsettled *engine.UnsettledError
	var nested *engine.NestedError
	switch {
	case errors.As(err, &unsettled):
		return hint.Wrap(err, "%s", unsettledWays(r, unsettled))
	case errors.As(err, &nested):
		return hint.Wrap(err, "%s; then repeat: warmrun runs rollback %s; where that cannot be, give it up as it is: warmrun runs abandon %s",
			cmp.Or(hint.Of(err), "mend that"), id, id)
	case errors.Is(err, engine.ErrPastReturn):
		return hint.Wrap(err, "nothing was undone; go on with it: warmrun runs resume %s", id)
	}
	return explainStep(err, &engine.Runbook{Name: r.Head.Runbook}, id)
}

// unsettledWays are the commands that settle an interrupted step.
func unsettledWays(r runRecord, unsettled *engine.UnsettledError) string {
	id, step := r.Head.ID, unsettled.Step
	if unsettled.Func == "" {
		return "nothing was done; which step was is in: warmrun runs show " + id
	}
	if unsettled.Runbook != r.Head.Runbook {
		step = unsettled.Runbook + "/" + step
	}
	ways := fmt.Sprintf("nothing was done; look what it has come to (warmrun status), then go on behind it: warmrun runs resume %s --done %s; or run it again: warmrun runs resume %[1]s --repeat %[2]s", id, shellWord(step))
	if !r.summary().Past {
		ways += "; or undo the run: warmrun runs rollback " + id
	}
	return ways
}

// shellWord is a word as a shell takes it.
func shellWord(word string) string {
	if strings.ContainsAny(word, " '\"$`\\&|;<>()*?[]#~!") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// stillUnderWay is a run that a living process drives.
func stillUnderWay(r runRecord) error {
	d := r.driver()
	return engine.NotBegun(lockedError{hint.Wrap(fmt.Errorf("run %s is under way, driven by %s on %s as process %d", r.Head.ID, d.User, d.Node, d.PID), "wait until it has ended")})
}

// findRun finds a run by how its ID begins, here and, for those that this node
// has no copy of, on the others.
func findRun(ctx context.Context, s *session, prefix string) (runRecord, error) {
	if !validRunID(prefix) {
		return runRecord{}, usageError{hint.Wrap(fmt.Errorf("%q is not the ID of a run", prefix), "see: warmrun runs list")}
	}
	all, err := allRuns(s)
	if err != nil {
		return runRecord{}, err
	}
	found := slices.DeleteFunc(all, func(r runRecord) bool { return !strings.HasPrefix(r.Head.ID, prefix) })
	for _, r := range found {
		if r.Head.ID == prefix {
			return r, nil
		}
	}
	// Parts are found by their whole ID.
	found = slices.DeleteFunc(found, func(r runRecord) bool { return r.Head.ID != r.Head.Outermost })
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		r, err := gather(ctx, s, prefix)
		if errors.Is(err, fs.ErrNotExist) {
			return r, absentError{hint.Wrap(fmt.Errorf("no node that answers knows a run %s", prefix), "see: warmrun runs list")}
		}
		return r, err
	}
	return runRecord{}, usageError{hint.Wrap(fmt.Errorf("%d runs begin with %s", len(found), prefix), "see: warmrun runs list")}
}

// runsAbandonCommand is runs abandon.
type runsAbandonCommand struct {
	ID         string `arg:"" help:"The run's ID, or how it begins."`
	DriverLost bool   `help:"Give it up although the node that drove it cannot be reached: you have made sure that its process there has ended, or that the host is down."`
}

// Run notes, here and on the nodes that it can lock, that the run is no longer to
// be gone on with.
func (c *runsAbandonCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	record, err := findRun(ctx, s, c.ID)
	if err != nil {
		return err
	}
	if err := drivenHere(s, record, "abandon"); err != nil {
		return err
	}
	s.drive(record.Head.ID)
	lock, err := lockRun(ctx, s, record.Head.Runbook, record.Head.Lock)
	if err != nil {
		return err
	}
	defer lock.release()
	if record, err = gather(ctx, s, s.run, lock.nodes()...); err != nil {
		return err
	}
	if record.held != "" {
		return stillUnderWay(record)
	}
	if !record.open() {
		return hint.Wrap(fmt.Errorf("run %s is not unfinished", s.run), "nothing was done; see: warmrun runs show %s", s.run)
	}
	if err := driverGone(s, record, lock, "abandon", c.DriverLost); err != nil {
		return err
	}
	if err := p.agree(ctx, s, fmt.Sprintf("Give up run %s as it is, with nothing undone?", s.run)); err != nil {
		return err
	}
	if err := abandon(s, lock); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "Run %s is given up as it is; look at: warmrun status\n", s.run)
	return err
}

func abandon(s *session, lock runLock) error {
	j, _, err := journal.Open(journalPath(s.site, s.run))
	if err != nil {
		return err
	}
	rec := &recorder{s: s, id: s.run, j: j}
	lock.follow(rec)
	who := thisProcess(s)
	return errors.Join(rec.write(runEntry{Abandoned: &who}), j.Close(), unmarkOpen(s.site, s.run))
}

// agree asks the operator, unless that was answered beforehand.
func (p *process) agree(ctx context.Context, s *session, question string) error {
	if s.yes {
		return nil
	}
	ask := s.confirm()
	if ask == nil {
		return hint.Wrap(errors.New("it asks a question and there is no terminal to answer it"), "agree beforehand with --yes")
	}
	agreed, err := ask(ctx, question)
	if err == nil && !agreed {
		err = engine.ErrDeclined
	}
	return err
}
