package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// callProtocol is the version of what `warmrun call` speaks; nodes with
// different versions refuse each other instead of misunderstanding.
const callProtocol = 2

// callRequest, callFrame and callReply are what goes over the wire to `warmrun
// call`.
type callRequest struct {
	Protocol  int             `json:"protocol"`
	Version   string          `json:"version"`
	Operation string          `json:"operation"`
	Run       string          `json:"run,omitempty"`
	Driver    string          `json:"driver,omitempty"`
	Args      json.RawMessage `json:"args"`
}

// callFrame is a piece of live output, or the reply.
type callFrame struct {
	Live  string     `json:"live,omitempty"`
	Reply *callReply `json:"reply,omitempty"`
}

type callReply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
	Hint   string          `json:"hint,omitempty"`
	Code   int             `json:"code,omitempty"`
	// NotBegun: it was refused before it had changed anything.
	NotBegun bool `json:"not_begun,omitempty"`
}

// err is the node's own error, as it would have been here.
func (r *callReply) err() error {
	if r.Error == "" {
		return nil
	}
	err := error(&remoteError{message: r.Error, code: r.Code})
	if r.Hint != "" {
		err = hint.Wrap(err, "%s", r.Hint)
	}
	if r.NotBegun {
		err = engine.NotBegun(err)
	}
	return err
}

// heldCall is a `warmrun call` on another node that waits for its next request.
type heldCall struct {
	stream *remote.Stream
	stop   context.CancelCauseFunc // ends the process there
	stderr *redirected
	frames chan callFrame // closed when there are no more
	ended  error          // why, once frames is closed
	quit   chan struct{}  // closed when nobody wants frames any more
}

// interruptGrace is how long an operation on another node may take to end, and to
// say how, once the run that called it was interrupted.
const interruptGrace = 2 * time.Second

// call runs one operation on another node and decodes its result.
func (s *session) call(ctx context.Context, name cluster.NodeName, op string, args, result any) error {
	node, err := s.site.Node(name)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	h, err := s.takeCall(ctx, node)
	if err != nil {
		return err
	}
	live := &callOutput{rest: s.live(ctx), soFar: func(text string) { s.soFar(ctx, text) }}
	reply, err := h.ask(ctx, callRequest{Protocol: callProtocol, Version: version, Operation: op, Run: s.run, Driver: s.driver, Args: raw}, live)
	_ = live.end() // nobody may read it any more
	if err != nil {
		h.end(err)
		return s.explainCall(node, op, err)
	}
	s.keepCall(ctx, name, h)
	if err := reply.err(); err != nil {
		return err
	}
	return json.Unmarshal(reply.Result, result)
}

// takeCall is a process that waits on the node, or a new one.
func (s *session) takeCall(ctx context.Context, node cluster.Node) (*heldCall, error) {
	client, err := s.client(ctx, node.Name)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", node.Name, err)
	}
	for h := s.idleCall(node.Name); h != nil; h = s.idleCall(node.Name) {
		if h.waits() {
			return h, nil
		}
	}
	life, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	h := &heldCall{stop: stop, stderr: &redirected{}, frames: make(chan callFrame), quit: make(chan struct{})}
	if h.stream, err = client.StartStream(life, s.command(node, "call"), h.stderr); err != nil {
		stop(err)
		return nil, s.explainCall(node, "call", err)
	}
	go h.read()
	return h, nil
}

// readyCall starts a process that waits, for the first request to find. Where that
// fails, the request says why.
func (s *session) readyCall(ctx context.Context, node cluster.Node) {
	if h, err := s.takeCall(ctx, node); err == nil {
		s.keepCall(ctx, node.Name, h)
	}
}

func (s *session) idleCall(name cluster.NodeName) *heldCall {
	l := s.link(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.calls) == 0 {
		return nil
	}
	h := l.calls[len(l.calls)-1]
	l.calls = l.calls[:len(l.calls)-1]
	return h
}

