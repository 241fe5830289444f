package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// clusterLock is the lock of a run on every node that could be reached when it
// began. Each node has a part of its own, and they are taken in the order of
// the nodes' names: of two runs that begin at the same time one comes second at
// the first node that both can reach, before either has done anything. A node
// that cannot be reached is passed over; what may be promoted or started beside
// it is for the checks of the runbooks to decide.
type clusterLock struct {
	s      *session
	holder lockHolder

	mu   sync.Mutex
	here *lockFile
	far  []*farLock
	// run is the run whose journal the other nodes keep copies of, once it has one.
	run     string
	journal *journal.Journal
	// unfinished are runs that nodes know to be so.
	unfinished []string
	// before are the runs that had the nodes' locks last.
	before []string
	// overtaken is why the run is not this process's to drive any more.
	overtaken error
	// there takes the lock of another node.
	there func(context.Context, *session, cluster.Node, lockRequest) (*farLock, error)

	stop chan struct{} // ends the heartbeat
	beat sync.WaitGroup
}

// lockHeartbeat is how often a lock is renewed; see lockSilence.
const lockHeartbeat = 5 * time.Second

// lockCluster takes the lock on all nodes, or fails with a lockedError and
// holds none.
func lockCluster(ctx context.Context, s *session, book string) (*clusterLock, error) {
	l := &clusterLock{s: s, holder: holderOf(s, book), stop: make(chan struct{}), there: lockThere}
	nodes := slices.SortedFunc(slices.Values(s.site.Nodes), func(a, b cluster.Node) int { return cmp.Compare(a.Name, b.Name) })
	unreachable := dialAll(ctx, s, nodes)
	for _, node := range nodes {
		if err := l.take(ctx, node, unreachable[node.Name]); err != nil {
			l.release()
			return nil, err
		}
	}
	l.beat.Go(l.keep)
	return l, nil
}

// dialAll connects to all nodes at once, since one that is gone takes its time,
// and says which could not be reached.
func dialAll(ctx context.Context, s *session, nodes []cluster.Node) map[cluster.NodeName]error {
	failed := make([]error, len(nodes))
	var group sync.WaitGroup
	for i, node := range nodes {
		if !s.site.IsSelf(node.Name) {
			group.Go(func() { _, failed[i] = s.client(ctx, node.Name) })
		}
	}
	group.Wait()
	unreachable := map[cluster.NodeName]error{}
	for i, node := range nodes {
		if failed[i] != nil {
			unreachable[node.Name] = failed[i]
		}
	}
	return unreachable
}

// take takes one node's part. Only the part of this node must be had.
func (l *clusterLock) take(ctx context.Context, node cluster.Node, unreachable error) error {
	if l.s.site.IsSelf(node.Name) {
		here, err := takeLock(l.s.site, clusterLockName, l.holder)
		if l.here = here; here != nil {
			l.before = append(l.before, here.before.Run)
		}
		return lockedHere(l.s, err)
	}
	err := unreachable
	if err == nil {
		var far *farLock
		if far, err = l.there(ctx, l.s, node, lockRequest{lockHolder: l.holder}); err == nil {
			l.far = append(l.far, far)
			l.unfinished, l.before = append(l.unfinished, far.unfinished...), append(l.before, far.before)
			return nil
		}
	}
	return l.passOver(ctx, node.Name, err)
}

// passOver goes on without the part of a node, but not past another run.
func (l *clusterLock) passOver(ctx context.Context, node cluster.NodeName, err error) error {
	var held *heldError
	var doubt *doubtError
	switch {
	case errors.As(err, &held):
		return heldBy(held.holder, node)
	case errors.As(err, &doubt):
		return engine.NotBegun(hint.Wrap(fmt.Errorf("%s cannot tell which runs are unfinished: %w", node, doubt), "on %s: %s", node, doubt.next))
	case ctx.Err() != nil:
		return engine.NotBegun(context.Cause(ctx))
	case notInstalled(err):
		return nil // no run can be under way there
	}
	fmt.Fprintf(l.s.err, "warmrun: %s is not locked for this run (%v): start no other run there meanwhile\n", node, oneLine(err))
	return nil
}

// locked reports whether the run holds another node's lock.
func (l *clusterLock) locked(node cluster.NodeName) bool {
	return slices.ContainsFunc(l.far, func(far *farLock) bool { return far.node == node })
}

