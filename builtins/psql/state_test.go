package psql

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

func TestState(t *testing.T) {
	t.Parallel()
	s, conn := running(t, "archive_mode = on", "archive_command = 'test -e %p'", "wal_level = replica", "max_wal_senders = 3")
	ctx := timeout(t)
	if _, err := conn.Exec(ctx, "CREATE TABLE t AS SELECT 1 AS i; SELECT pg_switch_wal(); CREATE ROLE watcher LOGIN IN ROLE pg_monitor"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		state, err := conn.State(ctx)
		return err == nil && state.LastArchived != ""
	})
	primary, err := conn.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	checkPrimary(t, s, primary)
	checkMonitor(t, s, primary)

	// A standby of the same cluster, in the same directory.
	s.end(t, syscall.SIGINT)
	s.write(t, "standby.signal", "")
	s.configure(t, "restore_command = 'false'", "hot_standby = on", "wal_retrieve_retry_interval = '100ms'")
	s.start(t)
	standby, err := ready(t, s.target()).State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !standby.InRecovery || standby.CurrentLSN != 0 || standby.CurrentSegment != "" || standby.Timeline != 1 {
		t.Errorf("standby: %+v", standby)
	}
	if standby.ReplayLSN <= primary.CurrentLSN || standby.ReceiveLSN != 0 || standby.ReplayPaused {
		t.Errorf("standby has replayed %s (received %s), the primary was at %s", standby.ReplayLSN, standby.ReceiveLSN, primary.CurrentLSN)
	}
	if standby.SystemID != primary.SystemID || standby.RestoreCommand != "false" || !standby.HotStandby {
		t.Errorf("standby: %+v", standby)
	}

	promoted := ready(t, s.target())
	if _, err := promoted.Exec(ctx, "SELECT pg_promote(true, 30)"); err != nil {
		t.Fatal(err)
	}
	after, err := promoted.State(ctx)
	if err != nil || after.InRecovery || after.Timeline != 2 || after.CurrentSegment.Timeline() != 2 {
		t.Errorf("after the promotion: %+v, %v", after, err)
	}
}

func checkPrimary(t *testing.T, s *server, got ServerState) {
	t.Helper()
	control, err := walcore.ReadControlFile(s.data)
	if err != nil {
		t.Fatal(err)
	}
	if got.SystemID != control.SystemID || got.SegmentSize != walcore.DefaultSegmentSize || got.Timeline != 1 || got.InRecovery {
		t.Errorf("state %+v does not fit the control file %+v", got, control)
	}
	if got.Version < 150000 || got.Port != s.port || got.DataDirectory != s.data || got.ConfigFile != filepath.Join(s.data, "postgresql.conf") {
		t.Errorf("state: %+v", got)
	}
	if got.ArchiveMode != "on" || got.WALLevel != "replica" || got.ArchivedCount < 1 || got.LastFailed != "" || !strings.HasPrefix(got.ArchiveCommand, "test") {
		t.Errorf("state: %+v", got)
	}
	if got.CurrentLSN == 0 || got.CurrentSegment != walcore.SegmentAt(1, got.CurrentLSN, got.SegmentSize) {
		t.Errorf("at %s in %s", got.CurrentLSN, got.CurrentSegment)
	}
	for what, when := range map[string]time.Time{"now": got.Now, "started": got.StartedAt, "last archived": got.LastArchivedAt} {
		if age := time.Since(when); age < -time.Minute || age > time.Minute {
			t.Errorf("%s: %s is %s ago", what, when, age)
		}
	}
}

// checkMonitor: a member of pg_monitor sees the same.
func checkMonitor(t *testing.T, s *server, want ServerState) {
	t.Helper()
	s.write(t, "pg_ident.conf", "test /^(.*)$ \\1\ntest /^.*$ watcher\ntest root "+s.account.Username+"\n")
	conn := ready(t, s.target())
	if _, err := conn.Exec(timeout(t), "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	target := s.target()
	target.User = "watcher"
	var watcher *Conn
	waitFor(t, func() bool {
		var err error
		watcher, err = Connect(timeout(t), target)
		return err == nil
	})
	defer watcher.Close(t.Context())
	got, err := watcher.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	got.Now, got.CurrentLSN = want.Now, want.CurrentLSN
	if got != want {
		t.Errorf("a member of pg_monitor sees\n%+v, want\n%+v", got, want)
	}
}

// waitFor polls until a condition holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	ctx := timeout(t)
	for ticker := time.NewTicker(20 * time.Millisecond); !holds(); {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain")
		case <-ticker.C:
		}
	}
}

func TestWaitReady(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := WaitReady(ctx, s.target(), nil); !errors.Is(err, context.DeadlineExceeded) || !NotRunning(err) {
		t.Errorf("WaitReady without a server = %v, want what it waited for", err)
	}
	stop := errors.New("stop")
	calls := 0
	if _, err := WaitReady(timeout(t), s.target(), func(error) bool { calls++; return calls == 3 }); !NotRunning(err) || calls != 3 {
		t.Errorf("WaitReady = %v after %d tries, want 3", err, calls)
	}
	tries := 0
	started, err := WaitReady(timeout(t), s.target(), func(error) bool {
		if tries++; tries == 2 {
			s.start(t)
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := started.Close(t.Context()); err != nil {
		t.Errorf("Close = %v", err)
	}
	target := s.target()
	target.Database = "nothing"
	if _, err := WaitReady(timeout(t), target, func(error) bool { t.Error(stop); return true }); !LoginRefused(err) {
		t.Errorf("WaitReady = %v, want a refused login", err)
	}
}

// TestStartingUp keeps a standby from becoming consistent.
func TestStartingUp(t *testing.T) {
	t.Parallel()
	s, conn := running(t, "archive_mode = on", "archive_command = 'true'", "max_wal_senders = 3")
	if _, err := conn.Exec(timeout(t), "SELECT pg_backup_start('test', true)"); err != nil {
		t.Fatal(err)
	}
	// A copy without the backup's end never becomes consistent.
	copied := &server{dir: s.dir, data: filepath.Join(s.dir, "copy"), sockets: s.sockets, port: freePort(t), account: s.account}
	cp := exec.Command("cp", "-a", s.data, copied.data)
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rows, err := conn.Query(timeout(t), "SELECT labelfile FROM pg_backup_stop(false)")
	if err != nil {
		t.Fatal(err)
	}
	label, _ := rows.Values[0][0].(string)
	copied.write(t, "backup_label", label)
	copied.write(t, "standby.signal", "")
	if err := os.Remove(filepath.Join(copied.data, "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	copied.configure(t, "restore_command = 'sleep 0.1; false'", "port = "+strconv.Itoa(copied.port))
	copied.start(t)
	t.Cleanup(copied.kill)
	waitFor(t, func() bool {
		_, err := Connect(timeout(t), copied.target())
		return StartingUp(err)
	})
	copied.end(t, syscall.SIGQUIT)
	copied.configure(t, "hot_standby = off")
	copied.start(t)
	waitFor(t, func() bool {
		_, err := Connect(timeout(t), copied.target())
		return NoHotStandby(err)
	})
	if _, err := WaitReady(timeout(t), copied.target(), nil); !NoHotStandby(err) {
		t.Errorf("WaitReady = %v, want to be told that it never answers", err)
	}
}
