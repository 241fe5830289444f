package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// runCommand is one runbook called from the command line.
type runCommand struct {
	args   map[string]string
	plan   bool
	within string // the run that called this one from another node
	color  bool
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
		_, err = fmt.Fprint(p.out, fold(text, columnsOf(p.out)))
		return err
	}
	if err := checkRunsOn(ctx, s, book); err != nil {
		return err
	}
	s.run, s.color = c.within, c.color
	if s.run == "" {
		s.run = newRunID(book.Name, string(s.site.Self.Name), time.Now())
	}
	unlock, err := lockRun(s, book, c.within != "")
	if err != nil {
		return err
	}
	defer unlock()
	_, err = book.Run(ctx, c.args, engine.RunOptions{
		Out: foldTo(p.out), Terminal: c.color, AssumeYes: s.yes, StopUndo: p.stopUndo,
		Observe: func(e engine.Event) error {
			if e.Kind != engine.NoReturnPassed || c.within == "" {
				return nil
			}
			_, err := fmt.Fprintln(p.err, noReturnMark)
			return err
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
	switch own := hint.Of(err); {
	case len(step.Left) > 0:
		// What was left half done matters more than what was wrong at first.
		next := cmp.Or(hint.Of(step.UndoErr), own, "look at: warmrun status")
		return hint.Wrap(err, "not undone: %s (%v); %s", strings.Join(step.Left, ", "), step.UndoErr, next)
	case own != "":
		return err
	case step.PastReturn:
		return hint.Wrap(err, "the line of no return was passed and nothing was undone; look at: warmrun status")
	case step.Undone:
		return hint.Wrap(err, "everything that had been done was undone; mend the cause and run it again")
	}
	return err
}

func newRunID(book, node string, now time.Time) string {
	return fmt.Sprintf("%s-%s-%s-%d", now.UTC().Format("20060102T150405Z"), book, node, os.Getpid())
}

// lockRun takes the kernel lock that a runbook asks for: "cluster" is shared by
// all runbooks of this node that change state, "node" keeps a runbook from
// overlapping with itself. The kernel drops it with the process, so no stale
// lock can remain. A run that another node's run has called is not in its way.
func lockRun(s *session, book *engine.Runbook, nested bool) (unlock func(), err error) {
	if book.Lock == "none" || (nested && book.Lock == "cluster" && ownsLock(s)) {
		return func() {}, nil
	}
	name := "cluster"
	if book.Lock == "node" {
		name = book.Name
	}
	dir := s.site.Local("runs")
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := lockHolder(path)
		return nil, errors.Join(lockedError{hint.Wrap(fmt.Errorf("another run is under way on %s: %s", s.site.Self.Name, holder),
			"wait until it has ended; the lock goes with its process")}, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintf(f, "%s\nprocess %d since %s\n", s.run, os.Getpid(), time.Now().Format("2006-01-02 15:04:05 MST")); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing is what releases it
}

// ownsLock reports whether the lock on this node is held by the very run that
// this process is part of: a switchover started here whose other node calls
// back.
func ownsLock(s *session) bool {
	f, err := os.Open(filepath.Join(s.site.Local("runs"), "cluster.lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == s.run
}

func lockHolder(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n", ", ")), " ")
}