// keepCall keeps a process for the next request, unless this one was interrupted:
// the process was, too.
func (s *session) keepCall(ctx context.Context, name cluster.NodeName, h *heldCall) {
	if ctx.Err() != nil {
		h.end(context.Cause(ctx))
		return
	}
	l := s.link(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.calls = append(l.calls, h)
}

// dropCalls ends the processes that wait on a node, so that the next request is
// answered by the program that is there now.
func (s *session) dropCalls(name cluster.NodeName) {
	for h := s.idleCall(name); h != nil; h = s.idleCall(name) {
		h.end(errDropped)
	}
}

var errDropped = errors.New("it is not needed any more")

// read passes the frames on until the stream ends.
func (h *heldCall) read() {
	defer close(h.frames)
	lines := json.NewDecoder(h.stream)
	for {
		var frame callFrame
		if h.ended = lines.Decode(&frame); h.ended != nil {
			return
		}
		select {
		case h.frames <- frame:
		case <-h.quit:
			return
		}
	}
}

// waits is false for a process that has ended since its last reply.
func (h *heldCall) waits() bool {
	select {
	case <-h.frames:
		h.end(errDropped)
		return false
	default:
		return true
	}
}

// ask sends a request and returns the reply. When ctx ends the operation is told
// so, and has a moment to end and to reply all the same.
func (h *heldCall) ask(ctx context.Context, request callRequest, live *callOutput) (*callReply, error) {
	h.stderr.to(live.rest)
	defer h.stderr.to(nil)
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if _, err := h.stream.Write(append(text, '\n')); err != nil {
		return nil, err
	}
	interrupted := ctx.Done()
	var patience <-chan time.Time
	for {
		select {
		case frame, more := <-h.frames:
			if !more && errors.Is(h.ended, io.EOF) {
				return nil, errors.New("the program there has ended without an answer")
			}
			if !more {
				return nil, h.ended
			}
			if frame.Reply != nil {
				return frame.Reply, nil
			}
			// Nobody may read it any more; the operation goes on.
			_, _ = io.WriteString(live, frame.Live)
		case <-interrupted:
			_ = h.stream.Signal("TERM") // the connection may be gone
			timer := time.NewTimer(interruptGrace)
			defer timer.Stop()
			interrupted, patience = nil, timer.C
		case <-patience:
			return nil, context.Cause(ctx)
		}
	}
}

// end ends the process. It does not wait for that.
func (h *heldCall) end(why error) {
	close(h.quit)
	h.stop(why)
	go h.stream.Close() //nolint:errcheck // what it was asked has been answered, or has failed
}

// redirected writes to whoever wants it now.
type redirected struct {
	mu  sync.Mutex
	out io.Writer
}

func (r *redirected) to(out io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out = out
}

func (r *redirected) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out == nil {
		return len(p), nil
	}
	return r.out.Write(p)
}

// errNotInstalled marks the error of a node that answers without having the
// program; it adds nothing to the text.
var errNotInstalled = errors.New("")

// errLinkBroke marks the error of a call that was asked over a connection which broke
// before the answer came; it adds nothing to the text.
var errLinkBroke = errors.New("")

// explainCall says why a node gave no answer at all: mostly because the
// program is not there yet.
func (s *session) explainCall(node cluster.Node, op string, err error) error {
	var exit *remote.ExitError
	switch {
	case !errors.As(err, &exit):
		s.forget(node.Name)
		return fmt.Errorf("%s on %s: %w%w", op, node.Name, err, errLinkBroke)
	case notInstalled(err):
		return hint.Wrap(fmt.Errorf("%s has no working %s%w", node.Name, node.Binary(), errNotInstalled), "run: warmrun distrib")
	case exit.Status == exitUsage:
		return hint.Wrap(fmt.Errorf("%s on %s: %w", op, node.Name, err), "if the nodes run different versions of warmrun, run: warmrun distrib")
	}
	return fmt.Errorf("%s on %s: %w", op, node.Name, err)
}

// notInstalled reports whether a command failed because the program is not on
// the node or cannot be executed there.
func notInstalled(err error) bool {
	var exit *remote.ExitError
	return errors.As(err, &exit) && (exit.Status == 126 || exit.Status == 127)
}
