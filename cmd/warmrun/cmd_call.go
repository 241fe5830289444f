package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// callCommand runs operations for another node, one after the other, until its
// input ends: each request a line of JSON on standard input, and on standard
// output the lines of live output and then the reply. To start a program for each
// would cost more than most of them take.
type callCommand struct{}

// Run always replies, also with an error: the caller reads the exit code from
// the reply. What was begun when the input ends is done to its end.
func (c *callCommand) Run(ctx context.Context, p *process, g *globals) error {
	defer outliveReaders()()
	replies := &callWriter{out: json.NewEncoder(p.out)}
	requests := readCalls(ctx, p.in)
	for {
		var request callRequest
		select {
		case next, more := <-requests:
			if !more {
				return nil
			}
			request = next
		case <-ctx.Done():
			return toldElsewhere{context.Cause(ctx)}
		}
		if err := replies.encode(callFrame{Reply: c.answer(ctx, p, g, request, replies)}); err != nil {
			return fmt.Errorf("answer %s: %w", request.Operation, err)
		}
	}
}

// readCalls reads the requests. The goroutine may outlive ctx: nothing ends a read
// of standard input but the process.
func readCalls(ctx context.Context, in io.Reader) <-chan callRequest {
	requests := make(chan callRequest)
	go func() {
		defer close(requests)
		lines := json.NewDecoder(in)
		for {
			var request callRequest
			switch err := lines.Decode(&request); {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				// A connection that was cut in the middle is no request either.
				return
			}
			select {
			case requests <- request:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests
}

func (c *callCommand) answer(ctx context.Context, p *process, g *globals, request callRequest, live io.Writer) *callReply {
	result, err := c.serve(ctx, p, g, request, live)
	reply := &callReply{}
	if err == nil {
		reply.Result, err = json.Marshal(result)
	}
	if err != nil {
		reply.Error, reply.Hint = describe(err)
		reply.Code, reply.NotBegun = exitCode(err), !engine.HasBegun(err)
	}
	return reply
}

func (c *callCommand) serve(ctx context.Context, p *process, g *globals, request callRequest, live io.Writer) (any, error) {
	if request.Protocol != callProtocol {
		return nil, hint.Wrap(fmt.Errorf("this node has warmrun %s, the calling one %s; they do not understand each other", version, request.Version), "run: warmrun distrib")
	}
	// Anew for each: the site's files may have changed since the last.
	s, err := p.session(*g)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.serving, s.run, s.driver, s.err = true, request.Run, request.Driver, unread{live}
	for _, op := range operations() {
		if op.local == nil {
			continue
		}
		if f := op.bind(s); op.module+"."+f.Name == request.Operation {
			return op.local(ctx, s, request.Args)
		}
	}
	return nil, hint.Wrap(fmt.Errorf("this node's warmrun %s has no operation %s", version, request.Operation), "run: warmrun distrib")
}

// callWriter writes frames, one a line. Written to, it makes frames of live
// output.
type callWriter struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (w *callWriter) encode(f callFrame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Encode(f)
}

func (w *callWriter) Write(p []byte) (int, error) {
	return len(p), w.encode(callFrame{Live: string(p)})
}
