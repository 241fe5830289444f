package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/health"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// A node that accepts a connection and then says nothing costs one timeout,
// however many of them there are.
func TestStatusDoesNotQueueForSilentNodes(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	site := &cluster.Site{Home: t.TempDir(), Self: cluster.Node{Name: "db1"}}
	for i := range 12 {
		name, port := cluster.NodeName(fmt.Sprintf("db%d", i+2)), silentListener(t)
		site.Nodes = append(site.Nodes, cluster.Node{Name: name, Host: "127.0.0.1", Home: "/none", SSH: cluster.SSH{Port: port}})
	}
	s := newSession(site, io.Discard, io.Discard)
	s.connectTimeout = time.Second
	t.Cleanup(func() { _ = s.Close() })
	found := make([]health.NodeStatus, len(site.Nodes))
	began := time.Now()
	var group sync.WaitGroup
	for i, n := range site.Nodes {
		group.Go(func() { found[i] = nodeStatus(t.Context(), s, n, "status.local", statusAnswer, localStatus) })
	}
	group.Wait()
	for _, n := range found {
		if n.Role != health.RoleUnreachable || n.Unknown["role"] == "" {
			t.Errorf("%s: got %s (%q), want unreachable and why", n.Node, n.Role, n.Unknown["role"])
		}
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %s for twelve nodes with a timeout of 1 s each, want them asked at once", took)
	}
}

// silentListener accepts connections and never answers.
func silentListener(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}
