package lab

import (
	"os"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// TestNodesReachEachOther goes the way that the program goes: by the lab's own
// cluster.toml, over ssh, to a command and to a server's socket.
func TestNodesReachEachOther(t *testing.T) {
	l := up(t)
	none := func(string) string { return "" }
	site, err := cluster.Load(cluster.Surroundings{Home: l.Nodes[0].Home, Getenv: none})
	if err != nil {
		t.Fatal(err)
	}
	if site.Self.Name != "db1" || len(site.Nodes) != 3 {
		t.Fatalf("the site is %+v, want db1 of three nodes", site)
	}
	for _, n := range site.Nodes {
		client, err := remote.Dial(t.Context(), n, remote.Options{Getenv: none, HomeDir: l.Nodes[0].Dir})
		if err != nil {
			t.Fatalf("%s: %v", n.Name, err)
		}
		out, err := client.Output(t.Context(), `echo "$HOME"; cat`, strings.NewReader("through"))
		own, _ := l.Node(string(n.Name))
		if want := own.Dir + "\nthrough"; err != nil || string(out) != want {
			t.Errorf("%s printed %q, %v, want %q", n.Name, out, err, want)
		}
		if n.Name == "db1" {
			checkTunnel(t, l, client)
		}
		if err := client.Close(); err != nil {
			t.Errorf("%s: close: %v", n.Name, err)
		}
	}
	if _, err := os.Stat(l.Nodes[0].Dir + "/.ssh"); err == nil {
		t.Error("the client left something in ~/.ssh")
	}
}

// checkTunnel asks the server through ssh, with peer authentication.
func checkTunnel(t *testing.T, l *Lab, client *remote.Client) {
	t.Helper()
	n := l.Nodes[0]
	conn, err := psql.Connect(t.Context(), psql.Target{SocketDir: n.SocketDir, Port: n.Port, User: l.User, Dial: client.DialUnix})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := conn.Value(t.Context(), "SHOW data_directory"); err != nil || got != n.PGData {
		t.Errorf("data_directory is %v, %v, want %s", got, err, n.PGData)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
