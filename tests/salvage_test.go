package tests

import (
	"os"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestSalvageOverNewLink: the connection to the dead primary's host breaks once in
// the middle of a failover. That is no reason to give up what only that host has:
// it is reached again over a new one.
func TestSalvageOverNewLink(t *testing.T) {
	t.Parallel()
	s := newState(t)
	mark := s.DB2.Path(s.DB2.Dir + "/salvaging")
	s.override(s.DB2, "failover", "return rivals.salvage(c.node)",
		`ssh.run("dr", "touch `+mark+`; while test ! -e `+mark+`.cut; do sleep 0.1; done")
      return rivals.salvage(c.node)`)
	s.write(s.DB1)
	s.DB1.KillServer()
	run := s.start(s.DB2, "failover", "--yes")
	cluster.Eventually(s, time.Minute, "the old primary is fenced", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	s.DB1.StopSSH()
	s.DB1.StartSSH()
	if err := os.WriteFile(mark+".cut", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	result := run.end()
	if result.Code != 0 {
		t.Fatal(result)
	}
	s.says(result, "Nothing is lost: db2 has every byte that db1 had flushed")
	s.checkRows(s.DB2)
}
