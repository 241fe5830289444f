package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// TestLifecycle leads a cluster through its whole life under load: set up,
// switched over and back, its primary killed, and both nodes of the pair lost.
// After each change the rows that exist are compared with the ledger.
func TestLifecycle(t *testing.T) {
	t.Parallel() // with the other one: they wait most of the time
	live(t, cluster.New(t, cluster.Options{Layout: cluster.TOML}))
}

// TestLifecycle2warm is the same in a directory tree that a 2warm site has
// already: othernode and drnode, the archive in PGDATA, the old script names.
func TestLifecycle2warm(t *testing.T) {
	t.Parallel()
	live(t, cluster.New(t, cluster.Options{Layout: cluster.TwoWarm}))
}

// catchUp is how long a standby may take to replay what it has been sent.
const catchUp = 2 * time.Minute

// life is one run of the story.
type life struct {
	*testing.T
	*cluster.Cluster
	load *cluster.Load
}

func live(t *testing.T, c *cluster.Cluster) {
	l := &life{T: t, Cluster: c}
	l.setUp()
	for _, change := range []func(){l.switchover, l.switchback, l.killPrimary, l.rebuild, l.loseBoth, l.wayHome} {
		l.more(20_000) // each change comes in the middle of writing
		change()
	}
	if rows := l.load.Ledger.Snapshot().Acknowledged.Len(); rows < 100_000 {
		t.Errorf("%d rows were acknowledged in all, want at least 100,000", rows)
	}
}

// more waits until clients have written so many rows more.
func (l *life) more(rows int64) {
	l.Helper()
	l.load.WaitRows(l.load.Ledger.Snapshot().Acknowledged.Len()+rows, 2*time.Minute)
}

func (l *life) setUp() {
	l.Helper()
	l.DB1.Must("distrib")
	l.DB2.Must("configStandby")
	l.DR.Must("configStandby")
	l.load = l.StartLoad(4, 40, 5*time.Millisecond)
	l.more(1000)
	l.DB1.Must("copyToStandby", "--start")
	l.DB1.Must("copyToDR", "--start")
	l.DB2.Must("rsyncDR")
	l.settled("base copies", l.DB1, l.DB2, l.DR)
}

// settled pauses the load, lets the standbys replay everything, and compares
// the rows on all nodes given with the ledger.
func (l *life) settled(what string, primary *cluster.Node, standbys ...*cluster.Node) {
	l.Helper()
	resume := l.load.Pause()
	defer resume()
	must := l.load.Ledger.Snapshot()
	cluster.Check(l, what, primary, must)
	for _, n := range standbys {
		l.follows(what, n, primary)
		cluster.Check(l, what, n, must)
	}
}

// follows waits until a node has replayed all that the primary has written.
func (l *life) follows(what string, n, primary *cluster.Node) {
	l.Helper()
	if n == l.DR {
		l.relay(primary)
	} else {
		n.WaitReplay(primary, catchUp)
	}
	if got := n.SQL("SELECT pg_is_in_recovery()::text"); got != "true" {
		l.Errorf("%s: %s is in recovery: %s, want true", what, n.Name, got)
	}
}

// relay runs rsyncDR on the standby, again and again as cron does, until the DR
// node has replayed what the primary has written so far.
func (l *life) relay(primary *cluster.Node) {
	l.Helper()
	standby := l.DB1
	if primary == l.DB1 {
		standby = l.DB2
	}
	lsn := primary.SQL("SELECT pg_switch_wal()::text")
	cluster.Eventually(l, catchUp, "dr has replayed up to "+lsn, func() (bool, error) {
		if result := standby.Run("rsyncDR"); result.Code != 0 {
			l.Fatalf("%s", result)
		}
		return l.DR.Replayed(lsn)
	})
}

func (l *life) switchover() {
	l.Helper()
	before := identity(l.T, l.DB1)
	l.DB1.Must("switchover", "--drain", "2s")
	l.settled("switchover", l.DB2, l.DB1, l.DR)
	if after := identity(l.T, l.DB1); !os.SameFile(before, after) {
		l.Error("the old primary's data directory was made anew; after a clean switchover it must follow as it is")
	}
}

