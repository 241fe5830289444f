package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// checkCommand looks at everything that is known to go wrong.
type checkCommand struct {
	JSON       bool          `name:"json" help:"Print JSON."`
	Prometheus string        `help:"Write the figures and verdicts into this file, in one step, for the textfile collector of Prometheus' node exporter." placeholder:"FILE"`
	WarnLag    int64         `name:"warn-lag" type:"size" default:"160MB" help:"WAL that a node may be behind before it is a warning (default: ${default})." placeholder:"SIZE"`
	CritLag    int64         `name:"crit-lag" type:"size" default:"1GB" help:"WAL that a node may be behind before it is critical (default: ${default})." placeholder:"SIZE"`
	WarnFree   float64       `name:"warn-free" default:"10" help:"How much of each disk must be free, in percent, or it is a warning (default: ${default})." placeholder:"PERCENT"`
	CritFree   float64       `name:"crit-free" default:"2" help:"How much of each disk must be free, in percent, or it is critical (default: ${default})." placeholder:"PERCENT"`
	Verify     bool          `help:"Compare base copies from which no server was started with their manifests as well, which reads all of them."`
	BackupAge  time.Duration `name:"backup-age" default:"192h" help:"How old the newest base copy may be, 0 for any age (default: ${default})." placeholder:"TIME"`
}

// Help is what the flags do not say.
func (c *checkCommand) Help() string {
	return `Every node is examined at the same time, from whatever node this is run on, and nothing is changed. The first line is a summary with performance data, as Nagios plugins print it; a line for each verdict follows, the bad ones first, with what to do.

The exit code is that of a plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.`
}

// pluginError carries the exit status of a monitoring plugin. What there is to
// say has been printed.
type pluginError struct{ level health.Level }

func (e pluginError) Error() string { return e.level.String() }

// Run prints the verdicts. That nothing can be found out at all is UNKNOWN.
func (c *checkCommand) Run(ctx context.Context, p *process, g *globals) error {
	up, err := c.check(ctx, p, *g)
	if err == nil && c.Prometheus != "" {
		var text bytes.Buffer
		if err = up.Prometheus(&text); err == nil {
			err = atomicfile.WriteFile(c.Prometheus, text.Bytes(), 0o644)
		}
	}
	if err != nil {
		message, next := describe(err)
		fmt.Fprintf(p.out, "WARMRUN UNKNOWN - %s\n", message)
		if next != "" {
			fmt.Fprintf(p.out, "next: %s\n", next)
		}
		return pluginError{health.Unknown}
	}
	if c.JSON {
		err = printJSON(p.out, up)
	} else {
		err = up.Plugin(p.out)
	}
	if err == nil && up.Level != health.OK {
		err = pluginError{up.Level}
	}
	return err
}

func (c *checkCommand) check(ctx context.Context, p *process, g globals) (health.Checkup, error) {
	if c.CritLag < c.WarnLag {
		return health.Checkup{}, errors.New("--crit-lag is less than --warn-lag")
	}
	if inOrder := 0 <= c.CritFree && c.CritFree <= c.WarnFree && c.WarnFree <= 100; !inOrder { // so is no NaN
		return health.Checkup{}, errors.New("--warn-free and --crit-free must be percentages from 0 to 100, and --crit-free not the greater one")
	}
	s, err := p.session(g)
	if err != nil {
		return health.Checkup{}, err
	}
	defer s.Close()
	nodes := examineAll(ctx, s)
	if c.Verify {
		verifyFresh(ctx, s, nodes)
	}
	limits := health.Limits{LagWarning: c.WarnLag, LagCritical: c.CritLag, FreeWarning: c.WarnFree, FreeCritical: c.CritFree, BackupAge: c.BackupAge}
	return health.Check(limits, nodes...), nil
}

// verifyFresh compares the base copies from which no server was started, on all
// nodes at once.
func verifyFresh(ctx context.Context, s *session, nodes []health.NodeStatus) {
	var group sync.WaitGroup
	for _, n := range nodes {
		if n.Facts == nil || !n.Facts.FreshCopy {
			continue
		}
		group.Go(func() {
			n.Facts.CopyState = health.CopyWhole
			if _, err := callOn(ctx, s, n.Node, "copy.verify", none{}, verifyBase); err != nil {
				n.Facts.CopyState, n.Facts.CopyWrong = health.CopyDamaged, oneLine(err)
			}
		})
	}
	group.Wait()
}
