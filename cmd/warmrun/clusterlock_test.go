package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// locked is a cluster lock on nodes whose `warmrun lock` runs here, each in a
// home of its own.
type locked struct {
	*testing.T
	sites map[cluster.NodeName]*cluster.Site
	cut   map[cluster.NodeName]bool
}

func newLocked(t *testing.T) *locked {
	l := &locked{T: t, sites: map[cluster.NodeName]*cluster.Site{}, cut: map[cluster.NodeName]bool{}}
	var nodes []cluster.Node
	for _, name := range []cluster.NodeName{"db1", "db2", "dr"} {
		nodes = append(nodes, cluster.Node{Name: name, Role: cluster.RolePair, Home: t.TempDir(), PGData: "/none"})
	}
	for _, n := range nodes {
		l.sites[n.Name] = &cluster.Site{Home: n.Home, Self: n, Nodes: nodes}
	}
	return l
}

func (l *locked) session(on cluster.NodeName) *session {
	return newSession(l.sites[on], io.Discard, io.Discard)
}

// take takes the lock for a process on a node that drives a run.
func (l *locked) take(s *session) (*clusterLock, error) {
	l.Helper()
	lock := &clusterLock{s: s, holder: holderOf(s, "switchover"), stop: make(chan struct{}), there: l.there}
	for _, node := range s.site.Nodes {
		if err := lock.take(l.Context(), node, nil); err != nil {
			lock.release()
			return nil, err
		}
	}
	return lock, nil
}

func (l *locked) must(s *session) *clusterLock {
	l.Helper()
	lock, err := l.take(s)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(lock.release)
	return lock
}

func (l *locked) there(ctx context.Context, _ *session, node cluster.Node, request lockRequest) (*farLock, error) {
	if l.cut[node.Name] {
		return nil, errors.New("no route to host")
	}
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in := bufio.NewReader(far)
		line, err := in.ReadBytes('\n')
		var given lockRequest
		if err = errors.Join(err, json.Unmarshal(line, &given)); err == nil {
			_ = lendLock(context.WithoutCancel(ctx), l.sites[node.Name], given, in, far)
		}
		_ = far.Close()
	}()
	return beginLock(node.Name, nearEnd{near, ended}, request)
}

// nearEnd is the near end of a connection, closed when the far one has ended.
type nearEnd struct {
	net.Conn
	ended chan struct{}
}

func (p nearEnd) Close() error {
	err := p.Conn.Close()
	<-p.ended
	return err
}

// lose lets a node release the lock, as after too long a silence.
func (l *locked) lose(lock *clusterLock, nodes ...cluster.NodeName) {
	for _, far := range lock.far {
		for _, name := range nodes {
			if far.node == name {
				_ = far.stream.Close()
			}
		}
	}
}

// TestDriverWakesUp: dr drives a run, and loses its locks while it is stopped.
// Another process goes on with the run, under the same ID. When dr goes on, it
// finds that out whether that process is still at work or has ended, touches
// nothing of it, and says the same when it is asked again.
func TestDriverWakesUp(t *testing.T) {
	for _, ended := range []bool{false, true} {
		l := newLocked(t)
		paused := l.session("dr")
		paused.drive("run")
		first := l.must(paused)
		if err := first.check(t.Context(), ""); err != nil {
			t.Fatalf("undisturbed: %v", err)
		}
		l.lose(first, "db1", "db2")
		_ = first.here.Close() // its host is cut off, so nobody can ask it
		next := l.session("db2")
		next.drive("run")
		second := l.must(next)
		if ended {
			second.release()
			second.stop = make(chan struct{})
		}
		for range 2 {
			err := first.check(t.Context(), "")
			if !errors.Is(err, engine.ErrOvertaken) || exitCode(err) != exitLocked || !strings.Contains(err.Error(), "has come in between") {
				t.Errorf("the new driver has ended: %v: %v", ended, err)
			}
		}
		if !ended {
			if err := second.check(t.Context(), ""); err != nil {
				t.Errorf("the new driver: %v", err)
			}
		}
	}
}

