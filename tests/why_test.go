package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// TestWhy makes what keeps WAL from flowing, one thing after the other, on one
// cluster, and asks a node that has nothing to do with it what is wrong.
func TestWhy(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"nothing is wrong", (*state).whyNothing},
		chapter{"what the primary does not ship", (*state).whyNotShipped},
		chapter{"nodes that cannot be reached", (*state).whyUnreachable},
		chapter{"a standby that holds replay up", (*state).whyHeld},
		chapter{"a standby that is down", (*state).whyDown},
		chapter{"a segment that is nowhere", (*state).whyMissing},
		chapter{"a primary that is down", (*state).whyPrimaryDown},
	)
}

// why asks a node what is wrong: the sentence, the evidence and the command.
func (s *state) why(from *cluster.Node, parts ...string) {
	s.Helper()
	result := from.Run("why")
	if result.Code != 1 || !strings.Contains(result.Stdout, "\nnext: ") {
		s.Errorf("%s\nwant exit status 1 and what to do next", result)
	}
	s.Logf("%s", result)
	s.says(result, parts...)
}

// eventuallyWhy is why for what the servers need a moment to notice.
func (s *state) eventuallyWhy(from *cluster.Node, parts ...string) {
	s.Helper()
	cluster.Eventually(s, catchUp, "why says: "+parts[0], func() (bool, error) {
		return strings.Contains(from.Run("why").Stdout, parts[0]), nil
	})
	s.why(from, parts...)
}

// check runs a check with one exit status, which says all of the parts.
func (s *state) check(from *cluster.Node, code int, parts ...string) {
	s.Helper()
	// How full the disks are of the machine that the tests run on is not asked.
	result := from.Run("check", "--warn-free=0", "--crit-free=0")
	word := []string{"OK", "WARNING", "CRITICAL"}[code]
	if result.Code != code || !strings.HasPrefix(result.Stdout, "WARMRUN "+word+" - ") || result.Stderr != "" {
		s.Errorf("%s\nwant exit status %d and %s", result, code, word)
	}
	s.Logf("%s", result)
	s.says(result, parts...)
}

// setting changes a setting in postgresql.auto.conf and reloads it; "" takes it
// out again.
func (s *state) setting(n *cluster.Node, name, value string) {
	s.Helper()
	if value == "" {
		n.SQL("ALTER SYSTEM RESET " + name)
	} else {
		n.SQL("ALTER SYSTEM SET " + name + " = " + value)
	}
	n.SQL("SELECT pg_reload_conf()::text")
}

// whyNothing: all is well, in every form in which it is told.
func (s *state) whyNothing() {
	s.DB2.Must("rsyncDR")
	s.follows(s.DR, s.DB1)
	for _, n := range s.Nodes() {
		s.says(n.Must("why"), "nothing is wrong: WAL flows from db1 to db2 and dr\n", "db2 has replayed up to", "db1 has archived ")
		s.check(n, 0, " checks on 3 nodes | ", "'db2_lag_bytes'=", ";167772160;1073741824;0", "'loss_bytes'=",
			"OK        db1      archive_command: archive_command calls warmrun",
			"OK        db2      restore_command: restore_command is as configStandby writes it",
			"OK        db2      limits: its limits are at least those of db1",
			"OK        db2      libraries: it has the ", "OK        db1      link: it reaches the agent on db2")
	}
	s.says(s.DR.Must("status"), "if db1 dies now: ", "how long the promotion of db2 takes is unknown: no promotion of db2 is on record")

	var diagnosis struct{ Findings, Proof []any }
	if err := json.Unmarshal([]byte(s.DB2.Must("why", "--json").Stdout), &diagnosis); err != nil || len(diagnosis.Findings) != 0 || len(diagnosis.Proof) < 3 {
		s.Errorf("why --json: %+v, %v", diagnosis, err)
	}
	metrics := filepath.Join(s.DB1.Dir, "warmrun.prom")
	s.DB1.Must("check", "--warn-free=0", "--crit-free=0", "--prometheus", metrics)
	text, err := os.ReadFile(s.DB1.Path(metrics))
	for _, want := range []string{"# TYPE warmrun_check gauge\n", `warmrun_check{node="db1",check="archiver"} 0`, `warmrun_up{node="dr"} 1`, `warmrun_lag_bytes{node="db2"} `, "\nwarmrun_loss_bytes "} {
		if !strings.Contains(string(text), want) {
			s.Errorf("%s (%v):\n%s\nwant %q in it", metrics, err, text, want)
		}
	}
	for _, senseless := range []string{"--crit-lag=1kB", "--crit-free=11", "--warn-free=101", "--warn-free=NaN"} {
		if result := s.DB1.Run("check", senseless); result.Code != 3 || !strings.HasPrefix(result.Stdout, "WARMRUN UNKNOWN - ") {
			s.Errorf("%s\nwant exit status 3 for limits that make no sense", result)
		}
	}
	// Of each disk something is in use.
	if result := s.DB1.Run("check", "--warn-free=100", "--crit-free=0"); result.Code != 1 || !strings.Contains(result.Stdout, "WARNING   db1      disk: ") {
		s.Errorf("%s\nwant a warning of disks of which not all is free", result)
	}
}

