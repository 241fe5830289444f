package main

import (
	"fmt"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// driverGone refuses to take a run over while the process that drove it may still
// run. That it has ended is proved by the lock of its node, which the kernel keeps
// as long as the process lives. Of a node that cannot be reached nothing is known,
// and the operator has to say that it is lost.
func driverGone(s *session, r runRecord, lock runLock, verb string, lost bool) error {
	d := r.driver()
	if lock.cluster == nil || s.site.IsSelf(d.Node) || lock.cluster.locked(d.Node) {
		return nil
	}
	risk := fmt.Sprintf("run %s was driven by %s on %s as process %d, and %s cannot be reached", r.Head.ID, d.User, d.Node, d.PID, d.Node)
	if lost {
		fmt.Fprintf(s.err, "warmrun: %s: if that process still runs after all, it goes on with the step that it is in, beside this run, until it asks for its locks before the next one\n", risk)
		return nil
	}
	return engine.NotBegun(lockedError{hint.Wrap(fmt.Errorf("%s: whether that process has ended cannot be told", risk),
		"nothing was done; while it runs, it may finish the step that it is in beside whoever takes the run over; make sure that it has ended, or that the host is down, then: warmrun runs %s %s --driver-lost", verb, r.Head.ID)})
}
