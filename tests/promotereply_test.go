package tests

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestPromotionReplyLost: the link to the standby is cut after it was asked for
// its promotion and before it has answered. What has become of it is not known,
// and not known is not failed: nothing starts the old primary, and the run ends
// with the command to type when the link is back.
func TestPromotionReplyLost(t *testing.T) {
	t.Parallel()
	s := newState(t)
	mark := s.DB2.Path(s.DB2.Dir + "/promoting")
	s.override(s.DB2, "triggerStandby", `      local trigger = standby.trigger(c.node, { fast = c.params.fast })`,
		`      local trigger = standby.trigger(c.node, { fast = c.params.fast })
      ssh.run("db1", "touch `+mark+`; while test ! -e `+mark+`.cut; do sleep 0.1; done")`)
	s.write(s.DB1)
	run := s.start(s.DB1, "switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the promotion is asked for", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	s.DB2.StopSSH()
	if err := os.WriteFile(mark+".cut", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	result := run.end()
	s.failed(result, 4, "warmrun runs resume ")
	s.checkFenced(s.DB1)
	cluster.Eventually(s, time.Minute, "db2 is the primary", func() (bool, error) {
		got, err := s.DB2.TrySQL("SELECT pg_is_in_recovery()::text")
		return got == "false" && len(commandsOf(s.DB2, "triggerStandby")) == 0, err
	})
	s.write(s.DB2)
	s.checkFenced(s.DB1)
	s.DB2.StartSSH()
	id := s.unfinished(s.DB1)
	if !strings.Contains(result.Stderr, "warmrun runs resume "+id) {
		t.Errorf("%s\nwant the command to type: warmrun runs resume %s", result, id)
	}
	// That this is refused changes nothing, and keeps nobody from going on.
	s.refused(s.DB1, 1, "db1 stays stopped", "startPrimary")
	s.checkFenced(s.DB1)
	s.resumed(s.DB1, id)
	s.asBefore(s.DB2, s.DB1)
}
