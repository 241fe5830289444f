package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// lockCommand holds this node's part of the cluster lock for a run on another
// node. It reads who wants the lock, a line of JSON, and answers with one; from
// then on every line is answered with one when what it asks for is done: an empty
// line keeps the lock, and a copyRequest keeps lines of the run's journal. The
// lock is released at the end of the input, so with the connection, and after
// lockSilence without a line: a host that loses its power does not end its
// connections.
type lockCommand struct{}

// lockReply is the first answer.
type lockReply struct {
	// Holder is who has the lock, where it was refused.
	Holder *lockHolder `json:"holder,omitempty"`
	// Before is the run that had it last.
	Before string `json:"before,omitempty"`
	// Unfinished are the runs that have not ended, as far as this node knows.
	Unfinished []string `json:"unfinished,omitempty"`
	// Error is why it could not be tried at all.
	Error string `json:"error,omitempty"`
}

// copyRequest asks for lines of a run's journal to be kept. The answer is an
// empty line when they are on disk, else what is in the way.
type copyRequest struct {
	Copy string `json:"copy"` // the run's ID
	// Whole: the lines are the whole journal, and replace what is here.
	Whole bool   `json:"whole,omitempty"`
	Lines string `json:"lines"`
}

// lockSilence is how long a lock outlives a host that was cut off.
const lockSilence = time.Minute

// Run returns when the lock is released.
func (c *lockCommand) Run(ctx context.Context, p *process, g *globals) error {
	in := bufio.NewReader(p.in)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return usageError{fmt.Errorf("read who wants the lock: %w", err)}
	}
	var holder lockHolder
	if err := json.Unmarshal(line, &holder); err != nil {
		return usageError{fmt.Errorf("read who wants the lock: %w", err)}
	}
	s, err := p.session(*g)
	if err != nil {
		return json.NewEncoder(p.out).Encode(lockReply{Error: err.Error()})
	}
	lock, reply := c.take(s.site, holder)
	if err := json.NewEncoder(p.out).Encode(reply); err != nil || lock == nil {
		return err
	}
	twin := &twin{site: s.site}
	return errors.Join(answer(ctx, in, p.out, twin.answer), twin.close(), lock.Close())
}

func (c *lockCommand) take(site *cluster.Site, holder lockHolder) (*lockFile, lockReply) {
	lock, err := takeLock(site, clusterLockName, holder)
	var held *heldError
	switch {
	case errors.As(err, &held):
		return nil, lockReply{Holder: &held.holder}
	case err != nil:
		return nil, lockReply{Error: err.Error()}
	}
	reply := lockReply{Before: lock.before.Run}
	open, parts, err := inTheWay(site)
	if err != nil {
		return nil, lockReply{Error: errors.Join(err, lock.Close()).Error()}
	}
	if len(parts) > 0 && parts[0].Head.Outermost != holder.Run {
		inTheWay := parts[0].holder()
		_ = lock.Close() // nothing was written that must last
		return nil, lockReply{Holder: &inTheWay}
	}
	reply.Unfinished = idsOf(open)
	return lock, reply
}

// twin is this node's copy of the journal of the run that holds its lock.
type twin struct {
	site *cluster.Site
	run  string
	j    *journal.Journal
}

// answer does what a line asks for, and gives the answer to it.
func (t *twin) answer(line []byte) string {
	var request copyRequest
	if json.Unmarshal(line, &request) != nil || request.Copy == "" {
		return ""
	}
	if err := t.keep(request); err != nil {
		return oneLine(err)
	}
	return ""
}

func (t *twin) keep(request copyRequest) (err error) {
	if !request.Whole {
		if t.j == nil {
			return errors.New("it does not have the beginning")
		}
		return t.j.AppendLines([]byte(request.Lines))
	}
	if err := t.close(); err != nil {
		return err
	}
	if !validRunID(request.Copy) {
		return fmt.Errorf("%q is not the ID of a run", request.Copy)
	}
	if err := markOpen(t.site, request.Copy); err != nil {
		return err
	}
	t.run = request.Copy
	t.j, err = journal.WriteCopy(journalPath(t.site, t.run), []byte(request.Lines))
	return err
}

// close lets go of the copy. One whose run has ended is history.
func (t *twin) close() error {
	if t.j == nil {
		return nil
	}
	err := t.j.Close()
	t.j = nil
	if r, readErr := readRecord(t.site, t.run); readErr == nil && !r.open() {
		err = errors.Join(err, unmarkOpen(t.site, t.run), forgetOld(t.site, r.Head.Runbook))
	}
	return err
}

// answer answers every line until the input ends, ctx ends, or no line comes
// for too long. The goroutine that reads may outlive it: nothing ends a read of
// standard input but the process.
func answer(ctx context.Context, in *bufio.Reader, out io.Writer, to func(line []byte) string) error {
	lines := make(chan []byte)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	silence := time.NewTimer(lockSilence)
	defer silence.Stop()
	for {
		select {
		case line := <-lines:
			silence.Reset(lockSilence)
			if _, err := io.WriteString(out, to(line)+"\n"); err != nil {
				return err
			}
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		case <-silence.C:
			return nil
		}
	}
}
