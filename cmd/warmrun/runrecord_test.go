package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

const recordedRunbook = `return runbook {
  api = 1, name = "demo", summary = "Two steps", runs_on = "any", lock = "cluster",
  steps = {
    step { "one", run = function(c) return { at = lsn("1F/FFFFFFF0") } end, undo = function(c) end },
    step { "two", run = function(c) say("at %s", c.results.one.at) require("words") end },
  },
}
`

// recorded makes a site of one node whose runbook is the given one.
func recorded(t *testing.T) *session {
	t.Helper()
	home := t.TempDir()
	for path, text := range map[string]string{"demo.lua": recordedRunbook, "lib/words.lua": "return {}\n"} {
		path = filepath.Join(home, "global", "runbooks", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self := cluster.Node{Name: "db1", Role: cluster.RolePair, Home: home, PGData: "/none"}
	return newSession(&cluster.Site{Home: home, Self: self, Nodes: []cluster.Node{self}}, io.Discard, io.Discard)
}

// begun runs the runbook until after an event, as if its process had been killed
// there.
func begun(t *testing.T, s *session, id string, last engine.EventKind, step string) {
	t.Helper()
	s.run = id
	book, err := loadRunbook(t.Context(), s, s.setting(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := beginRecord(s, book, s.setting(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	dead := false
	_, err = book.Run(rec.within(t.Context()), nil, engine.RunOptions{Out: io.Discard, Observe: func(e engine.Event) error {
		if dead {
			return errors.New("dead")
		}
		dead = e.Kind == last && e.Step == step
		return rec.observe(e)
	}})
	if last == engine.RunEnded && err != nil || !dead {
		t.Fatalf("run to %s of %q: %v", last, step, err)
	}
	if err := rec.close(); err != nil {
		t.Fatal(err)
	}
}

// TestContinueFromRecord: what a run was started with is in its journal, also
// what its later steps require, and what was edited since does not count.
func TestContinueFromRecord(t *testing.T) {
	s := recorded(t)
	begun(t, s, "run", engine.StepEnded, "one")
	for _, path := range []string{"demo.lua", "lib/words.lua"} {
		if err := os.WriteFile(s.site.Global("runbooks", path), []byte("not Lua"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open, parts, err := inTheWay(s.site)
	if err != nil || len(open) != 1 || len(parts) != 0 || open[0].Head.ID != "run" {
		t.Fatalf("in the way: %v, %v, %v", idsOf(open), idsOf(parts), err)
	}
	var out strings.Builder
	if err := continueRun(t.Context(), s, "run", &engine.History{}, engine.RunOptions{Out: &out}, nil); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "at 1F/FFFFFFF0") || strings.Contains(got, "==> one") {
		t.Errorf("got\n%s\nwant the second step alone, with the result of the first", got)
	}
	if text, err := os.ReadFile(filepath.Join(runDir(s.site, "run"), "output")); err != nil || string(text) != out.String() {
		t.Errorf("the run has kept of its output %q, %v; want\n%s", text, err, out.String())
	}
	record, err := readRecord(s.site, "run")
	if err != nil || record.open() || len(record.Taken) != 1 || record.summary().State != engine.Succeeded {
		t.Errorf("got %+v, %+v, %v", record.Taken, record.summary(), err)
	}
	if open, err := openRuns(s.site); err != nil || len(open) != 0 {
		t.Errorf("still open: %v, %v", idsOf(open), err)
	}
}

// TestOtherCluster: a run does not go on where its nodes are not what they were.
func TestOtherCluster(t *testing.T) {
	s := recorded(t)
	begun(t, s, "run", engine.StepEnded, "one")
	s.site.Nodes[0].PGData = "/elsewhere"
	err := continueRun(t.Context(), s, "run", &engine.History{}, engine.RunOptions{}, nil)
	if err == nil || !strings.Contains(err.Error(), "are not the ones that run run was started with") || !strings.Contains(hint.Of(err), "warmrun runs abandon run") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}

// TestTakeBackBeforeTheFirstEvent: a run that was killed right after it had begun
// its journal has nothing to undo, and is over.
func TestTakeBackBeforeTheFirstEvent(t *testing.T) {
	s := recorded(t)
	s.run = "run"
	book, err := loadRunbook(t.Context(), s, s.setting(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := beginRecord(s, book, s.setting(), "run", nil)
	if err == nil {
		err = rec.close()
	}
	if err == nil {
		err = takeBack(t.Context(), s, "run", engine.RunOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if record, err := readRecord(s.site, "run"); err != nil || record.open() {
		t.Errorf("still open: %+v, %v", record.summary(), err)
	}
	if err := takeBack(t.Context(), s, "other", engine.RunOptions{}); err != nil {
		t.Errorf("a run that never was: %v", err)
	}
}

// TestTwin keeps the copy of a journal by the lines that come over a lock's
// connection.
func TestTwin(t *testing.T) {
	s, there := recorded(t), recorded(t)
	begun(t, s, "run", engine.RunEnded, "")
	whole, err := os.ReadFile(journalPath(s.site, "run"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	copy := &twin{site: there.site}
	ask := func(r copyRequest) string {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return copy.answer(append(text, '\n'))
	}
	if got := ask(copyRequest{Copy: "run", Lines: lines[1]}); got == "" {
		t.Error("a line was kept without the beginning")
	}
	if got := ask(copyRequest{Copy: "../run", Whole: true, Lines: lines[0]}); !strings.Contains(got, "is not the ID of a run") {
		t.Errorf("got %q", got)
	}
	if got := ask(copyRequest{Copy: "run", Whole: true, Lines: strings.Join(lines[:4], "")}); got != "" {
		t.Error(got)
	}
	if got := copy.answer([]byte("\n")); got != "" {
		t.Errorf("a sign of life is answered with %q", got)
	}
	for _, line := range lines[4 : len(lines)-1] {
		if got := ask(copyRequest{Copy: "run", Lines: line}); got != "" {
			t.Error(got)
		}
	}
	if err := copy.close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(journalPath(there.site, "run"))
	if err != nil || string(got) != string(whole) {
		t.Errorf("the copy is not the same: %v", err)
	}
	if open, err := openRuns(there.site); err != nil || len(open) != 0 {
		t.Errorf("a copy whose run has ended is open: %v, %v", idsOf(open), err)
	}
}

// TestLatestCopy: the copy that was given up counts, then the one that was taken
// over, then the longer one.
func TestLatestCopy(t *testing.T) {
	short, long, taken := runRecord{lines: 3}, runRecord{lines: 9}, runRecord{lines: 5, Taken: []runTaken{{}}}
	given := runRecord{lines: 2, Abandoned: &runTaken{}}
	for _, test := range []struct {
		a, b runRecord
		want bool
	}{
		{long, short, true}, {short, long, false}, {short, short, false}, {taken, long, true}, {long, taken, false},
		{given, taken, true}, {taken, given, false}, {given, given, false},
	} {
		if got := test.a.beyond(test.b); got != test.want {
			t.Errorf("%d lines and %d owners beyond %d and %d: %v", test.a.lines, len(test.a.Taken), test.b.lines, len(test.b.Taken), got)
		}
	}
}

// TestForgetOld: the newest runs of each runbook stay, and what has not ended.
func TestForgetOld(t *testing.T) {
	for _, node := range []string{"db1", "db-1.example.com", "10.0.0.1"} {
		t.Run(node, func(t *testing.T) { testForgetOld(t, node) })
	}
}

func testForgetOld(t *testing.T, node string) {
	s := recorded(t)
	id := func(i int) string { return fmt.Sprintf("202611%02dT000000Z-demo-%s-%d", i/24, node, 1000+i) }
	for i := range runsKept + 3 {
		if err := os.MkdirAll(runDir(s.site, id(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{".2", ".2-1-3", ".2.1", ".2~1", ".u2-3.1", ".f1"} {
		for i := range runsKept {
			if err := os.MkdirAll(runDir(s.site, id(1+i)+part), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := markOpen(s.site, id(0)); err != nil {
		t.Fatal(err)
	}
	if err := forgetOld(s.site, "demo"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{id(0): true, id(1): false, id(1) + ".2": false, id(2): false, id(2) + ".2-1-3": false, id(3): true, id(3) + ".2~1": true, id(runsKept + 2): true} {
		if _, err := os.Stat(runDir(s.site, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

// TestWaysOut: past the line of no return nobody is told to roll back.
func TestWaysOut(t *testing.T) {
	r := runRecord{Head: runHead{ID: "run", Runbook: "demo", User: "postgres", Node: "db1"}, plain: []engine.Event{{Kind: engine.StepBegan, Step: "one"}}}
	err := unfinishedError(r)
	if exitCode(err) != exitLocked || engine.HasBegun(err) || !strings.Contains(err.Error(), "run run is unfinished: demo, driven by postgres on db1, was interrupted in step one") {
		t.Errorf("got %v", err)
	}
	for _, past := range []bool{false, true} {
		if past {
			r.plain = append(r.plain, engine.Event{Kind: engine.NoReturnPassed})
		}
		ways := waysOut(r)
		if !strings.Contains(ways, "warmrun runs resume run") || strings.Contains(ways, "rollback") == past {
			t.Errorf("past the line %v: %s", past, ways)
		}
	}
}

// TestPlanMoved names what has moved under a plan.
func TestPlanMoved(t *testing.T) {
	then := planFile{Scripts: map[string]string{"demo": "a"}, Nodes: []planNode{
		{Name: "db1", nodeFacts: nodeFacts{Version: "1", Role: standby.RolePrimary, SystemID: 7, Timeline: 1}},
		{Name: "db2", nodeFacts: nodeFacts{Version: "1", Role: standby.RoleStandby, SystemID: 7, Scripts: map[string]string{"demo": "a", "lib/x": "b"}}},
		{Name: "dr", Silent: true},
	}}
	if got := then.moved(then); len(got) != 0 {
		t.Errorf("nothing has moved, and got %q", got)
	}
	now := planFile{Scripts: map[string]string{"demo": "b"}, Nodes: []planNode{
		{Name: "db1", nodeFacts: nodeFacts{Version: "2", Role: standby.RoleStandby, SystemID: 8}},
		{Name: "db2", nodeFacts: nodeFacts{Version: "1", Role: standby.RoleStandby, SystemID: 7, Scripts: map[string]string{"demo": "a", "new": "c"}}},
		{Name: "dr", nodeFacts: nodeFacts{Version: "1"}},
		{Name: "db3"},
	}}
	want := []string{
		"the text of demo has changed", "the part of db1 was primary and is standby", "the system identifier of db1 was 7 and is 8",
		"the warmrun of db1 was 1 and is 2", "new on db2 is the site's own now",
		"the text of lib/x on db2 is gone", "dr answers, and did not then", "db3 is a new node",
	}
	if got := then.moved(now); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestWaitEnded waits for the process that drives a part of a run.
func TestWaitEnded(t *testing.T) {
	s := recorded(t)
	s.run = "run"
	book, err := loadRunbook(t.Context(), s, s.setting(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := beginRecord(s, book, s.setting(), "run", nil)
	if err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(t.Context(), 3*heldWait)
	defer cancel()
	if err := waitEnded(late, s, "run"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run that is under way was not waited for: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- waitEnded(t.Context(), s, "run") }()
	if err := rec.close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits still")
	}
}

// TestHintNamesTheRun: what a run has left comes with the command that goes on
// with it. A run that is part of another leaves that to the other.
func TestHintNamesTheRun(t *testing.T) {
	book := &engine.Runbook{Name: "demo"}
	for _, test := range []struct {
		step *engine.StepError
		want string
	}{
		{&engine.StepError{Step: "b", Err: errors.New("no"), Left: []string{"a"}, UndoErr: engine.ErrUndoStopped}, "not undone: a (the undo was stopped); look at: warmrun status; to undo the rest: warmrun runs rollback run"},
		{&engine.StepError{Step: "b", Err: errors.New("no"), PastReturn: true}, "to go on where it stopped: warmrun runs resume run"},
	} {
		err := explainStep(test.step, book, "run")
		if got := hint.Of(err); !strings.Contains(got, test.want) || exitCode(err) != exitOperator {
			t.Errorf("got %q, exit status %d, want %q and %d", got, exitCode(err), test.want, exitOperator)
		}
		if got := hint.Of(explainStep(test.step, book, "")); strings.Contains(got, "warmrun runs") {
			t.Errorf("a part of another run says %q", got)
		}
	}
}
