package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// split is a cluster of machines whose links are cut, with a client at each node.
type split struct {
	state
	clients          *witnesses
	primary, standby *cluster.Node
}

func newSplit(t *testing.T, o cluster.Options) *split {
	t.Helper()
	o.Machines, o.SegmentSize = true, 1
	// Archives differ in what was shipped when, and not by a timer.
	o.Settings = append(o.Settings, "archive_timeout = 0")
	x := &split{state: state{T: t, Cluster: cluster.New(t, o)}}
	x.primary, x.standby = x.DB1, x.DB2
	for _, n := range x.Nodes() {
		// A connection that is silent for four seconds is given up.
		n.Write(filepath.Join(n.Dir, ".ssh", "config"), "Host *\n  ServerAliveInterval 2\n  ServerAliveCountMax 2\n")
	}
	x.DB1.Must("distrib")
	x.clients = startWitnesses(t, x.Cluster)
	x.DB2.Must("configStandby")
	x.DB1.Must("copyToStandby", "--start")
	if x.DR != nil {
		x.DR.Must("configStandby")
		x.DB1.Must("copyToDR", "--start")
	}
	x.DB2.WaitReplay(x.DB1, catchUp)
	return x
}

// Parts that nodes have when a test's row begins.
const (
	primaryNode = 'p'
	standbyNode = 's'
	drNode      = 'd'
)

func (x *split) node(part byte) *cluster.Node {
	switch part {
	case primaryNode:
		return x.primary
	case standbyNode:
		return x.standby
	}
	return x.DR
}

// links are those of "p|s", or all of a node's.
func (x *split) cut(links string) (heal func()) {
	x.Helper()
	a := x.node(links[0])
	if len(links) == 1 {
		a.CutAll()
		return a.RestoreAll
	}
	b := x.node(links[2])
	a.CutLink(b)
	return func() { a.RestoreLink(b) }
}

// hold has the first run of a runbook on the node wait before one of its steps,
// until it is let go.
func (x *split) hold(n *cluster.Node, runbook, step string) (reached, letGo func()) {
	x.Helper()
	held, free := filepath.Join(n.Dir, "held"), filepath.Join(n.Dir, "free")
	place(n, filepath.Join(n.Home, "global", "runbooks", runbook+".d", "hold.lua"), `return extension {
  api = 1, extends = "`+runbook+`", summary = "wait for the test",
  before = { ["`+step+`"] = step { "hold", undo = false, run = function(c)
    shell.read(c.node, "test -e `+free+` || touch `+held+`; while test ! -e `+free+`; do sleep 0.02; done")
  end } },
}`)(x.T)
	return func() {
			cluster.Eventually(x, time.Minute, "the run has come to "+step, func() (bool, error) { return n.Exists(held), nil })
		}, func() {
			x.Helper()
			place(n, free, "")(x.T)
			if err := os.Remove(n.Path(held)); err != nil {
				x.Fatal(err)
			}
		}
}

// heldAt is where a row's run is held: the node, the runbook there, and its step.
func (x *split) heldAt(r row) (n *cluster.Node, runbook, step string) {
	runbook, step, part := strings.Cut(r.before, "/")
	switch {
	case !part:
		return x.node(r.on), r.change, r.before
	case runbook == "flushPrimary":
		return x.primary, runbook, step
	case r.change == "switchover":
		return x.standby, runbook, step
	}
	return x.node(r.on), runbook, step
}

// row is a change of state with links that are cut.
type row struct {
	links  string // "p|s", or a node alone
	change string
	// before is the step that the run is held at when the links are cut, as "fence",
	// or "flushPrimary/stop" in a runbook that it calls; empty means that they are cut
	// before the run begins.
	before string
	on     byte // the node that it is run on
	args   []string
	code   int
	says   string
	after  func(*split, row) // with the links back
	quick  bool
}

func (r row) String() string {
	when := "before it"
	if r.before != "" {
		when = "at its step " + r.before
	}
	return strings.TrimSpace(strings.Join([]string{r.change, "on", string(r.on), r.links, "cut", when, strings.Join(r.args, " ")}, " "))
}

// allLinks has every row tried; without it those are that stand for the others.
func allLinks() bool { return os.Getenv("SPLIT_BRAIN") == "all" }

func (x *split) play(rows []row) {
	for _, r := range rows {
		if !r.quick && !allLinks() {
			continue
		}
		ok := x.Run(r.String(), func(t *testing.T) {
			at := *x
			at.T = t
			at.try(r)
			x.primary, x.standby = at.primary, at.standby
		})
		if !ok {
			return
		}
	}
}