// keep renews the locks until the run has ended.
func (l *clusterLock) keep() {
	tick := time.NewTicker(lockHeartbeat)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			l.mu.Lock()
			far := slices.Clone(l.far)
			l.mu.Unlock()
			for _, lock := range far {
				_ = lock.alive() // check asks again, and acts on it
			}
		}
	}
}

// check makes sure that the run still holds its locks, before a step of it or the
// undo of one. A run that was stopped or cut off for a while may have lost them;
// when another run, or another driver of this one, has had one of them meanwhile,
// nothing that was checked holds any more. A node that cannot be asked then is
// gone on without, and asked again the next time.
func (l *clusterLock) check(ctx context.Context, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.overtaken != nil {
		return l.overtaken
	}
	alive := make([]error, len(l.far))
	var group sync.WaitGroup
	for i, lock := range l.far {
		group.Go(func() { alive[i] = lock.alive() })
	}
	group.Wait()
	for i, lock := range l.far {
		if alive[i] == nil {
			continue
		}
		again, err := l.regain(ctx, lock)
		if again != nil {
			l.far[i] = again
		}
		if errors.Is(err, engine.ErrOvertaken) {
			l.overtaken = err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// missedPatience is how long a node is waited for that could not be asked before.
const missedPatience = 3 * time.Second

// regain takes a lock again that was lost. Nil without an error is a node to go
// on without.
func (l *clusterLock) regain(ctx context.Context, lost *farLock) (*farLock, error) {
	lost.release()
	node, err := l.s.site.Node(lost.node)
	if err != nil {
		return nil, err
	}
	if lost.missed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, missedPatience)
		defer cancel()
	}
	l.s.forget(node.Name) // what has lost the lock may be the connection
	again, err := l.there(ctx, l.s, node, lockRequest{lockHolder: l.holder, Again: true})
	var held *heldError
	switch {
	case err == nil:
		l.copyWhole(again)
		return again, nil
	case errors.As(err, &held) && held.holder.same(l.holder):
		return nil, nil // a part of this run has taken it, and is under way there
	case errors.As(err, &held):
		return nil, overtakenBy(held.holder, node.Name, lost.lost)
	case lost.missed:
		return nil, nil // which was said
	}
	lost.missed = ctx.Err() == nil
	return nil, l.passOver(ctx, node.Name, err)
}

// overtakenBy is why a run ends where it stands that had lost a lock.
func overtakenBy(h lockHolder, on cluster.NodeName, lost error) error {
	err := fmt.Errorf("the lock on %s was lost (%v), and %s has come in between: %w", on, lost, h, engine.ErrOvertaken)
	return lockedError{hint.Wrap(err, "nothing was undone, for that one may rest on it; see: warmrun runs list")}
}

// follow sends the whole journal of the run to the locked nodes. From then on
// copy keeps them up to date.
func (l *clusterLock) follow(run string, j *journal.Journal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run, l.journal = run, j
	l.each(l.copyWhole)
}

func (l *clusterLock) copyWhole(far *farLock) {
	if l.journal == nil {
		return
	}
	lines, err := l.journal.Lines()
	if err == nil {
		err = far.copy(copyRequest{Copy: l.run, Whole: true, Lines: string(lines)})
	}
	l.complain(far, err)
}

// copy sends lines of the journal to the locked nodes, and returns when all that
// answer have them on disk. A node that does not is passed over: check sends it
// all when it is back.
func (l *clusterLock) copy(lines []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.each(func(far *farLock) {
		l.complain(far, far.copy(copyRequest{Copy: l.run, Lines: string(lines)}))
	})
}

func (l *clusterLock) each(do func(*farLock)) {
	var group sync.WaitGroup
	for _, far := range l.far {
		group.Go(func() { do(far) })
	}
	group.Wait()
}

func (l *clusterLock) complain(far *farLock, err error) {
	if err != nil {
		fmt.Fprintf(l.s.err, "warmrun: %s keeps no copy of this run's journal, and could not take it over: %v\n", far.node, oneLine(err))
	}
}

// release gives all locks back.
func (l *clusterLock) release() {
	close(l.stop)
	l.beat.Wait()
	var group sync.WaitGroup
	for _, lock := range l.far {
		group.Go(lock.release)
	}
	group.Wait()
	if l.here != nil {
		_ = l.here.Close() // nothing was written that must last
	}
}