// whyNotShipped: the settings and files that make a primary keep its WAL.
func (s *state) whyNotShipped() {
	s.setting(s.DB1, "archive_command", "'false'")
	s.write(s.DB1)
	s.DB1.SQL("SELECT pg_switch_wal()::text")
	cluster.Eventually(s, catchUp, "the archiver fails", func() (bool, error) {
		failed, err := s.DB1.TrySQL("SELECT (last_failed_time > coalesce(last_archived_time, '-infinity'))::text FROM pg_stat_archiver")
		return failed == "true", err
	})
	s.why(s.DR, "archive_command on db1 fails, and it does not call warmrun\n", "archive_command = false", "pg_stat_archiver: 0000", "next: on db1: ALTER SYSTEM SET archive_command = '"+s.DB1.Binary())
	s.check(s.DR, 2, "CRITICAL  db1      archiver: archive_command fails for 0000", "CRITICAL  db1      archive_command: archive_command is \"false\"")

	active := s.DB1.Path(filepath.Join(s.DB1.Home, "local", "replication", "archiving_active"))
	if err := os.Rename(active, active+".away"); err != nil {
		s.Fatal(err)
	}
	s.why(s.DB2, "archiving is not active on db1: its WAL is acknowledged and dropped\n", "next: db1: to ship its WAL again: warmrun copyToStandby")
	if err := os.Rename(active+".away", active); err != nil {
		s.Fatal(err)
	}

	s.setting(s.DB1, "archive_command", "")
	s.follows(s.DB2, s.DB1)

	// All is archived: a server that starts without archive_mode forgets the rest.
	s.setting(s.DB1, "archive_mode", "off")
	s.DB1.StopServer("fast")
	s.DB1.StartServer()
	s.why(s.DB2, "archive_mode is off on db1, so it ships nothing\n", "next: on db1: ALTER SYSTEM SET archive_mode = on, then restart")
	s.check(s.DB2, 2, "CRITICAL  db1      archive_mode: archive_mode is off: it ships nothing")
	s.setting(s.DB1, "archive_mode", "")
	s.why(s.DB1, "archive_mode is off on db1 until its server is restarted", "next: restart the server on db1\n")
	s.DB1.StopServer("fast")
	s.DB1.StartServer()

	archive := s.DB2.Path(s.DB2.Archive())
	if err := os.Rename(archive, archive+".away"); err != nil {
		s.Fatal(err)
	}
	s.why(s.DR, "db2 has no archive directory, so no WAL can reach it\n", "is its file system mounted?")
	if err := os.Rename(archive+".away", archive); err != nil {
		s.Fatal(err)
	}
	s.follows(s.DB2, s.DB1)
	s.nothingWrong()
}

// nothingWrong: what a chapter has done is mended.
func (s *state) nothingWrong() {
	s.Helper()
	if result := s.DB1.Run("why"); result.Code != 0 || !strings.HasPrefix(result.Stdout, "nothing is wrong: ") {
		s.Errorf("%s\nwant nothing to be wrong", result)
	}
}

// whyUnreachable: nodes that cannot be reached, for different reasons, by the
// one that asks and by the one that ships.
func (s *state) whyUnreachable() {
	s.DB2.StopSSH()
	s.why(s.DB1, "db2 cannot be reached: ", "connection refused", "next: nothing listens on port")
	s.check(s.DR, 2, "CRITICAL  db2      reach: it cannot be reached: ", "CRITICAL  db1      link: it cannot ship to db2: ")
	// The standby itself sees that nobody can ship to it.
	s.why(s.DB2, "db1 cannot ship to db2: ", "connection refused", "next: on db1: ")
	s.DB2.StartSSH()

	known := filepath.Join(filepath.Dir(filepath.Dir(s.DB2.AuthorizedKeys())), "known_hosts")
	right, err := os.ReadFile(known)
	if err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(known, []byte(s.otherHostKey(string(right))), 0o600); err != nil {
		s.Fatal(err)
	}
	s.why(s.DR, "db2 cannot be reached: THE HOST KEY OF ", "ssh-keygen -R")
	if err := os.WriteFile(known, right, 0o600); err != nil {
		s.Fatal(err)
	}

	keys := s.DB2.AuthorizedKeys()
	if err := os.Rename(keys, keys+".away"); err != nil {
		s.Fatal(err)
	}
	s.why(s.DB2, "db1 cannot ship to db2: ")
	if err := os.Rename(keys+".away", keys); err != nil {
		s.Fatal(err)
	}
	s.nothingWrong()
}

