package pgctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
)

func state(t *testing.T, s Server) walcore.ControlState {
	t.Helper()
	control, err := s.Control()
	if err != nil {
		t.Fatal(err)
	}
	return control.State
}

func TestLifeOfAServer(t *testing.T) {
	s := newServer(t)
	if st := status(t, s); st.Running || st.Owner != OwnerManual || st.Version != testVersion(t) {
		t.Errorf("before the start: %+v", st)
	}
	st := start(t, s)
	if !st.Running || st.Ready != ReadyYes || st.Port != 5499 || st.SocketDir != filepath.Dir(s.PGData) || st.PID == 0 {
		t.Errorf("after the start: %+v", st)
	}
	if age := time.Since(st.StartedAt); age < -2*time.Second || age > time.Minute {
		t.Errorf("started at %s", st.StartedAt)
	}
	checkDescriptors(t, s, st.PID)
	if got := state(t, s); got != walcore.StateInProduction {
		t.Errorf("control state %s", got)
	}
	if err := s.Start(t.Context(), StartOptions{}); err != nil || status(t, s).PID != st.PID {
		t.Errorf("a second start: %v, pid %d became %d", err, st.PID, status(t, s).PID)
	}
	appendFile(t, filepath.Join(s.PGData, "postgresql.conf"), "work_mem = '7MB'\n")
	if err := s.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "the reload takes effect", func() bool { return sql(t, s, "show work_mem") == "7MB" })
	if got, err := s.Setting(t.Context(), "work_mem"); err != nil || got != "7168" {
		t.Errorf("Setting: %q, %v", got, err)
	}
	if err := s.Restart(t.Context(), StopOptions{}, StartOptions{LogFile: s.testLog()}); err != nil {
		t.Error(err)
	}
	if again := status(t, s); !again.Running || again.PID == st.PID {
		t.Errorf("after the restart: %+v", again)
	}
	stop(t, s)
	if st := status(t, s); st.Running || state(t, s) != walcore.StateShutDown {
		t.Errorf("after the stop: %+v, %s", st, state(t, s))
	}
	stop(t, s)
	if err := s.Reload(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("reload of a stopped server: %v", err)
	}
}

// checkDescriptors fails if the server holds anything of ours: over ssh that
// keeps the session open for ever.
func checkDescriptors(t *testing.T, s Server, pid int) {
	t.Helper()
	for fd, want := range []string{os.DevNull, s.testLog(), s.testLog()} {
		got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if err != nil || got != want {
			t.Errorf("descriptor %d of the server is %q, %v, want %q", fd, got, err, want)
		}
	}
}

func TestStartOptions(t *testing.T) {
	s := newServer(t)
	o := StartOptions{LogFile: s.testLog(), Port: 5498, Options: "-c work_mem=9MB -c cluster_name='a b'"}
	if err := s.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if st := status(t, s); st.Port != 5498 {
		t.Errorf("port %d", st.Port)
	}
	if got := sql(t, s, "select current_setting('work_mem') || ' ' || current_setting('cluster_name')"); got != "9MB a b" {
		t.Errorf("settings: %q", got)
	}
}

func TestConfigurationOutsideOfTheDataDirectory(t *testing.T) {
	s := newServer(t)
	etc := testDir(t)
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		if err := os.Rename(filepath.Join(s.PGData, name), filepath.Join(etc, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.ConfigFile = filepath.Join(etc, "postgresql.conf")
	start(t, s)
	if got := sql(t, s, "show hba_file"); got != filepath.Join(etc, "pg_hba.conf") {
		t.Errorf("hba_file is %q", got)
	}
	if got, err := s.Setting(t.Context(), "port"); err != nil || got != "5499" {
		t.Errorf("Setting: %q, %v", got, err)
	}
	unknowing := Server{PGData: s.PGData}
	if got, err := unknowing.ConfigPath(); err != nil || got != s.ConfigFile {
		t.Errorf("ConfigPath without being told: %q, %v", got, err)
	}
	stop(t, s)
}

func TestStartFailureShowsTheLog(t *testing.T) {
	for _, test := range []struct {
		name, conf string
		recovery   bool // into a recovery that lacks its restore_command
		want       string
	}{
		{"unknown setting", "nonsense_setting = 1", false, `unrecognized configuration parameter "nonsense_setting"`},
		{"syntax error", "port = 'open", false, "syntax error"},
		{"after the collector has taken over", "logging_collector = on", true, "must specify "},
		{"collector elsewhere", "logging_collector = on\nlog_directory = '../logs'\nlog_filename = 'x.log'", true, "must specify "},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, test.conf)
			if test.recovery {
				askForRecovery(t, s)
			}
			appendFile(t, s.testLog(), "a line from before\n")
			if err := os.Chmod(s.testLog(), 0o666); err != nil {
				t.Fatal(err)
			}
			err := s.Start(t.Context(), StartOptions{LogFile: s.testLog()})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "from before") {
				t.Errorf("error %v, want one with %q and nothing older", err, test.want)
			}
			if st := status(t, s); st.Running {
				t.Errorf("%+v", st)
			}
		})
	}
}

