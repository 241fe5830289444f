package cluster

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
)

// Load is clients that write to whichever node is the primary, and their
// ledger.
type Load struct {
	*ledger.Load
	Ledger *ledger.Ledger

	c *Cluster
}

// StartLoad makes the table on db1 and begins to write. The load ends with the
// test at the latest.
func (c *Cluster) StartLoad(writers, batch int, every time.Duration) *Load {
	c.t.Helper()
	if err := ledger.CreateTable(c.t.Context(), c.DB1.Target()); err != nil {
		c.t.Fatal(err)
	}
	l, err := ledger.Create(filepath.Join(c.root, "ledger"))
	if err != nil {
		c.t.Fatal(err)
	}
	var targets []psql.Target
	for _, n := range c.Nodes() {
		targets = append(targets, n.Target())
	}
	load := &Load{Ledger: l, c: c}
	load.Load = ledger.StartLoad(c.t.Context(), l, ledger.LoadConfig{Targets: targets, Writers: writers, Batch: batch, Every: every})
	c.t.Cleanup(func() {
		if err := load.Stop(); err != nil {
			c.t.Error(err)
		}
		if err := l.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return load
}

// WaitRows waits until so many rows have been acknowledged in all.
func (l *Load) WaitRows(rows int64, patience time.Duration) {
	l.c.t.Helper()
	Eventually(l.c.t, patience, "enough rows are acknowledged", func() (bool, error) {
		return l.Ledger.Snapshot().Acknowledged.Len() >= rows, nil
	})
}

// Check fails the test when an acknowledged row of the snapshot is missing on a
// node, or a row exists that nobody wrote. It returns how many were found.
func Check(t testing.TB, what string, n *Node, must ledger.Snapshot) int64 {
	t.Helper()
	verdict := must.Compare(n.Rows())
	if len(verdict.Missing) > 0 {
		t.Errorf("%s: %s lacks acknowledged rows %s", what, n.Name, verdict.Missing)
	}
	if len(verdict.Strange) > 0 {
		t.Errorf("%s: %s has rows that nobody wrote: %s", what, n.Name, verdict.Strange)
	}
	t.Logf("%s: %s has %d of %d acknowledged rows, and %d in doubt", what, n.Name, verdict.Found, must.Acknowledged.Len(), verdict.Doubtful.Len())
	return verdict.Found
}

// AcknowledgedBefore is the rows of a snapshot whose transactions are known to
// end at or before the LSN.
func AcknowledgedBefore(t testing.TB, s ledger.Snapshot, lsn walcore.LSN) ledger.Set {
	t.Helper()
	return s.AcknowledgedIf(func(text string) bool {
		written, err := walcore.ParseLSN(text)
		if err != nil {
			t.Fatal(err)
		}
		return written <= lsn
	})
}
