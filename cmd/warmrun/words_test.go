package main

import (
	"testing"
	"time"
)

func TestDescribeCall(t *testing.T) {
	tests := []struct {
		op   string
		args []any
		want string
	}{
		{"pg_ctl.stop", []any{"db1", stopOptions{}}, "stop the server on db1"},
		{"pg_ctl.stop", []any{"db1", stopOptions{Drain: time.Minute}}, "stop the server on db1: new connections are refused, clients have 1m0s to finish, then a fast stop"},
		{"archive.wait", []any{"db2", waitOptions{Segment: "000000010000000000000007"}}, "wait until the archive on db2 has segment 000000010000000000000007"},
		{"archive.wait", []any{"db2", waitOptions{History: 3}}, "wait until the archive on db2 has the history of timeline 3"},
		{"archive.set_active", []any{"db1", setActiveOptions{Active: true}}, "archiving_active on db1: true"},
		{"standby.prove_replay", []any{"db2", proveOptions{}}, "prove that db2 has replayed everything up to (as found then)"},
	}
	for _, tt := range tests {
		if got := describer(tt.op)(tt.args); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.op, got, tt.want)
		}
	}
}

// Words for an operation that does not exist would never be seen.
func TestPlanWordsNameOperations(t *testing.T) {
	known := map[string]bool{}
	for _, op := range operations() {
		known[op.module+"."+op.bind(&session{}).Name] = true
	}
	for name := range planWords() {
		if !known[name] {
			t.Errorf("words for %s, which is no operation", name)
		}
	}
}