// otherHostKey gives db2 the key of db1 in a list of known hosts.
func (s *state) otherHostKey(known string) string {
	var wrong []string
	key := ""
	for line := range strings.Lines(known) {
		host, rest, _ := strings.Cut(line, " ")
		if strings.Contains(host, s.DB1.Address) {
			key = rest
		}
		if strings.Contains(host, s.DB2.Address) {
			line = host + " " + key
		}
		wrong = append(wrong, line)
	}
	return strings.Join(wrong, "")
}

// whyHeld: the standby runs, has its WAL, and does not replay it.
func (s *state) whyHeld() {
	s.DB2.SQL("SELECT pg_wal_replay_pause()::text")
	s.why(s.DB1, "replay is paused on db2\n", "next: on db2: SELECT pg_wal_replay_resume()\n")
	s.check(s.DB1, 2, "CRITICAL  db2      replay: replay is paused; next: SELECT pg_wal_replay_resume() there")
	s.DB2.SQL("SELECT pg_wal_replay_resume()::text")

	s.setting(s.DB2, "recovery_min_apply_delay", "'1h'")
	s.write(s.DB1)
	s.DB1.SQL("SELECT pg_switch_wal()::text")
	s.eventuallyWhy(s.DB1, "db2 replays late on purpose\n", "recovery_min_apply_delay = 3600000")
	s.setting(s.DB2, "recovery_min_apply_delay", "")
	s.follows(s.DB2, s.DB1)

	s.setting(s.DB2, "max_standby_archive_delay", "-1")
	end := s.openQuery(s.DB2, "t")
	s.DB1.SQL("DELETE FROM t")
	s.rows = 0
	s.DB1.SQL("VACUUM t")
	s.DB1.SQL("SELECT pg_switch_wal()::text")
	s.eventuallyWhy(s.DR, "replay on db2 waits for a query\n", "has a transaction open for ", "next: on db2: SELECT pg_terminate_backend(", "(now -1, for ever)")
	end()
	s.setting(s.DB2, "max_standby_archive_delay", "")
	s.follows(s.DB2, s.DB1)

	s.setting(s.DB2, "restore_command", "'false'")
	s.why(s.DB1, "restore_command on db2 does not call warmrun\n", "restore_command = 'false'", "next: on db2: set restore_command = '"+s.DB2.Binary())
	s.check(s.DB1, 2, "CRITICAL  db2      restore_command: restore_command is \"false\"")
	s.setting(s.DB2, "restore_command", s.quoted(s.DB2.Binary()+" --home "+s.DB2.Home+" restore %f %p %r"))
	s.nothingWrong()
}

// openQuery reads a table on the node in a transaction that stays open until end is
// called.
func (s *state) openQuery(n *cluster.Node, table string) (end func()) {
	s.Helper()
	client, err := psql.Connect(s.Context(), n.Target())
	if err != nil {
		s.Fatal(err)
	}
	for _, statement := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM " + table} {
		if _, err := client.Query(s.Context(), statement); err != nil {
			s.Fatal(err)
		}
	}
	return func() {
		s.Helper()
		if err := client.Close(s.Context()); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *state) quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// whyDown: the standby's server does not run, and would not start; and a trigger
