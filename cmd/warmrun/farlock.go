package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// farLock is another node's part of the cluster lock, held by `warmrun lock`
// there for as long as the connection to it lives.
type farLock struct {
	node   cluster.NodeName
	stream io.ReadWriteCloser
	before string // the run that had the lock last
	// unfinished are the runs that have not ended, as far as the node knows.
	unfinished []string
	lines      chan []byte   // the answers; closed when there are no more
	quit       chan struct{} // closed when nobody wants answers any more

	ending sync.Once
	// missed: the lock was lost, and the node could not be asked for it again.
	missed bool

	mu   sync.Mutex // one question at a time
	lost error      // why the lock may be gone
	// noCopies: the node has said that it cannot keep a copy of the journal.
	noCopies bool
}

// lockAnswer is how long a node may take for an answer about its lock.
const lockAnswer = 10 * time.Second

// errNoLock is why a node that answers has no part in the cluster lock.
var errNoLock = errors.New("it cannot be locked")

// doubtError is a node that answers and cannot tell which runs have not ended: one
// that must not be begun beside may be among them.
type doubtError struct{ reason, next string }

func (e *doubtError) Error() string { return e.reason }

// lockThere takes the lock of another node. When another run holds it the error
// is a *heldError. The lock outlives ctx: what a run undoes after it was
// interrupted it undoes under its lock.
func lockThere(ctx context.Context, s *session, node cluster.Node, request lockRequest) (*farLock, error) {
	client, err := s.client(ctx, node.Name)
	if err != nil {
		return nil, err
	}
	stream, err := client.Start(context.WithoutCancel(ctx), s.command(node, "lock"))
	if err != nil {
		return nil, err
	}
	// The program that the run will ask starts meanwhile.
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { s.readyCall(ctx, node) })
	return beginLock(node.Name, stream, request)
}

// beginLock asks the `warmrun lock` at the other end of a stream for the lock.
func beginLock(node cluster.NodeName, stream io.ReadWriteCloser, request lockRequest) (*farLock, error) {
	l := &farLock{node: node, stream: stream, lines: make(chan []byte), quit: make(chan struct{})}
	go l.read()
	if err := l.begin(request); err != nil {
		return nil, errors.Join(err, l.end())
	}
	return l, nil
}

// read passes the answers on until the stream ends, which Close sees to.
func (l *farLock) read() {
	defer close(l.lines)
	in := bufio.NewReader(l.stream)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		select {
		case l.lines <- line:
		case <-l.quit:
			return
		}
	}
}

func (l *farLock) begin(request lockRequest) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	line, err := l.ask(append(text, '\n'))
	if err != nil {
		return err
	}
	var reply lockReply
	if err := json.Unmarshal(line, &reply); err != nil {
		return fmt.Errorf("%w: %w", errNoLock, err)
	}
	l.before, l.unfinished = reply.Before, reply.Unfinished
	switch {
	case reply.Holder != nil:
		return &heldError{*reply.Holder}
	case reply.Doubt != "":
		return &doubtError{reply.Doubt, reply.Hint}
	case reply.Error != "":
		return fmt.Errorf("%w: %s", errNoLock, reply.Error)
	}
	return nil
}

func (l *farLock) ask(question []byte) ([]byte, error) {
	if _, err := l.stream.Write(question); err != nil {
		return nil, err
	}
	patience := time.NewTimer(lockAnswer)
	defer patience.Stop()
	select {
	case line, more := <-l.lines:
		if !more {
			return nil, fmt.Errorf("%w: the process that holds its lock has ended", errNoLock)
		}
		return line, nil
	case <-patience.C:
		return nil, fmt.Errorf("no answer within %s", lockAnswer)
	}
}

// alive asks whether the lock is still held, which also keeps it.
func (l *farLock) alive() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		_, l.lost = l.ask([]byte("\n"))
	}
	return l.lost
}

// copy has the node write lines of the run's journal, and waits until they are on
// its disk. The error is the node's, which then is not asked again; a node that
// does not answer has lost its lock, and check sees to that.
func (l *farLock) copy(request copyRequest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil || l.noCopies {
		return nil
	}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var answer []byte
	if answer, l.lost = l.ask(append(text, '\n')); l.lost != nil {
		return nil
	}
	if said := strings.TrimSpace(string(answer)); said != "" {
		l.noCopies = true
		return errors.New(said)
	}
	return nil
}

// release releases the lock, and does not care how its process ended.
func (l *farLock) release() { _ = l.end() }

func (l *farLock) end() (err error) {
	l.ending.Do(func() {
		close(l.quit)
		err = l.stream.Close()
		for range l.lines { // until the reader has ended
		}
	})
	return err
}
