package psql

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/remote"
	"github.com/warmrun/warmrun/builtins/remote/sshdtest"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// testTunnel connects over ssh, where peer authentication sees the user who is
// logged in.
func testTunnel(t *testing.T, s *server, admin *Conn) {
	if _, err := admin.Exec(timeout(t), "CREATE DATABASE tunnel"); err != nil {
		t.Fatal(err)
	}
	sshd := sshdtest.Start(t, sshdtest.Config{User: s.account.Username})
	client, err := remote.Dial(timeout(t), cluster.Node{Name: "db2", Host: sshd.Host, SSH: sshd.SSH()}, remote.Options{HomeDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	target := s.target()
	target.User, target.Database, target.Dial = client.User(), "tunnel", client.DialUnix
	conn := ready(t, target)
	got, err := conn.Value(timeout(t), "SELECT current_user || ' ' || current_database()")
	if err != nil || got != client.User()+" tunnel" {
		t.Errorf("Value = %v, %v", got, err)
	}
	rows, err := conn.Query(timeout(t), "SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
	if err != nil || len(rows.Values) != 5000 {
		t.Errorf("Query = %d rows, %v", len(rows.Values), err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := conn.Exec(ctx, "SELECT pg_sleep(30)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Exec = %v, want %v", err, context.DeadlineExceeded)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("a canceled statement took %s", took)
	}
	if got, err := conn.Value(timeout(t), "SELECT 1"); err != nil || got != int64(1) {
		t.Errorf("after a cancellation: %v, %v", got, err)
	}

	target.Port = 1
	if _, err := Connect(timeout(t), target); !NotRunning(err) || remote.Unreachable(err) {
		t.Errorf("Connect to a missing socket = %v, NotRunning %v, Unreachable %v", err, NotRunning(err), remote.Unreachable(err))
	}
	sshd.Stop()
	if _, err := conn.Exec(timeout(t), "SELECT 1"); !Disconnected(err) {
		t.Errorf("Disconnected(%v) = false", err)
	}
	if _, err := Connect(timeout(t), target); !remote.Unreachable(err) || NotRunning(err) {
		t.Errorf("Connect to a node that is away = %v, NotRunning %v", err, NotRunning(err))
	}
}
