package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBacklog: how long the rest takes follows from what was archived just now.
func TestBacklog(t *testing.T) {
	data := t.TempDir()
	status := filepath.Join(data, "pg_wal", "archive_status")
	if err := os.MkdirAll(status, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		files []string // more than before
		want  backlogResult
	}{
		{nil, backlogResult{}},
		{[]string{"000000010000000000000001.done"}, backlogResult{}},
		{[]string{"000000010000000000000003.ready", "000000010000000000000004.ready", "000000010000000000000005.ready", "notes"},
			backlogResult{3, "000000010000000000000003", "at the pace of the last minute that takes 3m0s"}},
		{[]string{"000000010000000000000002.done"}, backlogResult{3, "000000010000000000000003", "at the pace of the last minute that takes 1m30s"}},
	} {
		for _, name := range test.files {
			if err := os.WriteFile(filepath.Join(status, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := backlog(data); err != nil || got != test.want {
			t.Errorf("with %v: got %+v, %v; want %+v", test.files, got, err, test.want)
		}
	}
	// As a checkpoint leaves it that was long ago.
	for _, name := range []string{"000000010000000000000001.done", "000000010000000000000002.done"} {
		if err := os.Remove(filepath.Join(status, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := backlog(data); err != nil || got.Drain != "none was archived in the last minute" {
		t.Errorf("with nothing done: got %+v, %v", got, err)
	}
}
