package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
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
	nodes := make([]health.NodeStatus, len(s.site.Nodes))
	var group sync.WaitGroup
	for i, n := range s.site.Nodes {
		group.Go(func() { nodes[i] = nodeStatus(ctx, s, n) })
	}
	group.Wait()
	report := health.Gather(nodes...)
	if !c.JSON {
		return errors.Join(report.Render(foldTo(p.out), columnsOf(p.out)), c.tellUnfinished(p, s))
	}
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// tellUnfinished names the runs that nobody drives any more.
func (c *statusCommand) tellUnfinished(p *process, s *session) error {
	open, _, err := inTheWay(s.site)
	if err != nil {
		return err
	}
	for _, r := range open {
		held, err := journal.Held(journalPath(s.site, r.Head.ID))
		if err != nil {
			return err
		}
		if !held {
			fmt.Fprintf(foldTo(p.out), "\nrun %s is unfinished; %s\n", r.Head.ID, waysOut(r))
		}
	}
	return nil
}

// How long status waits: for a connection, and for a node's whole answer. The
// server there is given 5 seconds of it.
const (
	statusConnect = 5 * time.Second
	statusAnswer  = 12 * time.Second
)

func nodeStatus(ctx context.Context, s *session, n cluster.Node) health.NodeStatus {
	late := fmt.Errorf("no answer within %s", statusAnswer)
	ctx, cancel := context.WithTimeoutCause(ctx, statusAnswer, late)
	defer cancel()
	status, err := callOn(ctx, s, n.Name, "status.local", none{}, localStatus)
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
	return health.Unreachable(n, errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("reach %s: ", n.Name))))
}

// answered reports whether an error is the node's own word: its host is there.
func answered(err error) bool {
	var said *remoteError
	var exit *remote.ExitError
	return errors.As(err, &said) || errors.As(err, &exit)
}

func localStatus(ctx context.Context, s *session, _ none) (health.NodeStatus, error) {
	return health.Local(ctx, health.Request{
		Node: s.site.Self, Server: s.server(), Active: s.site.ArchivingActive, Program: version, Compress: s.site.Archiving.Compress,
		SQL: func(ctx context.Context) (*psql.Conn, error) { return s.sql(ctx, s.site.Self.Name) },
	}), nil
}

func statusOperations() []operation {
	return []operation{
		onNode("status", "local", engine.Read, "what the node does and how far it is", localStatus),
	}
}
