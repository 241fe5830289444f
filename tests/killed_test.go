package tests

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/fault"
)

// killsWanted is how many processes have to die before TestProcessesKilled is
// content. KILLS asks for more: make kills runs with 1000.
const killsWanted = 40

// TestProcessesKilled lets the processes that a segment passes through die at
// every one of their steps, at random, while clients write. The switchover to
// the standby at the end finds every row that they were told of.
func TestProcessesKilled(t *testing.T) {
	kills := killsWanted
	if text := os.Getenv("KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("KILLS=%s: %v", text, err)
		}
	}
	t.Parallel()
	c := cluster.New(t, cluster.Options{Tags: "faults"})
	c.DB1.Must("distrib")
	c.DB2.Must("configStandby")
	c.DR.Must("configStandby")
	load := c.StartLoad(2, 10, 20*time.Millisecond)
	load.WaitRows(500, time.Minute)
	c.DB1.Must("copyToStandby", "--start")

	deaths := &deaths{T: t, notes: filepath.Join(c.DB1.Dir, "deaths")}
	deaths.wait(c, kills)
	deaths.end(c.DB1, c.DB2)
	load.WaitRows(load.Ledger.Snapshot().Acknowledged.Len()+500, time.Minute)

	c.DB1.Must("switchover", "--drain", "2s", "--max-backlog", "100000", "--max-lag", "0")
	resume := load.Pause()
	defer resume()
	must := load.Ledger.Snapshot()
	cluster.Check(t, "after the kills", c.DB2, must)
	c.DB1.WaitReplay(c.DB2, catchUp)
	cluster.Check(t, "after the kills", c.DB1, must)
	deaths.report()
}

// deaths counts the processes that killed themselves.
type deaths struct {
	*testing.T
	notes string
}

// lethal are the steps that processes die at here. A restore that is killed
// takes the server down with it; TestRestoreKilled does that.
func lethal() []fault.Step {
	return slices.DeleteFunc(fault.Steps(), func(s fault.Step) bool { return strings.HasPrefix(string(s), "restore:") })
}

// chances are how likely a process is to die at each step. A segment passes some
// steps once and one many times. One that has been hit is less likely to be hit
// again: above all a call of the server, whose archiver then ends, and is started
// again ten seconds later (PGARCH_RESTART_INTERVAL in pgarch.c).
func (d *deaths) chances() map[fault.Step]float64 {
	counts, _ := d.count()
	chance := map[fault.Step]float64{}
	for _, step := range lethal() {
		chance[step] = 0.1
		if counts[step] > 0 {
			chance[step] = 0.05
		}
		if strings.HasPrefix(string(step), "call:") && counts[step] > 0 {
			chance[step] = 0.005
		}
	}
	chance[fault.ShipperAnswer], chance[fault.ShipperListen] = 3*chance[fault.ShipperAnswer], 3*chance[fault.ShipperListen]
	chance[fault.ShipperSend] /= 50
	return chance
}

// plan says with which chance the node's processes die at each step.
func (d *deaths) plan(n *cluster.Node, chance map[fault.Step]float64) {
	d.Helper()
	text, err := json.Marshal(map[string]any{"notes": d.notes, "chance": chance})
	if err == nil {
		err = atomicfile.WriteFile(faultsFile(n), text, 0o644)
	}
	if err != nil {
		d.Fatal(err)
	}
}

// faultsFile is where a node's program looks for them.
func faultsFile(n *cluster.Node) string {
	return n.Path(filepath.Join(filepath.Dir(n.Binary()), "faults"))
}

func (d *deaths) end(nodes ...*cluster.Node) {
	d.Helper()
	for _, n := range nodes {
		if err := os.Remove(faultsFile(n)); err != nil {
			d.Fatal(err)
		}
		n.Run("shipper", "stop") // which may die of it
	}
}

// count is how often each step was the last one of a process.
func (d *deaths) count() (counts map[fault.Step]int, all int) {
	d.Helper()
	text, err := os.ReadFile(d.notes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Fatal(err)
	}
	counts = map[fault.Step]int{}
	for line := range strings.Lines(string(text)) {
		counts[fault.Step(strings.TrimSpace(line))]++
		all++
	}
	return counts, all
}

// moreToArchive ends a segment when few wait, and wakes the archiver, which
// rests for a minute after three failures.
const moreToArchive = `SELECT CASE WHEN count(*) < 6 THEN pg_switch_wal()::text ELSE pg_reload_conf()::text END
	FROM pg_ls_dir('pg_wal/archive_status') AS f WHERE f LIKE '%.ready'`

// wait lets the server archive until enough processes have died, every step
// among their last ones. A process reads its chances once, when it begins.
func (d *deaths) wait(c *cluster.Cluster, kills int) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 3*time.Minute+time.Duration(kills)*3*time.Second)
	defer cancel()
	nodes := []*cluster.Node{c.DB1, c.DB2}
	for _, n := range nodes {
		d.plan(n, d.chances())
		n.Must("shipper", "stop") // it has begun before
	}
	for again := time.NewTicker(200 * time.Millisecond); ; <-again.C {
		counts, all := d.count()
		missed := slices.ContainsFunc(lethal(), func(s fault.Step) bool { return counts[s] == 0 })
		if all >= kills && !missed {
			return
		}
		if ctx.Err() != nil {
			d.report()
			d.Fatalf("%d processes have died in the time given, want %d, and every step among their last ones", all, kills)
		}
		for _, n := range nodes {
			d.plan(n, d.chances())
		}
		c.DB1.SQL(moreToArchive)
	}
}

func (d *deaths) report() {
	counts, all := d.count()
	d.Logf("%d processes died:", all)
	for _, step := range lethal() {
		d.Logf("%5d  %s", counts[step], step)
		if counts[step] == 0 {
			d.Errorf("none died at %q", step)
		}
	}
}