// identity is a file that only a new copy of the data directory replaces.
func identity(t *testing.T, n *cluster.Node) os.FileInfo {
	t.Helper()
	info, err := os.Stat(n.Path(filepath.Join(n.PGData, "PG_VERSION")))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (l *life) switchback() {
	l.Helper()
	l.DB1.Must("switchback", "--drain", "2s", "--yes")
	l.settled("switchback", l.DB1, l.DB2, l.DR)
}

// killPrimary: the server dies under load, its host lives. Its last WAL is
// still in pg_wal, so nothing may be lost.
func (l *life) killPrimary() {
	l.Helper()
	l.DB1.KillServer()
	said := l.DB2.Must("failover", "--yes")
	if !strings.Contains(said.Stdout+said.Stderr, "Nothing is lost") {
		l.Errorf("failover with the old primary's host alive does not say that nothing is lost:\n%s", said)
	}
	l.settled("failover", l.DB2)
}

func (l *life) rebuild() {
	l.Helper()
	l.DB2.Must("switchback", "--erase", "--rebuild-only", "--yes")
	l.settled("rebuild", l.DB2, l.DB1, l.DR)
}

var announced = regexp.MustCompile(`Everything after ([0-9A-F]+/[0-9A-F]+) is lost`)

// loseBoth: both hosts of the pair are gone while clients write. What the DR
// node lacks must lie past the LSN that the failover announced.
func (l *life) loseBoth() {
	l.Helper()
	l.DB2.Cut()
	l.DB1.Cut()
	written := l.load.Ledger.Snapshot()
	if refused := l.DR.Run("failover", "--yes"); refused.Code != 1 || !strings.Contains(refused.Stderr, "--accept-split") {
		l.Errorf("a failover beside nodes that cannot be reached: %s\nwant exit status 1 and a hint at --accept-split", refused)
	}
	said := l.DR.Must("failover", "--accept-split", "--yes")
	match := announced.FindStringSubmatch(said.Stdout + said.Stderr)
	if match == nil {
		l.Fatalf("the failover announces no loss:\n%s", said)
	}
	lsn, err := walcore.ParseLSN(match[1])
	if err != nil {
		l.Fatal(err)
	}
	l.more(100)
	resume := l.load.Pause()
	defer resume()
	rows := l.DR.Rows()
	lost := written.Acknowledged.Minus(rows)
	if missing := cluster.AcknowledgedBefore(l, written, lsn).Minus(rows); len(missing) > 0 {
		l.Errorf("rows %s are missing, and were written before %s, which was announced as received", missing, lsn)
	}
	if strange := written.Compare(rows).Strange; len(strange) > 0 {
		l.Errorf("the DR node has rows that nobody wrote: %s", strange)
	}
	l.Logf("lost with both hosts: %s, of %d; announced: everything after %s", lost, written.Acknowledged.Len(), lsn)
	l.newRows(written, l.DR)
}

// wayHome: the hosts of the pair are back, with databases that were left
// behind, and db1 becomes the primary again. Nothing of what the DR node wrote
// may be lost.
func (l *life) wayHome() {
	l.Helper()
	before, kept := l.load.Ledger.Snapshot(), l.DR.Rows()
	l.DB1.Uncut()
	l.DB2.Uncut()
	l.tells(l.DR.Run("switchback", "--yes"), 1, "dr, the DR node, is the primary")
	l.DB1.Must("configStandby", "--erase")
	l.DB2.Must("configStandby", "--erase")
	l.tells(l.DR.Run("status"), 0, "warmrun copyToStandby --start on dr")
	l.DR.Must("copyToStandby", "--start")
	l.tells(l.DR.Run("status"), 0, "to return to db1: warmrun flushPrimary on dr")
	l.tells(l.DR.Run("flushPrimary", "--drain", "2s"), 0, "warmrun triggerStandby --archiving on db1; then start the server on dr")
	l.tells(l.DB1.Run("triggerStandby", "--archiving"), 0, "dr was the primary and is stopped; db1 has all that it wrote")
	l.DR.StartServer()
	l.DB1.Must("switchback", "--erase", "--rebuild-only", "--yes")
	resume := l.load.Pause()
	defer resume()
	for _, n := range []*cluster.Node{l.DB2, l.DR} {
		l.follows("way home", n, l.DB1)
	}
	for _, n := range l.Nodes() {
		if missing := kept.Minus(n.Rows()); len(missing) > 0 {
			l.Errorf("way home: %s lacks rows %s, which the DR node had", n.Name, missing)
		}
		l.newRows(before, n)
	}
}

// tells checks a command's exit status and a part of what it says.
func (l *life) tells(result cluster.Result, code int, want string) {
	l.Helper()
	if result.Code != code || !strings.Contains(result.Stdout+result.Stderr, want) {
		l.Fatalf("%s\nwant exit status %d and %q", result, code, want)
	}
}

// newRows: everything acknowledged since then is on the node.
func (l *life) newRows(before ledger.Snapshot, n *cluster.Node) {
	l.Helper()
	since := l.load.Ledger.Snapshot().Acknowledged.Minus(before.Acknowledged)
	if missing := since.Minus(n.Rows()); len(missing) > 0 {
		l.Errorf("rows %s, acknowledged after the promotion, are missing on %s", missing, n.Name)
	}
}
