package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// statusCommand shows every node.
type statusCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run asks all nodes at once. A node that cannot be reached is part of the
// answer, not an error.
func (c *statusCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	s.quiet, s.connectTimeout = true, statusConnect
	report := health.Gather(lookAtAll(ctx, s, "status.local", statusAnswer, localStatus)...)
	if !c.JSON {
		return report.Render(foldTo(p.out), columnsOf(p.out))
	}
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// How long status waits: for a connection, and for a node's whole answer. The
// server there is given 5 seconds of it.
const (
	statusConnect = 5 * time.Second
	statusAnswer  = 12 * time.Second
)

func nodeStatus(ctx context.Context, s *session, n cluster.Node, operation string, patience time.Duration, local func(context.Context, *session, none) (health.NodeStatus, error)) health.NodeStatus {
	late := fmt.Errorf("no answer within %s", patience)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, late)
	defer cancel()
	status, err := callOn(ctx, s, n.Name, operation, none{}, local)
	switch {
	case err == nil:
		return status
	case errors.Is(err, errNotInstalled):
		return health.NotInstalled(n, err)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case answered(err):
		return health.Failing(n, err)
	}
	reason := errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("reach %s: ", n.Name)))
	if next := hint.Of(err); next != "" {
		reason = hint.Wrap(reason, "%s", next)
	}
	return health.Unreachable(n, reason)
}

// answered reports whether an error is the node's own word: its host is there.
func answered(err error) bool {
	var said *remoteError
	var exit *remote.ExitError
	return errors.As(err, &said) || errors.As(err, &exit)
}

func localStatus(ctx context.Context, s *session, _ none) (health.NodeStatus, error) {
	return health.Local(ctx, statusRequest(s)), nil
}

// keptCopies is what status shows of the base copies that this node keeps.
func (s *session) keptCopies() (health.Kept, error) {
	good, err := s.backups().Good()
	kept := health.Kept{Good: len(good)}
	if len(good) > 0 {
		kept.Newest = good[len(good)-1].Finished
	}
	return kept, err
}

func statusOperations() []operation {
	return []operation{
		onNode("status", "local", engine.Read, "what the node does and how far it is", localStatus),
		onNode("status", "examine", engine.Read, "the same, with everything that a check looks at", examineHere),
		onNode("status", "locate", engine.Read, "where the node has these WAL files", locateHere),
	}
}
