package tests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/tests/pgmajor"
)

// TestMajors leads a cluster through everything that warmrun does, on the oldest
// server, this system's and the newest; make matrix does it on every major. Clients
// write meanwhile, and after each part every row that was acknowledged is on each
// node. The parts are columns of the table in README.md.
func TestMajors(t *testing.T) {
	pgmajor.Each(t, func(t *testing.T, on pgmajor.Server) {
		m := &onMajor{state: &state{T: t, Cluster: cluster.New(t, cluster.Options{PGBin: on.Bin, Settings: []string{"wal_log_hints = on"}})}, server: on}
		m.primary, m.standby = m.DB1, m.DB2
		for _, part := range []struct {
			name string
			run  func()
		}{
			{"standby", m.setUp},
			{"watch", m.watch},
			{"point in time", m.pointInTime},
			{"peek and drill", m.peekAndDrill},
			{"pause and delay", m.pauseAndDelay},
			{"flush and trigger", m.flushAndTrigger},
			{"switchover", m.switchovers},
			{"without hot standby", m.withoutHotStandby},
			{"streaming", m.streaming},
			{"failover", m.failover},
			{"rejoin", m.rejoin},
			{"disaster recovery", m.disaster},
		} {
			if !m.part(part.name, part.run) {
				return
			}
		}
	})
}

// onMajor is a cluster of one version, with clients that write to it.
type onMajor struct {
	*state
	server           pgmajor.Server
	load             *cluster.Load
	primary, standby *cluster.Node
	back             past // what pointInTime has noted
}

// part runs a part of the story. What follows begins where it should have ended.
func (m *onMajor) part(name string, run func()) bool {
	outer := m.T
	defer func() { m.T = outer }()
	return outer.Run(name, func(t *testing.T) {
		m.T = t
		run()
	})
}

// more waits until the clients go on writing.
func (m *onMajor) more() {
	m.Helper()
	m.load.WaitRows(m.load.Ledger.Snapshot().Acknowledged.Len()+50, time.Minute)
}

// complete pauses the clients, lets all standbys replay everything, and compares
// the rows on each node with the ledger.
func (m *onMajor) complete(what string) {
	m.Helper()
	m.more()
	resume := m.load.Pause()
	defer resume()
	m.settle(what)
}

func (m *onMajor) settle(what string) {
	m.Helper()
	must := m.load.Ledger.Snapshot()
	cluster.Check(m, what, m.primary, must)
	m.standby.WaitReplay(m.primary, catchUp)
	m.relayed()
	for _, n := range []*cluster.Node{m.standby, m.DR} {
		cluster.Check(m, what, n, must)
		m.checkRows(n)
	}
}

// relayed relays, as cron does, until the DR node has replayed what the primary has
// written so far.
func (m *onMajor) relayed() {
	m.Helper()
	lsn := m.primary.SQL("SELECT pg_switch_wal()::text")
	cluster.Eventually(m, catchUp, "dr has replayed up to "+lsn, func() (bool, error) {
		if result := m.standby.Run("rsyncDR"); result.Code != 0 {
			m.Fatalf("%s", result)
		}
		return m.DR.Replayed(lsn)
	})
}

// changed swaps the parts of the pair.
func (m *onMajor) changed(what string) {
	m.Helper()
	m.primary, m.standby = m.standby, m.primary
	m.write(m.primary)
	m.complete(what)
}

// setUp makes the cluster whole by verified copies, with a tablespace that each node
// has at a place of its own. The standbys restore from the archive.
func (m *onMajor) setUp() {
	m.mapTablespace("copyToStandby", "c.partner")
	m.mapTablespace("copyToDR", "c.dr")
	m.DB1.Must("distrib")
	m.DB2.Must("configStandby")
	m.DR.Must("configStandby")
	m.DB1.SQL("CREATE TABLESPACE aside LOCATION '" + asideOf(m.DB1) + "'")
	m.DB1.SQL("CREATE TABLE t (i int) TABLESPACE aside")
	m.load = m.StartLoad(2, 5, 20*time.Millisecond)
	m.more()
	m.says(m.DB1.Must("copyToStandby", "--verify", "--start"), "files on db2 are as they were copied")
	m.says(m.DB1.Must("copyToDR", "--verify", "--start"), "files on dr are as they were copied")
	m.complete("base copies")
	for _, n := range m.Nodes() {
		if got := n.SQL("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'aside'"); got != asideOf(n) {
			m.Errorf("the tablespace on %s is in %s, want %s", n.Name, got, asideOf(n))
		}
	}
	if m.server.Major >= 15 {
		if got := m.DB2.SQL("SHOW recovery_prefetch"); got != "try" {
			m.Errorf("recovery_prefetch is %s on the standby, want try, as it is shipped", got)
		}
	}
}