// part is what needs more than a row.
func (x *split) part(name string, run func(*split)) {
	if x.Failed() {
		return
	}
	x.Run(name, func(t *testing.T) {
		at := *x
		at.T = t
		run(&at)
		at.whole()
		x.primary, x.standby = at.primary, at.standby
	})
}

// try cuts the links, runs the command and heals them; then the cluster must be
// whole again, with nothing lost on the way.
func (x *split) try(r row) {
	x.clients.more(x, x.primary)
	x.standby.WaitReplay(x.primary, catchUp)
	if r.change == "failover" {
		x.primary.KillServer()
	}
	args := append([]string{r.change}, r.args...)
	if r.change == "switchover" {
		args = append(args, "--drain", "0s")
	}
	n := x.node(r.on)
	var heal func()
	var result cluster.Result
	if r.before == "" {
		heal = x.cut(r.links)
		result = n.Run(args...)
	} else {
		reached, letGo := x.hold(x.heldAt(r))
		run := x.start(n, args...)
		reached()
		heal = x.cut(r.links)
		letGo()
		result = run.end()
	}
	x.Logf("%s", result)
	if result.Code != r.code || !strings.Contains(result.Stdout+result.Stderr, r.says) {
		x.Errorf("want exit status %d and %q", r.code, r.says)
	}
	if result.Code != 0 && strings.Count(result.Stderr, "warmrun: hint: ") != 1 {
		x.Errorf("want a hint")
	}
	x.clients.oneWriter(x)
	heal()
	r.after(x, r)
	x.whole()
}

// whole: the standby follows the primary, both have every row, one history is
// everywhere, and nobody wrote beside the primary.
func (x *split) whole() {
	x.Helper()
	x.clients.more(x, x.primary)
	rows := x.clients.rows()
	x.standby.WaitReplay(x.primary, catchUp)
	x.clients.complete(x, x.primary, rows)
	x.clients.complete(x, x.standby, rows)
	x.clients.oneWriter(x)
	oneHistory(x, x.Cluster, x.primary)
}

// What becomes of the cluster when the links are back.

// stays: nothing was changed.
func stays(x *split, _ row) {}

// moved: the two have changed places.
func moved(x *split, _ row) { x.primary, x.standby = x.standby, x.primary }

// goneOnWith: the run comes to its end.
func goneOnWith(x *split, r row) {
	n := x.node(r.on)
	x.resumed(n, x.unfinished(n))
	moved(x, r)
}

// undone: the run is undone.
func undone(x *split, r row) {
	n := x.node(r.on)
	if result := x.goOnWith(n, "rollback", x.unfinished(n)); result.Code != 0 {
		x.Fatalf("%s\nwant the run undone", result)
	}
}

// rejoins: the dead primary becomes a standby of the new one, once the lock that the
// run had behind the cut is free.
func rejoins(x *split, r row) {
	x.unlocked(x.primary, "rejoin", "--yes")
	moved(x, r)
}

// unlocked runs a command that must succeed once no locks are in its way.
func (x *split) unlocked(n *cluster.Node, args ...string) {
	x.Helper()
	var result cluster.Result
	cluster.Eventually(x, 2*time.Minute, "the locks of the run behind the cut are free", func() (bool, error) {
		result = n.Run(args...)
		return result.Code != 5, nil
	})
	if result.Code != 0 {
		x.Fatalf("%s\nwant it to go through", result)
	}
}

// takenBack: the dead primary is started again as the primary that it was.
func takenBack(x *split, _ row) { x.unlocked(x.primary, "startPrimary") }

// again: the same goes through.
func again(x *split, r row) {
	x.unlocked(x.node(r.on), r.change, "--yes")
	rejoins(x, r)
}