// askForRecovery makes the next start one into archive recovery with nothing
// to restore from.
func askForRecovery(t *testing.T, s Server) {
	t.Helper()
	file, text := "recovery.signal", ""
	if !FeaturesOf(testVersion(t)).SignalFiles {
		file, text = "recovery.conf", "recovery_target_timeline = 'latest'\n"
	}
	if err := s.write(s.inData(file), text); err != nil {
		t.Fatal(err)
	}
}

func TestStartComplains(t *testing.T) {
	s := newServer(t)
	for _, test := range []struct {
		name string
		s    Server
		o    StartOptions
		want string
	}{
		{"no data directory known", Server{}, StartOptions{}, "no data directory is known"},
		{"no data directory", Server{PGData: filepath.Join(t.TempDir(), "none")}, StartOptions{}, "is not a data directory"},
		{"relative log", s, StartOptions{LogFile: "log"}, "not an absolute path"},
		{"log that cannot be", s, StartOptions{LogFile: "/nonexistent/log"}, "/nonexistent/log"},
		{"wrong programs", Server{PGData: s.PGData, BinDir: t.TempDir()}, StartOptions{}, "no PostgreSQL programs in"},
	} {
		if err := test.s.Start(t.Context(), test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

// sleeper is a process of the server's user that is no server.
func sleeper(t *testing.T, s Server, dir string) int {
	t.Helper()
	cmd, err := s.asOwner(t.Context(), "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as asked
	})
	return cmd.Process.Pid
}

func TestStalePIDFile(t *testing.T) {
	s := newServer(t)
	// After a reboot the number may belong to any process of the same user.
	pid := sleeper(t, s, "/")
	leave := fmt.Sprintf("%d\n%s\n1700000000\n5499\n/tmp\n\n  1 2\nready   \n", pid, s.PGData)
	if err := s.write(s.inData("postmaster.pid"), leave); err != nil {
		t.Fatal(err)
	}
	if st := status(t, s); st.Running || st.StalePID != pid {
		t.Errorf("a recycled process id passes for a server: %+v", st)
	}
	stop(t, s)
	if st := start(t, s); !st.Running || st.PID == pid {
		t.Errorf("after the start: %+v", st)
	}
	stop(t, s)

	if err := s.write(s.inData("postmaster.pid"), leave); err != nil {
		t.Fatal(err)
	}
	orphan := sleeper(t, s, s.PGData)
	err := s.Start(t.Context(), StartOptions{})
	if want := fmt.Sprintf("process %d", orphan); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("with a process left in the data directory: error %v, want one with %q", err, want)
	}
	if missing(t, s.inData("postmaster.pid")) {
		t.Error("postmaster.pid is gone")
	}
}

func TestStalePIDFileOfNobody(t *testing.T) {
	s := newServer(t)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if err := s.write(s.inData("postmaster.pid"), fmt.Sprintf("%d\n%s\n1\n5499\n", gone.Process.Pid, s.PGData)); err != nil {
		t.Fatal(err)
	}
	if st := start(t, s); !st.Running {
		t.Errorf("after the start: %+v", st)
	}
}

func TestStopInTime(t *testing.T) {
	s := newServer(t)
	start(t, s)
	session := psql(t.Context(), t, s, "select pg_sleep(600)")
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Wait() }() // the stop cuts it off
	eventually(t, "the client is connected", func() bool {
		return sql(t, s, "select count(*) from pg_stat_activity where query like 'select pg_sleep%'") == "1"
	})
	err := s.Stop(t.Context(), StopOptions{Mode: ModeSmart, Timeout: 300 * time.Millisecond})
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "postgres postgres [local] SELECT") || hint.Of(err) == "" {
		t.Errorf("smart: error %v (hint %q), want ErrTimeout naming the client", err, hint.Of(err))
	}
	if st := status(t, s); !st.Running || st.Ready != ReadyStopping {
		t.Errorf("during the smart stop: %+v", st)
	}
	if err := s.Stop(t.Context(), StopOptions{Mode: ModeFast}); err != nil {
		t.Errorf("fast: %v", err)
	}
	if got := state(t, s); got != walcore.StateShutDown {
		t.Errorf("control state %s", got)
	}
	if err := s.Stop(t.Context(), StopOptions{Mode: "gentle"}); err == nil {
		t.Error("mode gentle was accepted")
	}
}

