package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// TestStateChanges walks one cluster through the failures that a change of
// state may meet, and through the procedures that are made by hand. Each part
// leaves db1 the primary and db2 its standby, until the last ones.
func TestStateChanges(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"flush with the standby's host gone", (*state).flushWithoutStandby},
		chapter{"flush fails after the stop", (*state).flushFails},
		chapter{"flush fails and nobody can be asked", (*state).flushFailsAlone},
		chapter{"flush taken back", (*state).flushTakenBack},
		chapter{"nodes that are not fit to change places", (*state).switchoverUnfit},
		chapter{"what the other host lacks", (*state).switchoverPreflight},
		chapter{"switchover without proof", (*state).switchoverWithoutProof},
		chapter{"switchover whose promotion is refused", (*state).switchoverRefused},
		chapter{"switchover interrupted while clients drain", (*state).interruptedDrain},
		chapter{"switchover interrupted before the promotion", (*state).interruptedProof},
		chapter{"relay", (*state).relay},
		chapter{"archiving with the standby down", (*state).standbyDown},
		chapter{"there, back, there, and the primary dies", (*state).sequence},
		chapter{"to the DR node and back", (*state).toDR},
		chapter{"triggered by hand", (*state).triggeredByHand},
		chapter{"the primary's host is gone", (*state).hostGone},
		chapter{"rebuilding", (*state).rebuilding},
	)
}

// state is the cluster and how many rows its table has.
type state struct {
	*testing.T
	*cluster.Cluster
	rows int
}

// chapter is one test on a cluster that others have used before it.
type chapter struct {
	name string
	run  func(*state)
}

// inTurn runs chapters one after the other. What follows begins where one should
// have ended, so the first that fails is the last.
func (s *state) inTurn(chapters ...chapter) {
	for _, p := range chapters {
		ok := s.Run(p.name, func(t *testing.T) {
			at := *s
			at.T = t
			p.run(&at)
			s.rows = at.rows
		})
		if !ok {
			return
		}
	}
}

func newState(t *testing.T) *state {
	t.Helper()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{Settings: []string{"wal_level = logical"}})}
	s.prepare()
	return s
}

// prepare makes the cluster whole.
func (s *state) prepare() {
	s.Helper()
	s.DB1.Must("distrib")
	s.DB2.Must("configStandby")
	s.DR.Must("configStandby")
	s.DB1.SQL("CREATE TABLE t (i int)")
	s.DB1.Must("copyToStandby", "--start")
	s.DB1.Must("copyToDR", "--start")
	s.write(s.DB1)
	s.follows(s.DB2, s.DB1)
}

// write puts a row into the table: the node accepts writes.
func (s *state) write(n *cluster.Node) {
	s.Helper()
	s.rows++
	n.SQL(fmt.Sprintf("INSERT INTO t VALUES (%d)", s.rows))
}

// follows waits until a standby has every row.
func (s *state) follows(n, primary *cluster.Node) {
	s.Helper()
	n.WaitReplay(primary, catchUp)
	s.checkRows(n)
}

// checkRows: no row is missing on the node, and none is there twice.
func (s *state) checkRows(n *cluster.Node) {
	s.Helper()
	got := n.SQL("SELECT count(*) || ' ' || coalesce(sum(i), 0) FROM t")
	if want := fmt.Sprint(s.rows, " ", s.rows*(s.rows+1)/2); got != want {
		s.Errorf("%s has rows and sum %s, want %s", n.Name, got, want)
	}
}

// refused runs a command that must fail with one error line and a hint.
func (s *state) refused(n *cluster.Node, code int, want string, args ...string) cluster.Result {
	s.Helper()
	result := n.Run(args...)
	s.failed(result, code, want)
	return result
}

func (s *state) failed(result cluster.Result, code int, want string) {
	s.Helper()
	if result.Code != code || strings.Count(result.Stderr, "warmrun: error: ") != 1 ||
		strings.Count(result.Stderr, "warmrun: hint: ") != 1 || !strings.Contains(result.Stderr, want) {
		s.Errorf("%s\nwant exit status %d, one error line, one hint, and %q", result, code, want)
	}
}

// says checks that a command's output has all the parts.
func (s *state) says(result cluster.Result, parts ...string) {
	s.Helper()
	for _, part := range parts {
		if !strings.Contains(result.Stdout+result.Stderr, part) {
			s.Errorf("%s\nwant %q in it", result, part)
		}
	}
}

// asBefore: the pair is what it was before a change of state that failed. The
// old primary accepts writes and ships them, no archive is fenced, and the
// standby goes on.
func (s *state) asBefore(primary, standby *cluster.Node) {
	s.Helper()
	s.write(primary)
	if !active(primary) {
		s.Errorf("archiving is not active on %s", primary.Name)
	}
	if primary.Exists(filepath.Join(primary.PGData, "standby.signal")) {
		s.Errorf("standby.signal is left on %s: it would start as a standby", primary.Name)
	}
	for _, n := range s.Nodes() {
		fence, err := s.archive(n).Fence()
		if err != nil {
			s.Fatal(err)
		}
		for _, cut := range fence.Cuts {
			if primaryTimeline(primary) == fmt.Sprint(uint32(cut.Timeline)) {
				s.Errorf("the archive on %s is still fenced: %+v", n.Name, cut)
			}
		}
	}
	if got := standby.SQL("SELECT pg_is_in_recovery()::text"); got != "true" {
		s.Errorf("%s is in recovery: %s, want true", standby.Name, got)
	}
	s.follows(standby, primary)
}

func primaryTimeline(n *cluster.Node) string {
	return n.SQL("SELECT timeline_id::text FROM pg_control_checkpoint()")
}

func active(n *cluster.Node) bool {
	return n.Exists(filepath.Join(n.Home, "local", "replication", "archiving_active"))
}

func (s *state) archive(n *cluster.Node) *walcore.Archive {
	s.Helper()
	archive, err := walcore.OpenArchive(n.Path(n.Archive()))
	if err != nil {
		s.Fatal(err)
	}
	return archive
}

// override gives the node a runbook of its own: the shipped one with a text
// replaced. It goes with the part.
func (s *state) override(n *cluster.Node, name, from, to string) {
	s.Helper()
	text, err := runbooks.Files.ReadFile(name + ".lua")
	if err != nil {
		s.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		s.Fatalf("%s has no %q in it", name, from)
	}
	path := n.Path(filepath.Join(n.Home, "global", "runbooks", name+".lua"))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o644); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := os.Remove(path); err != nil {
			s.Error(err)
		}
	})
}

// command is a run of warmrun in the background.
type command struct {
	process *os.Process
	end     func() cluster.Result
}

// start starts warmrun on the node.
func (s *state) start(n *cluster.Node, args ...string) command {
	s.Helper()
	cmd := n.Command(s.Context(), n.Binary(), args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	n.Start(cmd)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return command{cmd.Process, func() cluster.Result {
		s.Helper()
		select {
		case <-done:
		case <-time.After(2 * time.Minute):
			s.Fatalf("%v does not end; so far:\n%s%s", args, stdout.String(), stderr.String())
		}
		return cluster.Result{Node: n.Name, Args: args, Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	}}
}

// interrupt is Ctrl-C.
func (c command) interrupt(s *state) {
	s.Helper()
	if err := c.process.Signal(syscall.SIGINT); err != nil {
		s.Fatal(err)
	}
}
