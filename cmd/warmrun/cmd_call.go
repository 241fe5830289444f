package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// callCommand runs one operation for another node: a request on standard
// input, the reply on standard output, live output on standard error.
type callCommand struct {
	Operation string `arg:""`
}

// Run always replies, also with an error: the caller reads the exit code from
// the reply.
func (c *callCommand) Run(ctx context.Context, p *process, g *globals) error {
	defer outliveReaders()() // what was begun is done to its end
	result, err := c.serve(ctx, p, g)
	reply := callReply{}
	if err != nil {
		reply.Error, reply.Hint = describe(err)
		reply.Code, reply.NotBegun = exitCode(err), !engine.HasBegun(err)
	} else if reply.Result, err = json.Marshal(result); err != nil {
		return err
	}
	return json.NewEncoder(p.out).Encode(reply)
}

func (c *callCommand) serve(ctx context.Context, p *process, g *globals) (any, error) {
	var request callRequest
	if err := json.NewDecoder(p.in).Decode(&request); err != nil {
		return nil, usageError{fmt.Errorf("read the request: %w", err)}
	}
	if request.Protocol != callProtocol {
		return nil, hint.Wrap(fmt.Errorf("this node has warmrun %s, the calling one %s; they do not understand each other", version, request.Version), "run: warmrun distrib")
	}
	s, err := p.session(*g)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.serving, s.run, s.driver, s.err = true, request.Run, request.Driver, unread{p.err}
	for _, op := range operations() {
		if op.local == nil {
			continue
		}
		if f := op.bind(s); op.module+"."+f.Name == c.Operation {
			return op.local(ctx, s, request.Args)
		}
	}
	return nil, hint.Wrap(fmt.Errorf("this node's warmrun %s has no operation %s", version, c.Operation), "run: warmrun distrib")
}