func TestStopHeedsItsContext(t *testing.T) {
	s := newServer(t)
	start(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx, StopOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestUncleanEndIsNoSuccess(t *testing.T) {
	s := newServer(t)
	start(t, s)
	if err := s.Stop(t.Context(), StopOptions{Mode: ModeImmediate}); err != nil {
		t.Fatal(err)
	}
	if err := s.checkCleanEnd(StopOptions{Mode: ModeFast}); err == nil || !strings.Contains(err.Error(), `its control file says "in production"`) {
		t.Errorf("error %v", err)
	}
}

// newStandby is a standby of a server that has been stopped.
func newStandby(t *testing.T, restore string, conf ...string) Server {
	t.Helper()
	primary := newServer(t)
	start(t, primary)
	stop(t, primary)
	standby := copyServer(t, primary.PGData, conf...)
	if err := standby.ConfigureStandby(RecoverySettings{RestoreCommand: restore}); err != nil {
		t.Fatal(err)
	}
	return standby
}

func TestHotStandby(t *testing.T) {
	s := newStandby(t, "false")
	if st := start(t, s); st.Ready != ReadyYes {
		t.Errorf("after the start: %+v", st)
	}
	if got := state(t, s); got != walcore.StateInArchiveRecovery {
		t.Errorf("control state %s", got)
	}
	if FeaturesOf(testVersion(t)).SignalFiles {
		if got := sql(t, s, "show restore_command"); got != "false" {
			t.Errorf("restore_command is %q", got)
		}
	}
	stop(t, s)
	if got := state(t, s); got != walcore.StateShutDownInRecovery {
		t.Errorf("control state after a fast stop: %s", got)
	}
	if err := s.Promote(t.Context(), 0); !errors.Is(err, ErrNotRunning) {
		t.Errorf("promotion of a stopped standby: %v", err)
	}
	start(t, s)
	if err := s.Promote(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := sql(t, s, "create table t (i int); select pg_is_in_recovery()"); got != "f" {
		t.Errorf("pg_is_in_recovery is %s after the promotion", got)
	}
	if is, err := s.StandbyConfigured(); is || err != nil {
		t.Errorf("the signal file is still there: %v, %v", is, err)
	}
	if err := s.Promote(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "a primary already") {
		t.Errorf("a second promotion: %v", err)
	}
}

func TestStandbyWithoutConnections(t *testing.T) {
	s := newStandby(t, "false", "hot_standby = off")
	if st := start(t, s); st.Ready != ReadyStandby {
		t.Errorf("after the start: %+v", st)
	}
	if err := s.Promote(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if st := status(t, s); st.Ready != ReadyYes || state(t, s) != walcore.StateInProduction {
		t.Errorf("after the promotion: %+v, %s", st, state(t, s))
	}
}

func TestUnconfiguredStandbyIsAPrimary(t *testing.T) {
	s := newStandby(t, "false")
	if err := s.UnconfigureStandby(); err != nil {
		t.Fatal(err)
	}
	start(t, s)
	if got := state(t, s); got != walcore.StateInProduction {
		t.Errorf("control state %s", got)
	}
}

// TestStandbyThatWaitsForWAL starts a copy of a running primary whose WAL is
// not there yet.
func TestStandbyThatWaitsForWAL(t *testing.T) {
	primary := newServer(t)
	start(t, primary)
	s := copyServer(t, primary.PGData)
	if err := os.Remove(s.inData("postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	label := "START WAL LOCATION: 0/9000028 (file 000000010000000000000009)\nCHECKPOINT LOCATION: 0/9000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-01-01 00:00:00 UTC\nLABEL: x\nSTART TIMELINE: 1\n"
	if err := s.write(s.inData("backup_label"), label); err != nil {
		t.Fatal(err)
	}
	if err := s.ConfigureStandby(RecoverySettings{RestoreCommand: "false"}); err != nil {
		t.Fatal(err)
	}
	err := s.Start(t.Context(), StartOptions{LogFile: s.testLog(), Timeout: 400 * time.Millisecond})
	if !errors.Is(err, ErrTimeout) || hint.Of(err) == "" {
		t.Errorf("a timeout before the grace is over: %v", err)
	}
	if err := s.Start(t.Context(), StartOptions{LogFile: s.testLog(), RecoveryGrace: 200 * time.Millisecond}); err != nil {
		t.Errorf("start: %v", err)
	}
	if st := status(t, s); !st.Running || st.Ready != ReadyStarting {
		t.Errorf("while it waits: %+v", st)
	}
	if err := s.Stop(t.Context(), StopOptions{Timeout: 10 * time.Second}); err != nil {
		t.Errorf("stop: %v", err)
	}
	if st := status(t, s); st.Running {
		t.Errorf("after the stop: %+v", st)
	}
}
