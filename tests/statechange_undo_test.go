package tests

import (
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/tests/cluster"
)

// switchoverWithoutProof: the standby does not replay what it was sent.
func (s *state) switchoverWithoutProof() {
	s.DB2.SQL("SELECT pg_wal_replay_pause()")
	s.write(s.DB1)
	s.refused(s.DB1, 1, "gave up waiting for db2 to replay", "switchover", "--drain", "0s", "--replay-timeout", "3s")
	s.DB2.SQL("SELECT pg_wal_replay_resume()")
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
	s.DB2.SQL("SELECT pg_wal_replay_pause()")
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
