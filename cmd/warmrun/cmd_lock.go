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
	"github.com/warmrun/warmrun/walcore/hint"
)

// lockCommand holds this node's part of the cluster lock for a run on another
// node. It reads who wants the lock, a line of JSON, and answers with one; from
// then on every line is answered with one when what it asks for is done: an empty
// line keeps the lock, and a copyRequest keeps lines of the run's journal. The
// lock is released at the end of the input, so with the connection, and after
// lockSilence without a line: a host that loses its power does not end its
// connections.
type lockCommand struct{}

// lockRequest is the first line.
type lockRequest struct {
	lockHolder
	// Again: it had the lock, lost it, and wants it only if nobody else, and no
	// other driver of the same run, has had it since.
	Again bool `json:"again,omitempty"`
}

// lockReply is the first answer.
type lockReply struct {
	// Holder is who has the lock, where it was refused, or has had it since.
	Holder *lockHolder `json:"holder,omitempty"`
	// Before is the run that had it last.
	Before string `json:"before,omitempty"`
	// Unfinished are the runs that have not ended, as far as this node knows.
	Unfinished []string `json:"unfinished,omitempty"`
	// Doubt is why the node cannot tell which runs have not ended.
	Doubt string `json:"doubt,omitempty"`
	Hint  string `json:"hint,omitempty"` // what to do about it
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
	var request lockRequest
	if err := json.Unmarshal(line, &request); err != nil {
		return usageError{fmt.Errorf("read who wants the lock: %w", err)}
	}
	s, err := p.session(*g)
	if err != nil {
		return json.NewEncoder(p.out).Encode(lockReply{Error: err.Error()})
	}
	return lendLock(ctx, s.site, request, in, p.out)
}

// lendLock holds the lock of this node for as long as lines come.
func lendLock(ctx context.Context, site *cluster.Site, request lockRequest, in *bufio.Reader, out io.Writer) error {
	lock, reply := takeFor(site, request)
	if err := json.NewEncoder(out).Encode(reply); err != nil || lock == nil {
		return err
	}
	twin := &twin{site: site}
	return errors.Join(answer(ctx, in, out, twin.answer), twin.close(), lock.Close())
}

func takeFor(site *cluster.Site, request lockRequest) (*lockFile, lockReply) {
	lock, err := takeLock(site, clusterLockName, request.lockHolder)
	var held *heldError
	switch {
	case errors.As(err, &held):
		return nil, lockReply{Holder: &held.holder}
	case err != nil:
		return nil, lockReply{Error: err.Error()}
	case request.Again && !lock.before.same(request.lockHolder):
		lock.giveBack()
		return nil, lockReply{Holder: &lock.before}
	case request.Again:
		return lock, lockReply{}
	}
	open, parts, err := inTheWay(site)
	if err != nil {
		lock.giveBack()
		return nil, lockReply{Doubt: err.Error(), Hint: hint.Of(err)}
	}
	for _, part := range parts {
		if part.Head.Outermost != request.Run {
			lock.giveBack()
			driven := part.holder()
			return nil, lockReply{Holder: &driven}
		}
	}
	return lock, lockReply{Before: lock.before.Run, Unfinished: idsOf(open)}
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
