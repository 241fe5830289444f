package tests

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore/fault"
)

// TestResume kills the process that drives a switchover, at one boundary after
// the other, and goes on with the run from its journal.
func TestResume(t *testing.T) {
	t.Parallel()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{Tags: "faults"})}
	s.prepare()
	s.inTurn(
		chapter{"killed and resumed", (*state).killedAndResumed},
		chapter{"killed on the standby", (*state).drivenFromTheStandby},
		chapter{"killed and rolled back", (*state).killedAndRolledBack},
		chapter{"killed past the line of no return", (*state).killedPast},
		chapter{"killed on the node that is promoted", (*state).nestedKilled},
		chapter{"a plan that was saved", (*state).savedPlan},
		chapter{"its scripts are edited meanwhile", (*state).scriptsPinned},
		chapter{"the node that drove it is gone", (*state).takenOver},
		chapter{"the process that drove it wakes up", (*state).wakesUp},
	)
}

// pair is the primary and the standby as they are now.
func (s *state) pair() (primary, standby *cluster.Node) {
	s.Helper()
	if s.DB1.SQL("SELECT pg_is_in_recovery()::text") == "false" {
		return s.DB1, s.DB2
	}
	return s.DB2, s.DB1
}

// dieAt lets the node's processes kill themselves at a step, and checks that one
// did by the time the function it gives is called.
func (s *state) dieAt(n *cluster.Node, step fault.Step) (died func()) {
	s.Helper()
	deaths := &deaths{T: s.T, notes: filepath.Join(s.DB1.Dir, "deaths")}
	if err := os.Remove(deaths.notes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
	deaths.plan(n, map[fault.Step]float64{step: 1})
	return func() {
		s.Helper()
		if err := os.Remove(faultsFile(n)); err != nil {
			s.Fatal(err)
		}
		if counts, _ := deaths.count(); counts[step] != 1 {
			s.Fatalf("processes on %s died %v, want one at %q", n.Name, counts, step)
		}
	}
}

// killed drives a switchover on a node until it dies at a step, and returns the
// run's ID.
func (s *state) killed(driver, dying *cluster.Node, step fault.Step) string {
	s.Helper()
	died := s.dieAt(dying, step)
	driver.Run("switchover", "--drain", "0s")
	died()
	return s.unfinished(driver)
}

// unfinished is the ID of the one run that is unfinished.
func (s *state) unfinished(n *cluster.Node) string {
	s.Helper()
	var found []string
	for _, run := range s.runs(n) {
		if run.State == "interrupted" || run.State == "stopped halfway" && len(found) == 0 {
			found = append(found, run.ID)
		}
	}
	if len(found) != 1 {
		s.Fatalf("%s\nwant one run unfinished", n.Run("runs", "list"))
	}
	return found[0]
}

type listedRun struct{ ID, State, Step, Node string }

func (s *state) runs(n *cluster.Node) (runs []listedRun) {
	s.Helper()
	if err := json.Unmarshal([]byte(n.Must("runs", "list", "--json").Stdout), &runs); err != nil {
		s.Fatal(err)
	}
	return runs
}

// goOnWith resumes or rolls back a run, once the locks of the killed process
// have gone with its connections.
func (s *state) goOnWith(n *cluster.Node, args ...string) (result cluster.Result) {
	s.Helper()
	cluster.Eventually(s, 2*time.Minute, "the locks of the killed run are free", func() (bool, error) {
		result = n.Run(append([]string{"runs"}, args...)...)
		return result.Code != 5, nil
	})
	return result
}

func (s *state) resumed(n *cluster.Node, id string) {
	s.Helper()
	if result := s.goOnWith(n, "resume", id); result.Code != 0 {
		s.Fatalf("%s\n%s\nwant it to come to its end", result, n.Run("runs", "show", id).Stdout)
	}
	s.refused(n, 1, "has ended: done", "runs", "resume", id)
}

// killedAndResumed: every resumed run ends as an undisturbed one.
func (s *state) killedAndResumed() {
	for _, step := range []fault.Step{
		fault.AfterEvent("run began", ""),
		fault.AfterEvent("step began", "flush"),
		fault.AfterEvent("change began", "stop"),
		fault.BeforeEvent("step ended", "stop"),
		fault.AfterEvent("step ended", "fence"),
		fault.BeforeEvent("step ended", "prove"),
		fault.BeforeEvent("step began", "promote"),
	} {
		primary, standby := s.pair()
		s.write(primary)
		id := s.killed(primary, primary, step)
		s.refused(standby, 5, "warmrun runs resume "+id, "switchover", "--drain", "0s")
		s.resumed(primary, id)
		s.asBefore(standby, primary)
	}
}

// drivenFromTheStandby: what stops the primary is then a process there, which
// was not begun yet, or has done its work, when the one that called it dies.
func (s *state) drivenFromTheStandby() {
	for _, step := range []fault.Step{fault.AfterEvent("nested run called", "flush"), fault.BeforeEvent("step ended", "flush")} {
		primary, standby := s.pair()
		s.write(primary)
		id := s.killed(standby, standby, step)
		s.resumed(standby, id)
		s.asBefore(standby, primary)
	}
}

// killedAndRolledBack: the old primary is back, as after a failure.
func (s *state) killedAndRolledBack() {
	for _, step := range []fault.Step{fault.AfterEvent("step ended", "stop"), fault.BeforeEvent("step began", "promote")} {
		primary, standby := s.pair()
		s.write(primary)
		id := s.killed(primary, primary, step)
		if result := s.goOnWith(primary, "rollback", id); result.Code != 0 {
			s.Fatalf("%s\nwant the run undone", result)
		}
		s.asBefore(primary, standby)
		s.refused(standby, 1, "has ended: undone", "runs", "resume", id)
	}
}

// killedPast: there is no way back, which is said, and the way forward is open.
func (s *state) killedPast() {
	for _, step := range []fault.Step{fault.AfterEvent("no return", "promote"), fault.AfterEvent("change began", "follow")} {
		primary, standby := s.pair()
		s.write(primary)
		id := s.killed(primary, primary, step)
		cluster.Eventually(s, time.Minute, "the promotion has ended", func() (bool, error) {
			return len(commandsOf(standby, "triggerStandby")) == 0, nil
		})
		s.failed(s.goOnWith(standby, "rollback", id), 4, "warmrun runs resume "+id)
		s.resumed(standby, id)
		s.asBefore(standby, primary)
	}
}

// nestedKilled: what dies is the part of the run that promotes the other node,
// right before it asks for the promotion. The run does not undo what may have
// happened; it goes on.
func (s *state) nestedKilled() {
	primary, standby := s.pair()
	s.write(primary)
	died := s.dieAt(standby, fault.AfterEvent("change began", "trigger"))
	result := primary.Run("switchover", "--drain", "0s")
	died()
	s.failed(result, 4, "warmrun runs resume ")
	s.checkFenced(primary)
	s.resumed(primary, s.unfinished(primary))
	s.asBefore(standby, primary)
}

// savedPlan: a plan runs while all is as it was, and then no more.
func (s *state) savedPlan() {
	primary, standby := s.pair()
	s.write(primary)
	file := filepath.Join(primary.Dir, "plan")
	primary.Must("switchover", "--drain", "0s", "--plan", "--out", file)
	path := standby.Path(filepath.Join(standby.Home, "global", "runbooks"))
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.Fatal(err)
	}
	path = filepath.Join(path, "note.lua")
	if err := os.WriteFile(path, []byte("-- a note"), 0o644); err != nil {
		s.Fatal(err)
	}
	s.refused(primary, 1, "note on "+standby.Name+" is the site's own now", "run", file)
	if err := os.Remove(path); err != nil {
		s.Fatal(err)
	}
	primary.Must("run", file)
	s.asBefore(standby, primary)
	s.refused(primary, 1, "the part of "+primary.Name+" was primary and is standby", "run", file)
	s.refused(primary, 2, "no plan", "run", filepath.Join(primary.PGData, "PG_VERSION"))
}