func TestSplitBrain(t *testing.T) {
	t.Parallel()
	x := newSplit(t, cluster.Options{})
	yes, accepted := []string{"--yes"}, []string{"--yes", "--accept-split"}
	x.play([]row{
		{links: "p|s", change: "switchover", on: 'p', code: 1, says: "look at ", after: stays, quick: true},
		{links: "p", change: "switchover", on: 'p', code: 1, says: "look at ", after: stays},
		{links: "p", change: "switchover", on: 's', code: 1, says: "look at ", after: stays},
		{links: "p|d", change: "switchover", on: 's', code: 0, after: moved, quick: true},
		{links: "s|d", change: "switchover", on: 'p', code: 0, after: moved},
		{links: "s|d", change: "switchover", on: 's', code: 0, after: moved, quick: true},
		{links: "s|d", change: "switchover", before: "promote", on: 's', code: 0, after: moved},
		{links: "p|s", change: "switchover", before: "promote", on: 'p', code: 4, says: "warmrun runs rollback", after: undone},
		{links: "s", change: "switchover", before: "promote", on: 'p', code: 4, says: "warmrun runs rollback", after: undone},
		{links: "p", change: "switchover", before: "promote", on: 's', code: 4, says: "warmrun runs rollback", after: undone},
		{links: "p", change: "switchover", before: "flushPrimary/stop", on: 's', code: 4, says: "warmrun runs rollback", after: undone},
		{links: "p", change: "switchover", before: "flushPrimary/flush", on: 's', code: 4, says: "warmrun runs rollback", after: undone},
		{links: "p|s", change: "switchover", before: "triggerStandby/trigger", on: 'p', code: 4, says: "warmrun runs resume", after: goneOnWith},
		{links: "p|s", change: "switchover", before: "triggerStandby/verify", on: 'p', code: 4, says: "warmrun runs resume", after: goneOnWith, quick: true},
		{links: "p|s", change: "switchover", before: "triggerStandby/verify", on: 's', code: 4, says: "warmrun runs resume", after: goneOnWith},
		{links: "p|s", change: "switchover", before: "follow", on: 's', code: 4, says: "warmrun runs resume", after: goneOnWith},
		{links: "p|d", change: "failover", on: 's', args: yes, code: 0, says: "Nothing is lost", after: rejoins, quick: true},
		{links: "p|s", change: "failover", on: 's', args: yes, code: 1, says: "--accept-split", after: again, quick: true},
		{links: "s|d", change: "failover", on: 's', args: yes, code: 1, says: "dr, the DR node, cannot be asked whether it was promoted", after: again},
		{links: "p|s", change: "failover", before: "salvage", on: 's', args: yes, code: 1, says: "--accept-split", after: again},
		{links: "p|s", change: "failover", before: "promote", on: 's', args: yes, code: 1, says: "--accept-split", after: again, quick: true},
		{links: "s|d", change: "failover", before: "promote", on: 's', args: yes, code: 1, says: "--accept-split", after: again},
		{links: "s", change: "failover", before: "promote", on: 's', args: yes, code: 1, says: "--accept-split", after: again},
		{links: "p|s", change: "failover", before: "promote", on: 's', args: accepted, code: 0, says: "RISK: ", after: rejoins},
		{links: "p|s", change: "failover", before: "triggerStandby/trigger", on: 's', args: yes, code: 0, says: "Nothing is lost", after: rejoins, quick: true},
		{links: "p|s", change: "failover", before: "triggerStandby/verify", on: 's', args: yes, code: 0, says: "Nothing is lost", after: rejoins},
		{links: "s", change: "failover", before: "triggerStandby/verify", on: 's', args: yes, code: 0, says: "Nothing is lost", after: rejoins},
		{links: "p", change: "failover", on: 'd', args: yes, code: 1, says: "--accept-split", after: takenBack},
	})
	x.part("the primary lives on behind the cut", (*split).livingPrimary)
	if allLinks() {
		x.part("the primary lives on alone", (*split).lonelyPrimary)
		x.part("the site's fencing hook", (*split).fencingHook)
	}
}

// TestSplitBrainOfTwo: there is nobody else to ask.
func TestSplitBrainOfTwo(t *testing.T) {
	t.Parallel()
	x := newSplit(t, cluster.Options{Pair: true})
	x.play([]row{
		{links: "p|s", change: "switchover", on: 's', code: 1, says: "cannot", after: stays, quick: true},
		{links: "p|s", change: "switchover", before: "promote", on: 's', code: 4, says: "warmrun runs rollback", after: undone},
		{links: "p|s", change: "switchover", before: "triggerStandby/verify", on: 'p', code: 4, says: "warmrun runs resume", after: goneOnWith},
		{links: "p|s", change: "failover", before: "promote", on: 's', args: []string{"--yes"}, code: 1, says: "--accept-split", after: again},
		{links: "p|s", change: "failover", before: "triggerStandby/verify", on: 's', args: []string{"--yes"}, code: 0, says: "Nothing is lost", after: rejoins},
	})
	x.part("the site's fencing hook", (*split).fencingHook)
	x.part("its word is not needed", (*split).hookOverruled)
}
