package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmrun/warmrun/builtins/health"
)

// whyCommand explains why WAL does not flow.
type whyCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is what the flags do not say.
func (c *whyCommand) Help() string {
	return `Every node is examined, and what keeps WAL from flowing or a node from following is told in the order in which to mend it: a sentence, what shows it, and after "next:" the command that mends it. Where nothing is wrong, what proves it is printed.

The exit code is 0 when nothing is wrong, and 1 when something is.`
}

// Run prints the diagnosis.
func (c *whyCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	nodes := examineAll(ctx, s)
	diagnosis := health.Why(locate(ctx, s, nodes), nodes...)
	if c.JSON {
		err = printJSON(p.out, diagnosis)
	} else {
		out := foldTo(p.out)
		for _, line := range diagnosis.Lines() {
			fmt.Fprintln(out, line)
		}
	}
	if err == nil && len(diagnosis.Findings) > 0 {
		err = negativeError{errors.New(diagnosis.Sentence)}
	}
	return err
}
