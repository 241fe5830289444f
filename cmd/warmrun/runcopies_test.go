package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// copied is a run that was killed on db1, seen from db2 with the copy of an
// earlier moment.
func copied(t *testing.T) (s *session, whole runCopy, path string) {
	t.Helper()
	there := recorded(t)
	begun(t, there, "run", engine.StepEnded, "one")
	whole, err := journalHere(t.Context(), there, runOptions{ID: "run"})
	if err != nil {
		t.Fatal(err)
	}
	s = recorded(t)
	s.site.Self.Name = "db2"
	s.site.Nodes = append([]cluster.Node{there.site.Self}, s.site.Self)
	lines := strings.SplitAfter(whole.Lines, "\n")
	if err := replaceCopy(s.site, "run", []byte(strings.Join(lines[:len(lines)-3], ""))); err != nil {
		t.Fatal(err)
	}
	return s, whole, journalPath(s.site, "run")
}

// TestCopyThatCannotBeRead: an older copy is not taken for the latest while the
// one of a node that has it cannot be read.
func TestCopyThatCannotBeRead(t *testing.T) {
	s, whole, _ := copied(t)
	failed := map[cluster.NodeName]error{"db1": errors.New("damaged")}
	_, err := chooseCopy(s, "run", nil, failed, []cluster.NodeName{"db1"})
	if err == nil || !strings.Contains(err.Error(), "the copy of run run on db1 cannot be read") || hint.Of(err) != "mend that on db1 and repeat" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	if _, err := chooseCopy(s, "run", nil, failed, nil); err != nil {
		t.Errorf("a node that nothing is known of: %v", err)
	}
	r, err := chooseCopy(s, "run", map[cluster.NodeName]runCopy{"db1": whole}, nil, []cluster.NodeName{"db1"})
	if err != nil || r.summary().Step != "one" || !r.summary().StepEnded {
		t.Errorf("got %+v, %v", r.summary(), err)
	}
}

// TestHeldElsewhere: a run that a process on another node writes is not gone on
// with, and one that locks nothing but its node is left to that node.
func TestHeldElsewhere(t *testing.T) {
	s, whole, _ := copied(t)
	whole.Held = true
	r, err := chooseCopy(s, "run", map[cluster.NodeName]runCopy{"db1": whole}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := mayGoOn(t.Context(), s, r, runLock{}, false); exitCode(err) != exitLocked || !strings.Contains(err.Error(), "under way") {
		t.Errorf("got %v", err)
	}
	r.Head.Lock = "node"
	if err := drivenHere(s, r, "resume"); err == nil || hint.Of(err) != "nothing was done; on db1: warmrun runs resume run" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	r.Head.Lock = "cluster"
	if err := drivenHere(s, r, "resume"); err != nil {
		t.Error(err)
	}
}

// TestStrayPart: a journal that does not tell of the call of a part that is there
// ends too early.
func TestStrayPart(t *testing.T) {
	s, whole, _ := copied(t)
	for _, test := range []struct {
		parts []string
		want  string
	}{{nil, ""}, {[]string{"0", "f2"}, ""}, {[]string{"2"}, "run.2"}} {
		whole.Parts = test.parts
		r, err := chooseCopy(s, "run", map[cluster.NodeName]runCopy{"db1": whole}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = mayGoOn(t.Context(), s, r, runLock{}, false)
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("parts %v: %v, want %q", test.parts, err, test.want)
		}
	}
	for _, name := range []string{"run.2", "run.2.1", "run.3~1", "runs.4"} {
		if err := os.MkdirAll(runDir(s.site, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if parts, err := partsOf(s.site, "run"); strings.Join(parts, " ") != "2 3" || err != nil {
		t.Errorf("parts %v, %v, want 2 and 3", parts, err)
	}
}

// TestDamagedJournal: a journal that the disk has damaged makes way for another
// node's copy, and is in the way of nothing but new runs where there is none.
func TestDamagedJournal(t *testing.T) {
	s, whole, path := copied(t)
	var said strings.Builder
	s.err = &said
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[20]++
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = chooseCopy(s, "run", nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "entry 1 is damaged") || !strings.Contains(hint.Of(err), "move "+filepath.Dir(path)+" out of the way") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	begun(t, s, "other", engine.RunEnded, "")
	if all, err := allRuns(s); err != nil || len(all) != 1 || all[0].Head.ID != "other" || !strings.Contains(said.String(), "entry 1 is damaged") {
		t.Errorf("got %v, %v, and said %q", idsOf(all), err, said.String())
	}
	if _, _, err := inTheWay(s.site); err == nil {
		t.Error("a run begins beside one that cannot be read")
	}
	r, err := chooseCopy(s, "run", map[cluster.NodeName]runCopy{"db1": whole}, nil, nil)
	if err != nil || r.summary().Step != "one" {
		t.Errorf("got %+v, %v", r.summary(), err)
	}
	if entries, err := journal.Read(path); err != nil || len(entries) != r.lines {
		t.Errorf("the copy was not taken: %d entries, %v", len(entries), err)
	}
	if aside, err := os.ReadFile(path + ".damaged"); err != nil || string(aside) != string(text) {
		t.Errorf("the damaged one is gone: %v", err)
	}
}

// TestOvertakenByAnother: a run that has begun since is not gone past, and one that
// has had a lock and was refused before it had begun is.
func TestOvertakenByAnother(t *testing.T) {
	s := recorded(t)
	begun(t, s, "run", engine.StepEnded, "one")
	old, err := readRecord(s.site, "run")
	if err != nil {
		t.Fatal(err)
	}
	lock := runLock{cluster: &clusterLock{before: []string{"", "run", "refused"}}}
	if err := refuseOvertaken(t.Context(), s, old, lock); err != nil {
		t.Errorf("nobody has come in between: %v", err)
	}
	// One that only looks is such a run.
	begun(t, s, "looked", engine.RunEnded, "")
	if err := refuseOvertaken(t.Context(), s, old, lock); err != nil {
		t.Errorf("a run that has changed nothing: %v", err)
	}
	changes := strings.Replace(recordedRunbook, `require("words")`, `drill.note(c.node, { ok = true })`, 1)
	if err := os.WriteFile(s.site.Global("runbooks", "demo.lua"), []byte(changes), 0o644); err != nil {
		t.Fatal(err)
	}
	begun(t, s, "other", engine.RunEnded, "")
	if err := refuseOvertaken(t.Context(), s, old, lock); err == nil || !strings.Contains(err.Error(), "run other has changed the cluster") {
		t.Errorf("got %v", err)
	}
}

// TestAsIsAnID: what another node gives a part of its run as an ID names a
// directory.
func TestAsIsAnID(t *testing.T) {
	s := recorded(t)
	err := runForAnother(context.Background(), &process{out: io.Discard, err: io.Discard}, s, &engine.Runbook{Name: "demo"}, runCommand{as: "../run"})
	if exitCode(err) != exitUsage {
		t.Errorf("got %v", err)
	}
}
