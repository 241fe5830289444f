package main

import (
	"strings"
	"testing"
)

func TestMerge3(t *testing.T) {
	lines := func(words string) string {
		if words == "" {
			return ""
		}
		return strings.ReplaceAll(words, " ", "\n") + "\n"
	}
	for _, test := range []struct {
		base, ours, theirs, want string
		conflicts                int
	}{
		{"a b c", "a b c", "a b c", "a b c", 0},
		{"a b c", "a x c", "a b c", "a x c", 0},
		{"a b c", "a b c", "a x c", "a x c", 0},
		{"a b c d e", "x b c d e", "a b c d y", "x b c d y", 0},
		{"a b c", "a x c", "a x c", "a x c", 0},
		{"a b c d", "a d", "a b c d e", "a d e", 0},
		{"a b c", "x a b c", "a b c y", "x a b c y", 0},
		{"", "a", "", "a", 0},
		{"a", "", "a", "", 0},
		{"a b c", "a x c", "a y c", "a <<<<<<<_mine x ======= y >>>>>>>_new c", 1},
		{"a b c", "a c", "a y c", "a <<<<<<<_mine ======= y >>>>>>>_new c", 1},
		{"a b a b a", "a b a a", "a b a b a z", "a b a a z", 0},
	} {
		got, conflicts := merge3(lines(test.base), lines(test.ours), lines(test.theirs), "mine", "new")
		want := strings.ReplaceAll(lines(test.want), "_", " ")
		if got != want || conflicts != test.conflicts {
			t.Errorf("%q, %q, %q: got %q with %d conflicts, want %q with %d", test.base, test.ours, test.theirs, got, conflicts, want, test.conflicts)
		}
	}
	// Without an end of line at the end, a mark still begins a line.
	if got, _ := merge3("a", "b", "c", "mine", "new"); got != "<<<<<<< mine\nb\n=======\nc\n>>>>>>> new\n" {
		t.Errorf("got %q", got)
	}
}
