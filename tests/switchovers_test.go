package tests

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// changesWanted is how often each change of state is made under load: make
// switchovers asks for more.
func changesWanted(t *testing.T, name string) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 2
	}
	times, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return times
}

// underLoad is a cluster whose clients never stop writing.
type underLoad struct {
	*testing.T
	*cluster.Cluster
	load             *cluster.Load
	primary, standby *cluster.Node
}

func newUnderLoad(t *testing.T, o cluster.Options) *underLoad {
	t.Helper()
	o.Settings = append(o.Settings, "wal_log_hints = on")
	c := cluster.New(t, o)
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DR.Must("configStandby")
	u := &underLoad{T: t, Cluster: c, load: c.StartLoad(3, 5, 5*time.Millisecond), primary: c.DB1, standby: c.DB2}
	u.more()
	c.DB1.Must("copyToStandby", "--start")
	c.DB1.Must("copyToDR", "--start")
	c.DB2.WaitReplay(c.DB1, catchUp)
	return u
}

func (u *underLoad) more() {
	u.Helper()
	u.load.WaitRows(u.load.Ledger.Snapshot().Acknowledged.Len()+200, time.Minute)
}

// changed swaps the parts and compares sets of rows, on the new primary alone or
// on both.
func (u *underLoad) changed(what string, both bool) {
	u.Helper()
	u.primary, u.standby = u.standby, u.primary
	u.more()
	resume := u.load.Pause()
	defer resume()
	must := u.load.Ledger.Snapshot()
	cluster.Check(u, what, u.primary, must)
	if both {
		u.standby.WaitReplay(u.primary, catchUp)
		cluster.Check(u, what, u.standby, must)
	}
}

// TestSwitchovers: back and forth under load, and no acknowledged row is lost or
// there twice.
func TestSwitchovers(t *testing.T) {
	t.Parallel()
	u := newUnderLoad(t, cluster.Options{})
	for i := range changesWanted(t, "SWITCHOVERS") {
		u.more()
		node := []*cluster.Node{u.primary, u.standby, u.DR}[i%3]
		node.Must("switchover", "--drain", "0s", "--max-backlog", "100000")
		u.changed("switchover "+strconv.Itoa(i+1), true)
	}
}

// TestFailoversUnderLoad: the server is killed, and its host lives: nothing is lost.
func TestFailoversUnderLoad(t *testing.T) {
	t.Parallel()
	u := newUnderLoad(t, cluster.Options{})
	for i := range changesWanted(t, "FAILOVERS") {
		u.more()
		u.primary.KillServer()
		u.standby.Must("failover", "--yes")
		u.changed("failover "+strconv.Itoa(i+1), false)
		u.standby.Must("rejoin", "--yes")
		u.standby.WaitReplay(u.primary, catchUp)
	}
}

// TestHostsLost: the links to the primary are cut and all that runs on it is
// killed. What is missing then lies behind what was announced.
func TestHostsLost(t *testing.T) {
	t.Parallel()
	u := newUnderLoad(t, cluster.Options{Machines: true})
	var gone ledger.Set // with the hosts before
	for i := range changesWanted(t, "HOSTS_LOST") {
		u.more()
		u.primary.Cut()
		written := u.load.Ledger.Snapshot()
		said := u.standby.Must("failover", "--accept-split", "--yes")
		match := announced.FindStringSubmatch(said.Stdout + said.Stderr)
		if match == nil {
			t.Fatalf("the failover announces no loss:\n%s", said)
		}
		lsn, err := walcore.ParseLSN(match[1])
		if err != nil {
			t.Fatal(err)
		}
		u.primary, u.standby = u.standby, u.primary
		u.more()
		rows := u.primary.Rows()
		if early := cluster.AcknowledgedBefore(t, written, lsn).Minus(rows).Minus(gone); len(early) > 0 {
			t.Errorf("host lost %d: rows %s are missing that were written before %s, where the loss was announced to begin", i+1, early, lsn)
		}
		lost := written.Acknowledged.Minus(rows)
		t.Logf("host lost %d: %d rows are lost, all behind %s as announced", i+1, lost.Minus(gone).Len(), lsn)
		gone = lost
		u.standby.Uncut()
		u.standby.Must("rejoin", "--yes")
		u.standby.WaitReplay(u.primary, catchUp)
	}
}
