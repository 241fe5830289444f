package tests

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/tests/cluster"
)

// flushAndTrigger is a switchover by hand.
func (m *onMajor) flushAndTrigger() {
	m.more()
	m.says(m.DB1.Must("flushPrimary", "--drain", "0s"), "To go on: warmrun triggerStandby --archiving on db2; then start the server on db1")
	m.checkFlushed(m.DB1, m.DB2)
	m.says(m.DB2.Must("triggerStandby", "--archiving"), "db2 accepts writes on timeline 2")
	m.DB1.StartServer()
	m.changed("flushPrimary and triggerStandby")
}

// switchovers go there and back, by log shipping alone.
func (m *onMajor) switchovers() {
	m.switchover(m.DR, "it says so itself, in SQL")
	m.switchover(m.standby, "it says so itself, in SQL")
}

// switchover is driven by a node, and ends with a certificate. The old primary
// follows by what it has.
func (m *onMajor) switchover(by *cluster.Node, proof string) {
	m.Helper()
	m.more()
	before := identity(m.T, m.primary)
	said := by.Must("switchover", "--drain", "0s", "--max-backlog", "1000")
	m.says(said, m.primary.Name+" follows "+m.standby.Name, "without a rewind or a new copy")
	if !os.SameFile(before, identity(m.T, m.primary)) {
		m.Errorf("the data directory of %s was made anew", m.primary.Name)
	}
	checkCertificate(m, by, said, proof)
	m.primary, m.standby = m.standby, m.primary
	m.write(m.primary)
	if strings.HasPrefix(proof, "it says") {
		m.complete("switchover")
	}
}

// withoutHotStandby: the standby answers no question, and its restart point is the
// proof. Then both are hot standbys again.
func (m *onMajor) withoutHotStandby() {
	m.hotStandby("off")
	if _, err := m.standby.TrySQL("SELECT 1"); err == nil {
		m.Fatal("the standby accepts connections, and this part is for one that does not")
	}
	m.switchover(m.primary, "its restart point is the primary's shutdown checkpoint")
	m.hotStandby("on")
	m.complete("without hot standby")
}

// hotStandby changes the setting on both nodes and starts the standby anew.
func (m *onMajor) hotStandby(value string) {
	m.Helper()
	for _, n := range []*cluster.Node{m.primary, m.standby} {
		path := filepath.Join(n.PGData, "postgresql.conf")
		m.replace(n.Path(path), readFile(m.T, n.Path(path))+"hot_standby = "+value+"\n")
	}
	m.standby.Must("stopStandby")
	m.standby.Must("startStandby")
}

// streaming: from here on the pair streams with slots, and the DR node from the
// standby. Switchovers leave the streams where they belong.
func (m *onMajor) streaming() {
	m.Stream()
	m.DR.Must("delayReplay") // which configures it anew
	m.switchover(m.standby, "it says so itself, in SQL")
	m.streams(m.primary, m.standby)
	m.switchover(m.DR, "it says so itself, in SQL")
	m.streams(m.primary, m.standby)
	lsn := m.primary.SQL("SELECT pg_current_wal_lsn()::text")
	cluster.Eventually(m, catchUp, "dr has replayed "+lsn+" without a relay", func() (bool, error) { return m.DR.Replayed(lsn) })
}

// failover: the server of the primary is killed under load, and nothing is lost. The
// old primary follows again by a start.
func (m *onMajor) failover() {
	m.more()
	m.primary.KillServer()
	m.says(m.standby.Must("failover", "--yes"), "Nothing is lost")
	m.says(m.primary.Must("rejoin", "--yes"), "it needs neither a rewind nor a copy", m.primary.Name+" follows "+m.standby.Name)
	m.changed("failover")
	m.streams(m.primary, m.standby)
}

// rejoin: the host of the primary vanishes and comes back with a server that goes on
// writing. Without pg_rewind a copy makes it follow again.
func (m *onMajor) rejoin() {
	way, other := "pg_rewind takes that back", "pg_rewind cannot take that back"
	if !m.server.System {
		way, other = other, way
	}
	m.more()
	resume := m.load.Pause() // what they would write to the old primary is acknowledged, and lost
	defer resume()
	m.settle("before the split")
	m.primary.Cut()
	m.says(m.standby.Must("failover", "--accept-split", "--yes"), "RISK: "+m.primary.Name+" cannot be reached")
	m.write(m.standby)
	m.primary.Uncut()
	m.primary.StartServer()
	m.primary.SQL("CREATE TABLE split AS SELECT generate_series(1, 1000)")
	said := m.primary.Must("rejoin", "--yes")
	m.says(said, "accepts writes beside", "has WAL of its own", way, "are kept in ")
	if strings.Contains(said.Stdout, other) {
		m.Errorf("%s\nwant %q, and never %q", said, way, other)
	}
	m.primary, m.standby = m.standby, m.primary
	m.settle("rejoin")
	if got := m.standby.SQL("SELECT to_regclass('split') IS NULL"); got != "true" {
		m.Errorf("%s has what was written beside the primary", m.standby.Name)
	}
}

// disaster: both hosts of the pair are gone, and the DR node takes over with all
// that it had been sent.
func (m *onMajor) disaster() {
	m.more()
	resume := m.load.Pause()
	m.settle("before the disaster")
	must := m.load.Ledger.Snapshot()
	m.primary.Cut()
	m.standby.Cut()
	m.says(m.DR.Must("failover", "--accept-split", "--yes"), "is lost")
	resume()
	m.more()
	m.write(m.DR)
	defer m.load.Pause()()
	cluster.Check(m, "disaster", m.DR, m.load.Ledger.Snapshot())
	m.checkRows(m.DR)
	if now := m.load.Ledger.Snapshot().Acknowledged; len(now.Minus(must.Acknowledged)) == 0 {
		m.Error("no client could write to dr")
	}
}
