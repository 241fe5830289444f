package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/ship"
)

// shipBackCommand ships what this node's dead server had flushed to an agent at the
// other end of standard input and output: the node that takes over has a connection
// to this one already, and clients wait while another is made the other way.
type shipBackCommand struct {
	Replayed string `required:"" help:"How far the server there has replayed."`
}

// Run tells on standard error where the WAL ends, once the agent has all of it.
func (c *shipBackCommand) Run(ctx context.Context, p *process, g *globals) error {
	defer outliveReaders()()
	replayed, err := walcore.ParseLSN(c.Replayed)
	if err != nil {
		return usageError{err}
	}
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	s.serving, s.err = true, unread{p.err}
	point, err := lastPoint(ctx, s, none{})
	if err != nil {
		return err
	}
	client, err := ship.ConnectWith(ctx, p.otherEnd, ship.Options{Version: version, Store: s.site.Archiving.Compress})
	if err != nil {
		return err
	}
	sent, err := shipOver(ctx, s, client, point, replayed)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.err, "%s%s\n", eventMark, text)
	return err
}

// otherEnd is standard input and output as a stream that can be closed.
func (p *process) otherEnd(context.Context) (io.ReadWriteCloser, error) {
	stream, ok := stdio{p.in, p.out}.widen().closable().(io.ReadWriteCloser)
	if !ok {
		return nil, errors.New("standard input and output are not the ends of pipes")
	}
	return stream, nil
}
