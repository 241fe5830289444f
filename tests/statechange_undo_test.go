package tests

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/tests/cluster"
)

// switchoverWithoutProof: the standby does not replay what it was sent.
func (s *state) switchoverWithoutProof() {
	s.pausesReplay(s.DB1)
	s.write(s.DB1)
	s.refused(s.DB1, 1, "gave up waiting for db2 to replay", "switchover", "--drain", "0s", "--replay-timeout", "3s")
	s.DB2.SQL("SELECT pg_wal_replay_resume()")
	s.asBefore(s.DB1, s.DB2)
}

// pausesReplay has flushPrimary on the node pause replay on the standby once the
// primary is stopped.
func (s *state) pausesReplay(n *cluster.Node) {
	s.Helper()
	s.override(n, "flushPrimary", `      say("Flushing archive WAL files to standby")`, `      psql.query(c.partner, "SELECT pg_wal_replay_pause()")
      say("Flushing archive WAL files to standby")`)
}

// switchoverUnfit: what would go wrong is found before anything is stopped, and
// also what has come up since the checks.
func (s *state) switchoverUnfit() {
	s.DB2.SQL("SELECT pg_wal_replay_pause()")
	s.says(s.refused(s.DB1, 1, "replay is paused on db2", "switchover", "--drain", "0s"), "pg_wal_replay_resume()")
	s.DB2.SQL("SELECT pg_wal_replay_resume()")
	s.DB1.SQL("ALTER SYSTEM SET max_connections = 20")
	s.says(s.refused(s.DB2, 1, "max_connections is 20 on db1 and 50 on db2", "switchover", "--drain", "0s"), "set max_connections = 50 or more on db1")
	s.DB1.SQL("ALTER SYSTEM RESET max_connections")
	s.refused(s.DB1, 1, "db1 is the primary already", "switchover", "--to", "db1")
	s.override(s.DB1, "flushPrimary", "      rivals.none_promoted(c.node)\n", `      psql.query(c.partner, "SELECT pg_wal_replay_pause()")
      rivals.none_promoted(c.node)
`)
	s.refused(s.DB1, 1, "replay is paused on db2", "switchover", "--drain", "0s")
	s.DB2.SQL("SELECT pg_wal_replay_resume()")
	s.asBefore(s.DB1, s.DB2)
}

// switchoverPreflight: all that would go wrong is said at once, what may be given
// up is accepted by a flag, and what no flag can mend is a warning.
func (s *state) switchoverPreflight() {
	s.DB1.SQL("SELECT slot_name::text FROM pg_create_logical_replication_slot('cdc', 'pgoutput')")
	s.DB1.SQL("CREATE FUNCTION absent() RETURNS int LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'")
	s.DB1.SQL("UPDATE pg_proc SET probin = '$libdir/absent' WHERE proname = 'absent'")
	s.DB1.SQL("CREATE COLLATION german (provider = icu, locale = 'de')")
	s.DB1.SQL("CREATE TABLE names (name text COLLATE german)")
	s.DB1.SQL("UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'german'")
	s.DB2.SQL("ALTER SYSTEM SET archive_library = 'basic_archive'")
	s.DB2.SQL("SELECT pg_reload_conf()")
	conf := filepath.Join(s.DB1.PGData, "postgresql.conf")
	before := readFile(s.T, s.DB1.Path(conf))
	s.DB1.Write(conf, before+"work_mem = plenty\n")
	s.follows(s.DB2, s.DB1)

	refused := s.refused(s.DB2, 1, "logical replication slots are on db1 alone: cdc", "switchover", "--drain", "0s")
	s.says(refused, `archive_library is "basic_archive" on db2, so archive_command is ignored`, "ALTER SYSTEM RESET archive_library",
		"the server on db1 would not start again with its configuration", "work_mem",
		"extensions of db1 need libraries that are not in ", " on db2: absent",
		"WARNING: the libraries on db2 sort text otherwise than its indexes were made with: collation german was made with version 1.0")

	s.DB1.Write(conf, before)
	s.DB2.SQL("ALTER SYSTEM RESET archive_library")
	s.DB2.SQL("SELECT pg_reload_conf()")
	s.says(s.refused(s.DB1, 1, "cdc", "switchover", "--drain", "0s"), "--accept-lost-slots", "--accept-missing-libraries")
	s.says(s.DB1.Must("flushPrimary", "--plan", "--accept-lost-slots", "--accept-missing-libraries"), "both nodes are fit to change places")
	s.DB1.SQL("SELECT pg_drop_replication_slot('cdc')::text")
	s.DB1.SQL("DROP FUNCTION absent()")
	s.asBefore(s.DB1, s.DB2)
}

// switchoverRefused: the fence is up already when the standby refuses to be
// promoted. It comes down again.
func (s *state) switchoverRefused() {
	s.write(s.DB1)
	s.override(s.DB2, "triggerStandby", "  checks = {", "  checks = {\n    check { 'the site agrees', function() return false, 'the site does not agree' end },")
	result := s.refused(s.DB2, 1, "the site does not agree", "switchover", "--drain", "0s")
	if !strings.Contains(result.Stdout, "Fence: ") {
		s.Errorf("no fence was raised:\n%s", result)
	}
	s.asBefore(s.DB1, s.DB2)
}

// interruptedDrain: Ctrl-C on the other node, while the primary waits for its
// clients. A smart stop cannot be called off, so the server has to go down and
// come back.
func (s *state) interruptedDrain() {
	client, err := psql.Connect(s.Context(), s.DB1.Target())
	if err != nil {
		s.Fatal(err)
	}
	defer client.Close(s.Context()) //nolint:errcheck // the server has ended it
	run := s.start(s.DB2, "switchover", "--drain", "100s")
	cluster.Eventually(s, time.Minute, "the primary takes no more clients", func() (bool, error) {
		_, err := s.DB1.TrySQL("SELECT 1")
		return err != nil, nil
	})
	run.interrupt(s)
	s.failed(run.end(), 1, "interrupted")
	s.asBefore(s.DB1, s.DB2)
}

// interruptedProof: Ctrl-C after the flush, before the promotion.
func (s *state) interruptedProof() {
	s.pausesReplay(s.DB1)
	s.write(s.DB1)
	run := s.start(s.DB1, "switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the primary is flushed", func() (bool, error) {
		return s.DB1.Exists(s.DB1.PGData+"/standby.signal") && !active(s.DB1), nil
	})
	run.interrupt(s)
	s.failed(run.end(), 1, "interrupted")
	s.DB2.SQL("SELECT pg_wal_replay_resume()")
	s.asBefore(s.DB1, s.DB2)
}