// file that would open it.
func (s *state) whyDown() {
	s.setting(s.DB2, "max_connections", "20")
	s.check(s.DB1, 2, "CRITICAL  db2      limits: max_connections is 20, and 50 on db1: the standby would not start")
	s.DB2.StopServer("fast")
	s.why(s.DR, "the server on db2 is down\n", "max_connections is 20, and 50 on db1", "next: set max_connections = 50 there, and restart its server; then on db2: ", "pg_ctl -D "+s.DB2.PGData+" start\n")
	auto := s.DB2.Path(filepath.Join(s.DB2.PGData, "postgresql.auto.conf"))
	text, err := os.ReadFile(auto)
	if err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(auto, []byte(strings.ReplaceAll(string(text), "max_connections = '20'", "")), 0o600); err != nil {
		s.Fatal(err)
	}
	trigger := filepath.Join(s.DB2.Home, "local", "trigger")
	s.DB2.Write(trigger, "")
	s.check(s.DB1, 2, "CRITICAL  db2      server: its server is down", "CRITICAL  db2      trigger: a trigger file lies in "+trigger)
	if err := os.Remove(s.DB2.Path(trigger)); err != nil {
		s.Fatal(err)
	}
	s.DB2.StartServer()
	s.DB2.Write(trigger, "")
	s.why(s.DB1, "a trigger file lies on db2: it is told to open its database\n", "asks for smart", "rm "+trigger)
	if err := os.Remove(s.DB2.Path(trigger)); err != nil {
		s.Fatal(err)
	}
	s.DB2.StopServer("fast")
	s.DB2.StartServer()
	s.follows(s.DB2, s.DB1)
}

// whyMissing: a segment is lost in the standby's archive, and the primary has
// recycled it. Then one turns up that a site has kept.
func (s *state) whyMissing() {
	s.DR.StopServer("fast")
	s.DB2.StopServer("fast")
	name := s.shipped(s.DB2)
	for range 3 {
		s.write(s.DB1)
		s.shipped(s.DB2)
	}
	archived := s.DB2.Path(filepath.Join(s.DB2.Archive(), string(name)))
	kept := filepath.Join(s.DB2.Dir, string(name))
	if err := os.Rename(archived, s.DB2.Path(kept)); err != nil {
		s.Fatal(err)
	}
	cluster.Eventually(s, catchUp, "the primary has recycled "+string(name), func() (bool, error) {
		s.DB1.SQL("CHECKPOINT")
		return !s.DB1.Exists(filepath.Join(s.DB1.PGData, "pg_wal", string(name))), nil
	})
	if archive, err := walcore.OpenArchive(s.DR.Path(s.DR.Archive())); err == nil {
		if has, _ := archive.Has(walcore.FileName(name)); has {
			s.Fatalf("dr has %s, which was to be nowhere", name)
		}
	}
	s.DB2.StartServer()
	s.eventuallyWhy(s.DB1, string(name)+" is missing in the archive on db2\n", "no archive and no pg_wal has it: only a new copy helps", "warmrun copyToStandby --start on db1")
	s.check(s.DB1, 2, "CRITICAL  db2      gaps: "+string(name)+" is missing in its archive")
	if err := os.Rename(s.DB2.Path(kept), archived); err != nil {
		s.Fatal(err)
	}
	s.follows(s.DB2, s.DB1)
	s.DR.StartServer()
}

// whyPrimaryDown: nothing to follow, and after the promotion what it took is
// what the next one is expected to take.
func (s *state) whyPrimaryDown() {
	s.DB1.KillServer()
	s.why(s.DR, "db1 was the primary, and its server is down\n", "its pg_control says: in production", "warmrun failover on db2")
	s.check(s.DB2, 2, "CRITICAL  cluster  primary: no node accepts writes")
	s.DB2.Must("failover", "--yes")
	s.DB2.Must("switchback", "--erase", "--rebuild-only", "--yes")
	s.write(s.DB2)
	s.follows(s.DB1, s.DB2)
	s.DB2.Must("switchover", "--drain", "0s")
	s.DB1.Must("switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "status knows what a promotion takes", func() (bool, error) {
		return strings.Contains(s.DB1.Run("status").Stdout, "the promotion of db1 takes about "), nil
	})
	s.whyHistory()
}

// whyHistory: the standby's archive has lost where the newest timeline comes
// from, and the command that why gives brings it back.
func (s *state) whyHistory() {
	s.Helper()
	s.write(s.DB2)
	s.follows(s.DB1, s.DB2)
	timeline, err := strconv.Atoi(primaryTimeline(s.DB2))
	if err != nil {
		s.Fatal(err)
	}
	history := filepath.Join(s.DB1.Archive(), string(walcore.Timeline(timeline).HistoryName()))
	if err := os.Remove(s.DB1.Path(history)); err != nil {
		s.Fatal(err)
	}
	result := s.DB2.Run("why")
	s.says(result, filepath.Base(history)+", the history of timeline "+strconv.Itoa(timeline)+", is missing in the archive on db1\n", "next: on db1: warmrun fetch "+filepath.Base(history)+"\n")
	s.DB1.Must("fetch", filepath.Base(history))
	if !s.DB1.Exists(history) {
		s.Errorf("%s is not back", history)
	}
}
