package engine

import "testing"

// What several checks stumble over is said once, and all of them are counted.
func TestCheckErrorSaysTheSameOnce(t *testing.T) {
	err := &CheckError{Runbook: "x", Total: 3, Failed: []CheckFailure{
		{Name: "a", Message: "db2 is gone"}, {Name: "b", Message: "db2 is gone"}, {Name: "c", Message: "c"},
	}}
	const want = "3 of 3 checks failed: a: db2 is gone; c"
	if got := err.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