// watch: status, check and why understand what this version's servers say, also when
// a standby's replay is paused and when it waits for a query.
func (m *onMajor) watch() {
	resume := m.load.Pause()
	defer resume()
	m.settle("before it is watched")
	m.nothingWrong()
	m.says(m.DR.Must("status"), "db1 is primary; db2 follows", m.server.Version+", running")
	if result := m.DB2.Run("check"); result.Code > 1 || strings.Contains(result.Stdout, "UNKNOWN") {
		m.Errorf("%s\nwant nothing critical and nothing unknown", result)
	}
	m.DB2.SQL("SELECT pg_wal_replay_pause()::text")
	m.why(m.DB1, "replay is paused on db2\n")
	m.DB2.SQL("SELECT pg_wal_replay_resume()::text")
	m.conflict()
	m.nothingWrong()
}

// conflict has a query on the standby hold up its replay, until the query ends: what
// it reads is to be cleaned up, and then to be dropped.
func (m *onMajor) conflict() {
	m.Helper()
	m.DB1.SQL("CREATE TABLE swept AS SELECT 1 AS i")
	m.setting(m.DB2, "max_standby_archive_delay", "-1")
	for _, change := range [][]string{{"DELETE FROM swept", "VACUUM swept"}, {"DROP TABLE swept"}} {
		m.DB2.WaitReplay(m.DB1, catchUp)
		end := m.openQuery(m.DB2, "swept")
		for _, statement := range change {
			m.DB1.SQL(statement)
		}
		m.DB1.SQL("SELECT pg_switch_wal()")
		m.eventuallyWhy(m.DR, "replay on db2 waits for a query\n", "has a transaction open for ", "next: on db2: SELECT pg_terminate_backend(", "(now -1, for ever)")
		end()
	}
	m.setting(m.DB2, "max_standby_archive_delay", "")
	m.settle("after the queries")
}

func asideOf(n *cluster.Node) string { return filepath.Join(n.Dir, "aside") }

// mapTablespace extends a runbook of the site: machines of their own would need no
// other places.
func (m *onMajor) mapTablespace(name, target string) {
	m.Helper()
	var places []string
	for _, n := range m.Nodes() {
		n.Mkdir(asideOf(n))
		places = append(places, fmt.Sprintf("%s = %q", n.Name, asideOf(n)))
	}
	m.DB1.Write(filepath.Join(m.DB1.Home, "global", "runbooks", name+".d", "tablespaces.lua"), fmt.Sprintf(`local places = { %s }

return extension {
  api = 1,
  extends = %q,
  summary = "Each node has the tablespaces at a place of its own",

  replace = {
    copy = step { "copy", undo = false, timeout = "10m", run = function(c)
      return copy.base(c.node, { to = %[3]s, fast = true, streams = c.params.streams, compress = c.params.compress,
        tablespaces = { [places[c.node]] = places[%[3]s] } })
    end, repeatable = true },
  },
}
`, strings.Join(places, ", "), name, target))
}

// pointInTime keeps a base copy on the DR node and recovers it to a time, a
// transaction, an LSN and a restore point.
func (m *onMajor) pointInTime() {
	p := m.past()
	p.happens()
	m.rows = 5
	m.back = *p
	p.restored("1 2", "--time", p.time)
	p.restored("1 2", "--name", "between")
	p.restored("1 2 3", "--xid", p.xid)
	p.restored("1 2 3 4", "--lsn", p.lsn, "--exclusive")
	p.refused(m.T)
	m.complete("recoveries beside it")
}

// past is the same cluster with what pointInTime has noted.
func (m *onMajor) past() *past {
	p := m.back
	p.T, p.Cluster = m.T, m.Cluster
	return &p
}

func (m *onMajor) peekAndDrill() {
	p := m.past()
	wantOutput(m.T, m.DR.Must("peek", "--before", p.time, "--query", rowsOfT), "the server is read-only", "\n    1 2\n")
	checked := "pg_amcheck was not run"
	if m.server.System {
		checked = "pg_amcheck found nothing wrong"
	}
	wantOutput(m.T, m.DR.Must("drill"), checked, "The recovery works")
	m.complete("a drill beside it")
}

func (m *onMajor) pauseAndDelay() {
	m.past().late(m.T)
	m.complete("a late DR node")
}