// scriptsPinned: the run goes on with the text that it began with.
func (s *state) scriptsPinned() {
	primary, standby := s.pair()
	s.override(primary, "switchover", `    step { "promote"`, `    step { "extra", run = function(c) say("the first text") end },
    step { "promote"`)
	id := s.killed(primary, primary, fault.BeforeEvent("step began", "extra"))
	path := primary.Path(filepath.Join(primary.Home, "global", "runbooks", "switchover.lua"))
	text, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	s.replace(path, strings.Replace(string(text), "the first text", "another text", 1))
	if result := s.goOnWith(primary, "resume", id); result.Code != 0 || !strings.Contains(result.Stdout, "the first text") {
		s.Fatalf("%s\nwant the text that the run began with", result)
	}
	s.asBefore(standby, primary)
}

// takenOver: the DR node drives a switchover. While its process lives, nobody
// else goes on with the run; when its host is gone, another node does.
func (s *state) takenOver() {
	primary, standby := s.pair()
	s.write(primary)
	mark := primary.Path(filepath.Join(primary.Dir, "proved"))
	s.override(s.DR, "switchover", `    step { "fence",`, `    step { "pause", run = function(c) ssh.read("db1", "touch `+mark+`; sleep 1") end },
    step { "fence",`)
	run := s.start(s.DR, "switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the primary is flushed", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	if err := run.process.Signal(syscall.SIGSTOP); err != nil {
		s.Fatal(err)
	}
	runs := s.runs(standby)
	if runs[0].State != "under way" || runs[0].Node != "dr" {
		s.Fatalf("%+v\nwant the first one to be under way on dr", runs)
	}
	id := runs[0].ID
	s.refused(standby, 5, "started by postgres on dr", "runs", "resume", id)
	if err := run.process.Kill(); err != nil {
		s.Fatal(err)
	}
	run.end()
	s.DR.Cut()
	s.refused(standby, 5, "warmrun runs resume "+id, "switchover", "--drain", "0s")
	s.asksForTheDriver(standby, id)
	if result := s.goOnWith(standby, "resume", "--driver-lost", id); result.Code != 0 || !strings.Contains(result.Stderr, "dr cannot be reached: if that process still runs after all") {
		s.Fatalf("%s\n%s\nwant it to come to its end", result, standby.Run("runs", "show", id).Stdout)
	}
	s.asBefore(standby, primary)
	s.DR.Uncut()
	s.DR.StartServer()
	if runs := s.runs(s.DR); runs[0].ID != id || runs[0].State != "done" || runs[0].Node != standby.Name {
		s.Errorf("dr lists %+v, want the run done by %s", runs[0], standby.Name)
	}
}

// asksForTheDriver: whether a process on a node that cannot be reached still
// drives the run is for the operator to say.
func (s *state) asksForTheDriver(n *cluster.Node, id string) {
	s.Helper()
	var result cluster.Result
	cluster.Eventually(s, 2*time.Minute, "the locks of the killed run are free", func() (bool, error) {
		result = n.Run("runs", "resume", id)
		return !strings.Contains(result.Stderr, "another run is under way"), nil
	})
	s.failed(result, 5, "dr cannot be reached: whether that process has ended cannot be told")
	s.says(result, "then: warmrun runs resume "+id+" --driver-lost")
}

// wakesUp: the DR node drives a switchover and is stopped, and no longer reached,
// once the fence is up, for so long that the other nodes take its locks for a dead one's.
// Another node brings the run to its end. When the first process goes on, it does
// nothing more: the fence stays, and the journal is the other's.
func (s *state) wakesUp() {
	primary, standby := s.pair()
	s.write(primary)
	mark := primary.Path(filepath.Join(primary.Dir, "fenced"))
	s.override(s.DR, "switchover", `    step { "promote"`, `    step { "pause", run = function(c) ssh.read("db1", "touch `+mark+`; while test ! -e `+mark+`.over; do sleep 0.1; done") end },
    step { "promote"`)
	run := s.start(s.DR, "switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the fence is up", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	if err := run.process.Signal(syscall.SIGSTOP); err != nil {
		s.Fatal(err)
	}
	id := s.runs(standby)[0].ID
	s.DR.StopSSH()
	for _, n := range []*cluster.Node{primary, standby} {
		for _, pid := range commandsOf(n, "lock") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				s.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(mark+".over", nil, 0o644); err != nil {
		s.Fatal(err)
	}
	if result := s.goOnWith(standby, "resume", "--driver-lost", id); result.Code != 0 {
		s.Fatalf("%s\n%s\nwant it to come to its end", result, standby.Run("runs", "show", id).Stdout)
	}
	s.DR.StartSSH()
	if err := run.process.Signal(syscall.SIGCONT); err != nil {
		s.Fatal(err)
	}
	s.failed(run.end(), 5, "has come in between")
	s.asBefore(standby, primary)
	for _, n := range []*cluster.Node{primary, standby, s.DR} {
		if runs := s.runs(n); runs[0].ID != id || runs[0].State != "done" || runs[0].Node != standby.Name {
			s.Errorf("%s lists %+v, want the run done by %s", n.Name, runs[0], standby.Name)
		}
	}
}
