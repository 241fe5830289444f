package tests

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// witnesses are clients, one for each node, which reaches no other. Each writes as
// long as its node lets it, whatever the others do, and notes what was acknowledged.
type witnesses struct {
	next atomic.Int64

	mu      sync.Mutex
	noted   []written
	givenUp map[string]bool // nodes whose clients were declared lost
	lost    ledger.Set      // what was announced as lost
}

// written is a row whose transaction was acknowledged.
type written struct {
	id       int64
	node     string
	timeline int64
	lsn      walcore.LSN // the transaction ends at or before it
	sent, at time.Time   // acknowledged at
	givenUp  bool
}

func startWitnesses(t *testing.T, c *cluster.Cluster) *witnesses {
	t.Helper()
	c.DB1.SQL("CREATE TABLE witness (id bigint PRIMARY KEY)")
	w := &witnesses{givenUp: map[string]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	for _, n := range c.Nodes() {
		done.Go(func() { w.stay(ctx, n.Name, n.Target()) })
	}
	t.Cleanup(func() {
		stop()
		done.Wait()
	})
	return w
}

// stay connects to a node again and again.
func (w *witnesses) stay(ctx context.Context, node string, target psql.Target) {
	for ctx.Err() == nil {
		conn, err := psql.Connect(ctx, target)
		for err == nil && ctx.Err() == nil {
			if err = w.write(ctx, node, conn); err == nil {
				err = pauseFor(ctx, 10*time.Millisecond)
			}
		}
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx)) // the server may be gone
		}
		_ = pauseFor(ctx, 20*time.Millisecond) // ends with ctx, and so does the loop
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// write puts a row into the table, unless the node is in recovery.
func (w *witnesses) write(ctx context.Context, node string, conn *psql.Conn) error {
	recovering, err := conn.Value(ctx, "SELECT pg_is_in_recovery()")
	if err != nil || recovering != false {
		return err
	}
	row := written{id: w.next.Add(1), node: node, sent: time.Now()}
	timeline, err := conn.Value(ctx, fmt.Sprintf("INSERT INTO witness VALUES (%d) RETURNING left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)", row.id))
	if err != nil {
		return err
	}
	row.at = time.Now()
	if row.timeline, err = strconv.ParseInt(fmt.Sprint(timeline), 16, 64); err != nil {
		return err
	}
	lsn, lsnErr := conn.Value(ctx, "SELECT pg_current_wal_lsn()::text")
	if row.lsn, err = walcore.ParseLSN(fmt.Sprint(lsn)); err != nil {
		row.lsn = 1<<64 - 1 // acknowledged all the same, and nobody can say where
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	row.givenUp = w.givenUp[node]
	w.noted = append(w.noted, row)
	return lsnErr
}

// giveUp: from now on what clients of the node write is declared lost.
func (w *witnesses) giveUp(n *cluster.Node) { w.declare(n, true) }

// takeBack: the node is one of the cluster's again.
func (w *witnesses) takeBack(n *cluster.Node) { w.declare(n, false) }

func (w *witnesses) declare(n *cluster.Node, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.givenUp[n.Name] = lost
}

// announced takes what a node's clients wrote behind the LSN, on the timeline that
// they wrote to last, for lost, as a failover has said.
func (w *witnesses) announced(n *cluster.Node, lsn walcore.LSN) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var newest int64
	for _, row := range w.noted {
		if row.node == n.Name {
			newest = max(newest, row.timeline)
		}
	}
	for _, row := range w.noted {
		if row.node == n.Name && row.timeline == newest && row.lsn > lsn {
			w.lost = w.lost.Union(ledger.SetOf(ledger.Span{First: row.id, Last: row.id}))
		}
	}
}

// rows are those that are acknowledged and were not declared lost.
func (w *witnesses) rows() (rows ledger.Set) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var spans []ledger.Span
	for _, row := range w.noted {
		if !row.givenUp {
			spans = append(spans, ledger.Span{First: row.id, Last: row.id})
		}
	}
	return ledger.SetOf(spans...).Minus(w.lost)
}

// more waits until clients of the node have written a few rows more: it accepts
// writes.
func (w *witnesses) more(t testing.TB, n *cluster.Node) {
	t.Helper()
	count := func() (rows int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, row := range w.noted {
			if row.node == n.Name {
				rows++
			}
		}
		return rows
	}
	before := count()
	cluster.Eventually(t, time.Minute, n.Name+" accepts writes", func() (bool, error) { return count() >= before+5, nil })
}

// oneWriter: at no time did two nodes accept writes. A promotion begins a timeline,
// so whoever writes to an older one, or to that of another node, after a write to
// the newer one was acknowledged, writes beside the primary.
func (w *witnesses) oneWriter(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	rows := slices.DeleteFunc(slices.Clone(w.noted), func(row written) bool { return row.givenUp })
	ended := slices.Clone(rows)
	slices.SortFunc(rows, func(a, b written) int { return a.sent.Compare(b.sent) })
	slices.SortFunc(ended, func(a, b written) int { return a.at.Compare(b.at) })
	writers := map[int64]string{}
	var newest written
	for _, row := range rows {
		for len(ended) > 0 && ended[0].at.Before(row.sent) {
			if ended[0].timeline >= newest.timeline {
				newest = ended[0]
			}
			ended = ended[1:]
		}
		if row.timeline < newest.timeline {
			t.Errorf("row %d was written on %s to timeline %d, after row %d on %s to timeline %d: two nodes accepted writes",
				row.id, row.node, row.timeline, newest.id, newest.node, newest.timeline)
			return
		}
		if other := writers[row.timeline]; other != "" && other != row.node {
			t.Errorf("%s and %s have both written to timeline %d", other, row.node, row.timeline)
			return
		}
		writers[row.timeline] = row.node
	}
}

// complete: the node has every row that is acknowledged and not lost.
func (w *witnesses) complete(t testing.TB, n *cluster.Node, want ledger.Set) {
	t.Helper()
	var spans []ledger.Span
	for _, text := range strings.Fields(n.SQL("SELECT coalesce(string_agg(id::text, ' '), '') FROM witness")) {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, ledger.Span{First: id, Last: id})
	}
	if missing := want.Minus(ledger.SetOf(spans...)); len(missing) > 0 {
		t.Errorf("%s lacks rows %s, which were acknowledged and not announced as lost", n.Name, missing)
	}
}
