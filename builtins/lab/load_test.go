package lab

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab/ledger"
)

// TestLoadAcrossACrash: the server is killed under load and started again.
// Every row that it acknowledged must be there, and none that was never sent.
func TestLoadAcrossACrash(t *testing.T) {
	l := up(t)
	d := &demo{lab: l}
	if err := ledger.CreateTable(t.Context(), d.target("db1")); err != nil {
		t.Fatal(err)
	}
	book, err := ledger.Create(filepath.Join(l.Dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	config := ledger.LoadConfig{Writers: 3, Batch: 5}
	for _, n := range l.Nodes {
		config.Targets = append(config.Targets, d.target(n.Name))
	}
	load := ledger.StartLoad(t.Context(), book, config)
	waitRows(t, book, 500)
	if err := l.Kill(t.Context(), "db1"); err != nil {
		t.Fatal(err)
	}
	atCrash := book.Snapshot().Acknowledged.Len()
	if err := l.StartServer(t.Context(), l.Nodes[0]); err != nil {
		t.Fatal(err)
	}
	waitRows(t, book, atCrash+500)
	resume := load.Pause()
	s := book.Snapshot()
	rows, err := ledger.Rows(t.Context(), d.target("db1"))
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Compare(rows); len(v.Missing) > 0 || len(v.Strange) > 0 || v.Found != s.Acknowledged.Len() {
		t.Errorf("missing %s, strange %s, found %d, want none missing or strange of %d", v.Missing, v.Strange, v.Found, s.Acknowledged.Len())
	}
	if gap := book.LongestGap(); gap < 50*time.Millisecond {
		t.Errorf("longest gap between acknowledgements %s, want the time of the crash", gap)
	}
	if after := book.Snapshot(); after.Next != s.Next {
		t.Errorf("ids up to %d were sent during a pause, want none after %d", after.Next, s.Next)
	}
	resume()
	waitRows(t, book, s.Acknowledged.Len()+100)
	if err := load.Stop(); err != nil {
		t.Error(err)
	}
	if err := book.Close(); err != nil {
		t.Error(err)
	}
}

func waitRows(t *testing.T, book *ledger.Ledger, want int64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for book.Snapshot().Acknowledged.Len() < want {
		if time.Now().After(deadline) {
			t.Fatalf("%d rows acknowledged after 30 s, want %d", book.Snapshot().Acknowledged.Len(), want)
		}
		if err := pause(t.Context(), 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}
