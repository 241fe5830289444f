package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// oneHistory: what the archives hold is on the history of the primary, in all of
// them: each older timeline ends where that history left it, no archive has a
// history of its own, and the records say the same.
func oneHistory(t testing.TB, c *cluster.Cluster, primary *cluster.Node) {
	t.Helper()
	timeline, history := historyOf(t, primary)
	for _, n := range c.Nodes() {
		archive, err := walcore.OpenArchive(n.Path(n.Archive()))
		if err != nil {
			t.Fatal(err)
		}
		names, err := archive.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			switch name.Kind() {
			case walcore.KindHistory:
				sameHistory(t, n, primary, name)
			case walcore.KindSegment:
				onHistory(t, n, archive, name, timeline, history)
			}
		}
		report, err := archive.Verify(t.Context(), walcore.VerifyRequest{})
		if err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		for _, finding := range report.Findings {
			// A node has no archive of what it wrote itself.
			if finding.Kind != walcore.FindingMissing {
				t.Errorf("warmrun wal verify on %s: %s", n.Name, finding)
			}
		}
	}
}

// historyOf is the timeline of a primary and how it came to it.
func historyOf(t testing.TB, primary *cluster.Node) (walcore.Timeline, walcore.History) {
	t.Helper()
	number, err := strconv.ParseUint(primary.SQL("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	timeline := walcore.Timeline(number)
	if timeline == 1 {
		return 1, nil
	}
	history, err := walcore.ParseHistory(bytes.NewReader(inWAL(t, primary, timeline.HistoryName())), timeline)
	if err != nil {
		t.Fatal(err)
	}
	return timeline, history
}

func inWAL(t testing.TB, n *cluster.Node, name walcore.FileName) []byte {
	t.Helper()
	text, err := os.ReadFile(n.Path(filepath.Join(n.PGData, "pg_wal", string(name))))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sameHistory compares a history with what the primary has of it. A server keeps
// its ancestors' histories.
func sameHistory(t testing.TB, n, primary *cluster.Node, name walcore.FileName) {
	t.Helper()
	text, err := os.ReadFile(n.Path(filepath.Join(n.Archive(), string(name))))
	if err != nil {
		t.Fatal(err)
	}
	if want := inWAL(t, primary, name); !bytes.Equal(text, want) {
		t.Errorf("%s in the archive on %s is\n%sand on the primary %s\n%s", name, n.Name, text, primary.Name, want)
	}
}

func onHistory(t testing.TB, n *cluster.Node, archive *walcore.Archive, name walcore.FileName, timeline walcore.Timeline, history walcore.History) {
	t.Helper()
	of := name.Timeline()
	fork, left := history.Fork(of)
	if of == timeline {
		return
	}
	facts, err := archive.Describe(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	switch s := facts.Segment; {
	case !left:
		t.Errorf("the archive on %s has %s, and the primary on timeline %d never was on timeline %d", n.Name, name, timeline, of)
	case s.Start >= fork, s.ValidEnd > fork:
		t.Errorf("the archive on %s has %s with WAL up to %s, and timeline %d was left at %s", n.Name, name, s.ValidEnd, of, fork)
	}
}
