package main

import (
	"strings"
	"testing"
)

func TestComplaint(t *testing.T) {
	const file = "000000010000000000000007"
	for _, test := range []struct {
		name           string
		lines          string
		reason, advice string
	}{
		{"ours, with the file", "warmrun: error: could not ship " + file + " to db2: x\nwarmrun: hint: do y\n2026 LOG:  archive command failed", "could not ship " + file + " to db2: x", "do y"},
		{"ours, and the server names the file", "warmrun: error: no home\n2026 LOG:  archive command failed\n2026 DETAIL:  archive pg_wal/" + file, "no home", ""},
		{"with the log's prefix", "2026 [7] warmrun: error: no room for " + file, "no room for " + file, ""},
		{"of another file, long ago", "warmrun: error: old\n1\n2\n3\n4\n5\n6\n7 " + file, "", ""},
		{"none", "", "", ""},
	} {
		reason, advice := complaint(strings.Split(test.lines, "\n"), file)
		if reason != test.reason || advice != test.advice {
			t.Errorf("%s: got %q and %q, want %q and %q", test.name, reason, advice, test.reason, test.advice)
		}
	}
	if reason, _ := complaint(nil, file); reason != "" {
		t.Errorf("of no lines: %q", reason)
	}
}
