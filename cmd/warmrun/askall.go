package main

import (
	"sync"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// reply is what one of several nodes has answered.
type reply[R any] struct {
	value R
	err   error
}

// askAll asks nodes at the same time, since clients may be waiting, and gives the
// replies in the order of the nodes.
func askAll[R any](nodes []cluster.Node, ask func(cluster.Node) (R, error)) []reply[R] {
	replies := make([]reply[R], len(nodes))
	var group sync.WaitGroup
	for i, n := range nodes {
		group.Go(func() { replies[i].value, replies[i].err = ask(n) })
	}
	group.Wait()
	return replies
}
