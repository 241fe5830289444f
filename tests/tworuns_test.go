package tests

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestTwoRuns starts runs beside each other: one goes through, and the other
// ends with exit status 5 and has changed nothing.
func TestTwoRuns(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"one paused after its checks", (*state).pausedRun},
		chapter{"overtaken after its locks were lost", (*state).overtakenRun},
		chapter{"the primary is never started beside another", (*state).noSecondStart},
	)
}

// pausing starts a switchover on a node and stops its process when its checks
// are made and nothing is changed yet.
func (s *state) pausing(n *cluster.Node, args ...string) command {
	s.Helper()
	mark := n.Path(filepath.Join(n.Dir, "mark"))
	s.override(n, "switchover", "  steps = {", `  steps = {
    step { "pause", run = function(c) ssh.read("db2", "touch `+mark+`; sleep 1") end },`)
	run := s.start(n, append([]string{"switchover", "--drain", "0s"}, args...)...)
	cluster.Eventually(s, time.Minute, "the first run has made its checks", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	if err := run.process.Signal(syscall.SIGSTOP); err != nil {
		s.Fatal(err)
	}
	return run
}

func (s *state) goOn(run command) {
	s.Helper()
	if err := run.process.Signal(syscall.SIGCONT); err != nil {
		s.Fatal(err)
	}
}

// pausedRun: the second run is turned away on whatever node it is started, by
// an error that says who is in the way.
func (s *state) pausedRun() {
	first := s.pausing(s.DB1)
	for _, n := range []*cluster.Node{s.DB2, s.DB1} {
		result := s.refused(n, 5, "switchover-db1-", "switchover", "--drain", "0s")
		for _, want := range []string{"started by ", " on db1 as process ", "since "} {
			if !strings.Contains(result.Stderr, want) {
				s.Errorf("%s\nwant %q in the error", result, want)
			}
		}
	}
	s.refused(s.DB1, 5, "switchover-db1-", "flushPrimary", "--drain", "0s")
	if got := s.DB1.SQL("SELECT pg_is_in_recovery()::text"); got != "false" {
		s.Errorf("db1 is in recovery: %s, want false", got)
	}
	s.write(s.DB1)
	s.goOn(first)
	if result := first.end(); result.Code != 0 {
		s.Fatalf("%s\nwant the first run to go through", result)
	}
	s.asBefore(s.DB2, s.DB1)
	s.DB1.Must("switchover", "--drain", "0s")
	s.asBefore(s.DB1, s.DB2)
}

// overtakenRun: a run that was stopped for so long that the other nodes took
// its locks for a dead one's, and somebody has given it up. Another run has gone
// through when it goes on.
func (s *state) overtakenRun() {
	first := s.pausing(s.DR)
	for _, n := range []*cluster.Node{s.DB1, s.DB2} {
		for _, pid := range commandsOf(n, "lock") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				s.Fatal(err)
			}
		}
	}
	s.DR.StopSSH()
	s.abandoned(s.DB1, "--driver-lost")
	s.DB1.Must("switchover", "--drain", "0s")
	s.DR.StartSSH()
	s.goOn(first)
	s.failed(first.end(), 5, "has come in between")
	s.asBefore(s.DB2, s.DB1)
	s.DB2.Must("switchover", "--drain", "0s")
	s.asBefore(s.DB1, s.DB2)
}

// noSecondStart: what starts an old primary looks for itself. Here a run asks
// for it that has looked at nothing.
func (s *state) noSecondStart() {
	s.override(s.DB1, "startPrimary", `standby.bring_back(c.node, {`, `standby.start_primary(c.params.accept_split and "db2" or c.node, {}); if false then standby.bring_back(c.node, {`)
	path := s.DB1.Path(filepath.Join(s.DB1.Home, "global", "runbooks", "startPrimary.lua"))
	text, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	blind := strings.NewReplacer("accept_split = c.params.accept_split })", "}) end", "cluster.is_primary(c.node)", "false")
	s.replace(path, blind.Replace(string(text)))
	s.refused(s.DB1, 1, "db2 was not stopped as a primary", "startPrimary", "--accept-split")
	s.asBefore(s.DB1, s.DB2)

	s.DB1.Must("flushPrimary", "--drain", "0s")
	s.DB2.Must("triggerStandby", "--archiving")
	s.refused(s.DB1, 1, "db1 stays stopped", "startPrimary")
	s.checkFenced(s.DB1)
	s.write(s.DB2)
	s.checkRows(s.DB2)
}