// TestSameDriverRegains: a lock that nobody has had since comes back, and one of a
// node that cannot be reached for a while is asked for again.
func TestSameDriverRegains(t *testing.T) {
	l := newLocked(t)
	s := l.session("dr")
	s.drive("run")
	first := l.must(s)
	l.lose(first, "db1", "db2")
	l.cut["db2"] = true
	for range 2 {
		if err := first.check(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	l.cut["db2"] = false
	other := l.session("db2")
	other.drive("other")
	lock, err := takeLock(other.site, clusterLockName, holderOf(other, "failover"))
	if err == nil {
		err = lock.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := first.check(t.Context(), ""); !errors.Is(err, engine.ErrOvertaken) || !strings.Contains(err.Error(), "failover (other)") {
		t.Errorf("got %v, want to be told of the run that db2 has seen meanwhile", err)
	}
	if lock, reply := takeFor(other.site, lockRequest{lockHolder: holderOf(other, "failover"), Again: true}); lock == nil {
		t.Errorf("the one that was asked about has lost its claim to %v", reply.Holder)
	} else if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

// TestPartHoldsTheLock: a part of the run that has lost its caller takes the lock
// of its node for itself, and is not taken for somebody else.
func TestPartHoldsTheLock(t *testing.T) {
	l := newLocked(t)
	s := l.session("dr")
	s.drive("run")
	first := l.must(s)
	part := l.session("db2")
	part.joins("run", s.driver)
	lent := &lentLock{s: part, book: "triggerStandby"}
	check := func(who string, check func(context.Context, string) error) {
		t.Helper()
		if err := check(t.Context(), ""); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	check("the part under the lock of its caller", lent.check)
	l.lose(first, "db2")
	check("the part, whose caller has lost the lock", lent.check)
	check("the caller", first.check)
	lent.release()
	check("the caller, once the part has ended", first.check)
	if first.far[1].lost != nil {
		t.Errorf("the lock was not had again: %v", first.far[1].lost)
	}
}

// TestStartPrimaryAsksForTheDriver: what starts an old primary is refused to a
// process whose run another one drives now. A part of the run is not.
func TestStartPrimaryAsksForTheDriver(t *testing.T) {
	l := newLocked(t)
	driver := l.session("db1")
	driver.drive("run")
	lock, err := takeLock(driver.site, clusterLockName, holderOf(driver, "switchover"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, test := range []struct {
		driver string
		part   bool
		fine   bool
	}{{driver.driver, false, true}, {"old", false, false}, {"", false, false}, {"old", true, true}} {
		s := l.session("db1")
		s.run, s.driver, s.part = "run", test.driver, test.part
		done := false
		err := withLockHere(s, "startPrimary", func() error { done = true; return nil })
		if (err == nil) != test.fine || done != test.fine {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestNodeInDoubt: a node that cannot read which of its runs have ended is not
// passed over, and nor is the second of two parts that are under way there.
func TestNodeInDoubt(t *testing.T) {
	l := newLocked(t)
	if err := markOpen(l.sites["db2"], "old"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Create(journalPath(l.sites["db2"], "old"))
	if err == nil {
		_, err = j.Append([]byte("no JSON"))
	}
	if err = errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	s := l.session("dr")
	s.drive("run")
	_, err = l.take(s)
	if err == nil || engine.HasBegun(err) || !strings.Contains(err.Error(), "db2 cannot tell which runs are unfinished") || !strings.Contains(hint.Of(err), "db2") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}

// TestPartsInTheWay looks at every part that is under way on a node.
func TestPartsInTheWay(t *testing.T) {
	l := newLocked(t)
	for _, outermost := range []string{"run", "other"} {
		j, err := journal.Create(journalPath(l.sites["db2"], outermost+".1"))
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		text, err := json.Marshal(runEntry{Head: &runHead{ID: outermost + ".1", Outermost: outermost, Lock: "cluster", Runbook: "flushPrimary"}})
		if err == nil {
			_, err = j.Append(text)
		}
		if err = errors.Join(err, markOpen(l.sites["db2"], outermost+".1")); err != nil {
			t.Fatal(err)
		}
	}
	for _, run := range []string{"run", "other"} {
		s := l.session("dr")
		s.drive(run)
		if _, err := l.take(s); err == nil || exitCode(err) != exitLocked {
			t.Errorf("run %s beside the part of another: %v", run, err)
		}
	}
}
