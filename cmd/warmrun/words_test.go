package main

import (
	"testing"
	"time"

	"github.com/warmrun/warmrun/engine"
)

func TestDescribeCall(t *testing.T) {
	tests := []struct {
		op   string
		args []any
		want string
	}{
		{"pg_ctl.stop", []any{"db1", stopOptions{}}, "stop the server on db1"},
		{"pg_ctl.stop", []any{"db1", stopOptions{Drain: time.Minute}}, "stop the server on db1: no new connections, clients have 1m to finish, then a fast stop"},
		{"pg_ctl.stop", []any{"db1", map[string]any{"drain": "60s", "timeout": engine.Unknown{From: "x"}}}, "stop the server on db1: no new connections, clients have 60s to finish, then a fast stop"},
		{"archive.wait", []any{"db2", waitOptions{Segment: "000000010000000000000007"}}, "wait until the archive on db2 has segment 000000010000000000000007"},
		{"archive.wait", []any{"db2", waitOptions{From: "000000010000000000000005", Segment: "000000010000000000000007"}},
			"wait until the archive on db2 has every segment from 000000010000000000000005 through segment 000000010000000000000007"},
		{"archive.wait", []any{"db2", waitOptions{History: 3}}, "wait until the archive on db2 has the history of timeline 3"},
		{"archive.wait", []any{"db2", map[string]any{"history": engine.Unknown{From: "x"}, "timeout": "5m"}}, "wait until the archive on db2 has the history of timeline (the new one)"},
		{"archive.set_active", []any{"db1", setActiveOptions{Active: true}}, "activate archiving on db1"},
		{"archive.set_active", []any{"db1", setActiveOptions{}}, "deactivate archiving on db1"},
		{"standby.prove_replay", []any{"db2", proveOptions{}}, "prove that db2 has replayed everything up to that end"},
		{"standby.prove_replay", []any{"db2", proveOptions{LSN: 0x1000028}}, "prove that db2 has replayed everything up to 0/1000028"},
		{"psql.exec", []any{"db1", "CHECKPOINT"}, "run on db1: CHECKPOINT"},
		{"psql.exec", []any{"db1", "ALTER SYSTEM\n  SET x = '{y}'", "arg"}, "run on db1: ALTER SYSTEM SET x = '{y}'"},
		{"pg_ctl.start", []any{engine.Unknown{From: "x"}}, "start the server on (as found then)"},
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
	for _, op := range operations() {
		f := op.bind(&session{})
		if name := op.module + "." + f.Name; f.Effect != engine.Read && !f.Plans && planWords()[name] == "" {
			t.Errorf("no words for %s: a plan would show the bare call", name)
		}
	}
}
