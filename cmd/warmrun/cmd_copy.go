package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/walcore/hint"
)

// copyCommand copies a directory from or to another node.
type copyCommand struct {
	Source string `arg:"" help:"The directory to copy: DIR here, or NODE:DIR. With a slash at its end its content is copied into the target, without one the directory itself."`
	Target string `arg:"" help:"The directory to copy into: DIR here, or NODE:DIR. It is made if it is not there."`
	copyOptions
	Verbose    bool `short:"v" help:"Print the name of everything that is transferred or deleted."`
	JSON       bool `help:"Print JSON: an object a line for what happens, the last of them the summary."`
	NoProgress bool `name:"no-progress" help:"Do not say how far the copy is."`
}

// Help is what the flags do not say.
func (c *copyCommand) Help() string {
	return `The copy is one way and ends with everything on disk. What is there already is compared block by block and only what differs is sent; a copy that was cut goes on from there when it is run again.

A PATTERN that begins with a slash is compared with the whole path below the source, any other with the last part of it at any depth; a slash at its end makes it match directories only; *, ? and [a-z] match within one part. What is excluded is left alone in the target, too.`
}

// Run copies and prints what was done, in rsync's words.
func (c *copyCommand) Run(ctx context.Context, p *process, g *globals) error {
	err := c.run(ctx, p, g)
	var usage usageError
	if errors.As(err, &usage) && hint.Of(err) == "" {
		err = hint.Wrap(err, "see: warmrun copy --help")
	}
	if err != nil && c.JSON {
		err = errors.Join(err, printEvent(p.out, failedEvent(err)))
	}
	return err
}

func (c *copyCommand) run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	route, err := parseRoute(s.site, c.Source, c.Target)
	if err != nil {
		return err
	}
	result, err := s.copyTree(ctx, route, c.copyOptions, c.output(p))
	if err != nil {
		return err
	}
	if c.JSON {
		return printEvent(p.out, summaryEvent{Event: "summary", copyResult: result, Elapsed: result.Elapsed.Seconds()})
	}
	_, err = fmt.Fprintln(p.out, result)
	return err
}

// output shows people or programs what happens: names and events on standard
// output, the rest on standard error.
func (c *copyCommand) output(p *process) copyOutput {
	bar := &progress{out: p.err, columns: max(columnsOf(p.err)-1, 0), every: linesEvery}
	out := copyOutput{show: bar.show, notes: bar}
	names := writer(func(text []byte) (int, error) { return bar.above(p.out, text) })
	if c.JSON {
		events := &copyEvents{out: p.out}
		out, names = copyOutput{show: events.show, notes: p.err}, events.line
	}
	if c.NoProgress {
		out.show = nil
	}
	if c.Verbose {
		out.names = names
	}
	return out
}
