package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/boundary"
	"github.com/warmrun/warmrun/builtins/lab/ledger"
)

const (
	// commandPatience bounds one command. One that takes longer hangs.
	commandPatience = 4 * time.Minute
	// mendAfter is when a server that was killed is started again, as a service
	// manager does, where the run has not ended before.
	mendAfter = 3 * time.Second
	// settlePatience is how long the cluster may take to get where it belongs.
	settlePatience = 45 * time.Second
	// enoughRows are acknowledged before anything happens.
	enoughRows = 20
)

// scene is one row under way.
type scene struct {
	*rehearsal
	plan
	row    Row
	ledger *ledger.Ledger
	load   *ledger.Load
	watch  *watcher
	hand   operator
	// hit tells when something was killed.
	hit  chan struct{}
	dead atomic.Bool // it was
	said strings.Builder
}

// play makes one row.
func (r *rehearsal) play(ctx context.Context, p plan) (Row, error) {
	began := time.Now()
	s := &scene{rehearsal: r, plan: p, row: Row{Boundary: p.boundary, Killed: p.kill}, hit: make(chan struct{})}
	s.hand = operator{r: r, node: r.scenario.driver, back: p.back, said: &s.said}
	if p.boundary != nil {
		s.hand.at = p.boundary.At
	}
	err := s.begin(ctx)
	if err == nil {
		err = s.disturb(ctx)
	}
	if err == nil {
		err = s.judge(ctx)
	}
	err = errors.Join(err, s.end())
	s.row.Did = s.hand.did
	s.row.Seconds = time.Since(began).Seconds()
	if len(s.row.Problems) > 0 {
		s.row.Said = s.said.String()
	}
	return s.row, err
}

// begin puts the cluster back, and lets clients write.
func (s *scene) begin(ctx context.Context) (err error) {
	if err := s.lab.Restore(ctx, s.kept); err != nil {
		return err
	}
	path := filepath.Join(s.lab.Dir, "ledger")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.ledger, err = ledger.Create(path); err != nil {
		return err
	}
	config := ledger.LoadConfig{Writers: 2, Batch: 5, Every: 10 * time.Millisecond}
	for _, n := range s.lab.Nodes {
		config.Targets = append(config.Targets, s.lab.Target(n))
	}
	s.load = ledger.StartLoad(ctx, s.ledger, config)
	s.watch = watch(ctx, s.lab)
	if err := s.written(ctx, enoughRows); err != nil {
		return err
	}
	for _, a := range s.scenario.before {
		said, err := s.act(ctx, a)
		s.note(a.String(), said)
		if err != nil {
			return err
		}
	}
	s.row.start = roles(ctx, s.lab)
	return s.hand.look(ctx)
}

// end stops what begin has started.
func (s *scene) end() error {
	var errs []error
	if s.load != nil {
		errs = append(errs, s.load.Stop())
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	if s.watch != nil {
		if split := s.watch.end(); split != "" {
			s.row.problem("%s", split)
		}
	}
	return errors.Join(errs...)
}

// written waits until clients were told of some more rows.
func (s *scene) written(ctx context.Context, rows int64) error {
	want := s.ledger.Snapshot().Acknowledged.Len() + rows
	return eventually(ctx, "clients write", func() (bool, error) {
		return s.ledger.Snapshot().Acknowledged.Len() >= want, nil
	})
}

func (s *scene) note(what, said string) {
	fmt.Fprintf(&s.said, "%s\n%s", what, said)
}

// disturb runs the runbook, kills what the plan says, and has the operator bring
// it all to an end.
func (s *scene) disturb(ctx context.Context) error {
	s.holding(func(m boundary.Moment) { s.held(ctx, m) })
	if err := s.drive(ctx); err != nil {
		return err
	}
	s.row.Hit = s.dead.Load()
	if s.boundary != nil && !s.row.Hit {
		s.row.problem("this boundary was not reached")
	}
	if err := s.hand.settle(ctx, &s.row); err != nil {
		return err
	}
	if s.boundary == nil && s.row.Ended != "done" {
		s.row.problem("the undisturbed run was to end, and is %s", s.row.Ended)
	}
	// Nothing is wrong with the cluster where only the program was killed.
	if len(s.hand.did) > 0 && s.kill == Program && !s.back && s.row.Ended != "done" {
		s.row.problem("the run was gone on with, and is %s: what it had done until it was killed was not enough to end it", s.row.Ended)
	}
	return nil
}

// drive types the command and waits for its end. A server that was killed is
// started again by then.
func (s *scene) drive(ctx context.Context) error {
	type result struct {
		done outcome
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		done, err := s.run(ctx, s.scenario.driver, s.command()...)
		ended <- result{done, err}
	}()
	var mend <-chan time.Time
	hit := s.hit
	for {
		select {
		case <-hit:
			hit, mend = nil, time.After(mendAfter)
		case <-mend:
			mend = nil
			if err := s.mend(ctx); err != nil {
				s.row.problem("%v", err)
			}
		case got := <-ended:
			s.holding(nil) // whoever was held has been let go
			s.note(fmt.Sprintf("%s$ warmrun %s (%s)", s.scenario.driver, strings.Join(s.command(), " "), got.done.status()), got.done.all())
			if got.err != nil || got.done.code == 0 && s.stopped() {
				return got.err
			}
			return s.mend(ctx)
		}
	}
}

// stopped reports whether the run stops the server that was killed: no service
// manager starts it behind that.
func (s *scene) stopped() bool {
	return s.reference != nil && s.reference.Nodes[s.row.Node] == isStopped
}

// held is asked at each moment of the run, which goes on when it returns.
func (s *scene) held(ctx context.Context, m boundary.Moment) {
	if s.heard != nil {
		s.heard(m)
	}
	if s.boundary == nil || s.dead.Load() || !s.boundary.is(m) {
		return
	}
	s.dead.Store(true)
	defer close(s.hit)
	s.row.Node = m.Node
	switch s.kill {
	case Program:
		_ = syscall.Kill(m.PID, syscall.SIGKILL) // it is held, so it is there
	case Link:
		s.row.Node = ""
		s.lab.DropConnections()
	case Server:
		s.row.Node = s.serverToKill()
		if err := s.lab.Kill(ctx, s.row.Node); err != nil {
			s.row.problem("%v", err)
		}
	}
}

// serverToKill is the one that accepts writes, else one of the pair that runs.
func (s *scene) serverToKill() string {
	if now := s.watch.primaries(); len(now) > 0 {
		return now[0]
	}
	for _, n := range s.lab.Nodes {
		if n.Running() {
			return n.Name
		}
	}
	return s.scenario.driver
}

// mend starts the server that was killed, once.
func (s *scene) mend(ctx context.Context) error {
	if s.kill != Server || !s.dead.Load() || s.row.mended {
		return nil
	}
	s.row.mended = true
	n, err := s.lab.Node(s.row.Node)
	if err != nil || n.Running() {
		return err
	}
	// The run may start it at the same moment.
	if err := s.lab.StartServer(ctx, n); err != nil && !n.Running() {
		return fmt.Errorf("start the server of %s again: %w", n.Name, err)
	}
	return nil
}
