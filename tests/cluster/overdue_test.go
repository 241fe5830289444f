package cluster

import (
	"strings"
	"testing"
)

// TestTellOverdue has a test wait, and reads what would be said about it.
func TestTellOverdue(t *testing.T) {
	begun, end := make(chan bool), make(chan bool)
	done := make(chan bool)
	go func() {
		defer close(done)
		t.Run("waits", func(t *testing.T) {
			watchOver(t)
			close(begun)
			<-end
		})
	}()
	<-begun
	var said strings.Builder
	tellOverdue(&said)
	close(end)
	<-done
	for _, want := range []string{"overdue_test.go:", "FAIL: the time for all tests is over", "\n  TestTellOverdue/waits, which has had its cluster for 0s\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("what is said lacks %q:\n%s", want, said.String())
		}
	}
	if strings.Contains(said.String(), "/testing.go:") {
		t.Errorf("what is said has frames of Go's own:\n%s", said.String())
	}
	said.Reset()
	tellOverdue(&said)
	if strings.Contains(said.String(), "waits") {
		t.Errorf("a test that has ended is still named:\n%s", said.String())
	}
}
