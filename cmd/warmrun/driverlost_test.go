package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// TestDriverLost: a run is taken over unasked only where the lock of the node that
// drove it proves that the process there has ended.
func TestDriverLost(t *testing.T) {
	for _, test := range []struct {
		name        string
		driver      cluster.NodeName
		cut         bool
		lost        bool
		refused     bool
		want, warns string
	}{
		{name: "its node is locked", driver: "dr"},
		{name: "this node drove it", driver: "db1", cut: true},
		{name: "its node is silent", driver: "dr", cut: true, refused: true},
		{name: "the operator says that it is lost", driver: "dr", cut: true, lost: true, warns: "if that process still runs after all"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLocked(t)
			l.cut["dr"] = test.cut
			s := l.session("db1")
			var warned bytes.Buffer
			s.err = &warned
			lock := l.must(s)
			warned.Reset()
			r := runRecord{Head: runHead{ID: "run", Node: test.driver, User: "postgres", PID: 7}}
			err := driverGone(s, r, runLock{cluster: lock}, "rollback", test.lost)
			if test.refused {
				const want = "run run was driven by postgres on dr as process 7, and dr cannot be reached: whether that process has ended cannot be told"
				if err == nil || err.Error() != want || exitCode(err) != exitLocked || !strings.Contains(hint.Of(err), "then: warmrun runs rollback run --driver-lost") {
					t.Errorf("got %v, hint %q, want %s", err, hint.Of(err), want)
				}
				return
			}
			if err != nil || !strings.Contains(warned.String(), test.warns) || test.warns == "" && warned.Len() > 0 {
				t.Errorf("got %v, and the warning %q", err, warned.String())
			}
		})
	}
}
