package health

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// place is a directory for one node: data, archive and log, and the server's
// sockets. Run by root it belongs to the user postgres.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wrhealth-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"archive"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asServerUser runs a program as the user that may run PostgreSQL.
func asServerUser(t *testing.T, args ...string) string {
	t.Helper()
	if os.Geteuid() == 0 {
		args = append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func giveToServer(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "-R", "postgres:", dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
}

func binDir(t *testing.T) string {
	t.Helper()
	dir, _, err := pgctl.NewestBinDir(10, "")
	if err != nil {
		t.Fatalf("%v: install one (make install-test)", err)
	}
	return dir
}

// request is what to ask Local about the node in dir.
func request(dir, name string) Request {
	node := cluster.Node{Name: cluster.NodeName(name), Host: name, Role: cluster.RolePair, PGData: filepath.Join(dir, "data"), Archive: filepath.Join(dir, "archive"), User: "postgres", Database: "postgres"}
	return Request{
		Node: node, Server: pgctl.Server{PGData: node.PGData}, Program: "test",
		Active: func() (bool, error) { return true, nil },
	}
}

func configure(t *testing.T, dir string, lines ...string) {
	t.Helper()
	lines = append([]string{"unix_socket_directories = '" + dir + "'", "listen_addresses = ''", "port = 5496", "fsync = off", "shared_buffers = 4MB", "wal_retrieve_retry_interval = 100ms"}, lines...)
	path := filepath.Join(dir, "data", "postgresql.conf")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(string(text)+strings.Join(lines, "\n")+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func startServer(t *testing.T, dir string) pgctl.Server {
	t.Helper()
	s := pgctl.Server{PGData: filepath.Join(dir, "data")}
	if err := s.Start(t.Context(), pgctl.StartOptions{LogFile: filepath.Join(dir, "log")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's context has ended by now.
		if err := s.Stop(context.Background(), pgctl.StopOptions{Mode: pgctl.ModeImmediate}); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newPair makes a server that archives into its standby's directory, and a copy
// of it to become that standby.
func newPair(t *testing.T) (primary, standby string) {
	t.Helper()
	primary, standby = place(t), place(t)
	giveToServer(t, primary)
	asServerUser(t, filepath.Join(binDir(t), "initdb"), "-D", filepath.Join(primary, "data"), "-A", "trust", "-U", "postgres", "-N")
	giveToServer(t, standby)
	asServerUser(t, "cp", "-a", filepath.Join(primary, "data"), standby)
	configure(t, primary, "archive_mode = on", "archive_command = 'cp %p "+standby+"/archive/%f'")
	return primary, standby
}

// until looks again and again, until the node is as wanted.
func until(t *testing.T, r Request, what string, ok func(NodeStatus) bool) NodeStatus {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n := Local(t.Context(), r)
		if ok(n) {
			return n
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within 20 s: %+v", what, n)
		case <-tick.C:
		}
	}
}

func statement(t *testing.T, dir, sql string) string {
	t.Helper()
	return asServerUser(t, filepath.Join(binDir(t), "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", dir, "-p", "5496", "-U", "postgres", "-d", "postgres", "-c", sql)
}

func TestPairOfServers(t *testing.T) {
	primary, standby := newPair(t)
	startServer(t, primary)
	statement(t, primary, "create table t as select generate_series(1, 1000)")
	statement(t, primary, "select pg_switch_wal()")
	a, b := request(primary, "db1"), request(standby, "db2")
	until(t, a, "the segment is archived", func(n NodeStatus) bool { return n.LastArchived != "" && n.Backlog == 0 })

	// The copy was made by cp before the first start, so it follows from there.
	configure(t, standby)
	s := pgctl.Server{PGData: b.Node.PGData}
	if err := s.ConfigureStandby(pgctl.RecoverySettings{RestoreCommand: "cp " + standby + "/archive/%f %p"}); err != nil {
		t.Fatal(err)
	}
	startServer(t, standby)
	one := Local(t.Context(), a)
	two := until(t, b, "the standby has replayed what it has", func(n NodeStatus) bool { return n.ReplayedLSN >= n.ReceivedLSN })
	checkPrimary(t, one)
	checkStandby(t, two)
	c := Gather(one, two)
	if want := "db1 is primary; db2 follows, "; c.Primary != "db1" || !strings.HasPrefix(c.Sentence, want) || c.Nodes[1].LagBytes == nil || len(c.Problems) != 0 {
		t.Errorf("%s; problems %q, lag %v", c.Sentence, c.Problems, c.Nodes[1].LagBytes)
	}
	checkStopped(t, a, b)
}

func checkPrimary(t *testing.T, n NodeStatus) {
	t.Helper()
	if n.Role != RolePrimary || !n.Accepting || !n.Archiving || n.Timeline != 1 || n.CurrentLSN == 0 || n.ReplayedLSN != 0 || n.ArchiveMode != "on" {
		t.Errorf("primary: %+v", n)
	}
	if n.LastArchived != "000000010000000000000001" || n.LastArchivedAt.IsZero() || n.LastFailed != "" || n.SystemID == 0 {
		t.Errorf("primary: %+v", n)
	}
	if !strings.Contains(n.ServerVersion, ".") {
		t.Errorf("server version %q", n.ServerVersion)
	}
	if len(n.Unknown) != 0 {
		t.Errorf("unknown: %q", n.Unknown)
	}
}

func checkStandby(t *testing.T, n NodeStatus) {
	t.Helper()
	if n.Role != RoleStandby || !n.Accepting || n.CurrentLSN != 0 || n.ReplayedAt.IsZero() || n.Timeline != 1 {
		t.Errorf("standby: %+v", n)
	}
	if n.LastReceived != "000000010000000000000001" || n.LastReplayed != n.LastReceived || n.FirstReceived != n.LastReceived {
		t.Errorf("standby: received %s to %s, replayed %s", n.FirstReceived, n.LastReceived, n.LastReplayed)
	}
	if len(n.Unknown) != 0 {
		t.Errorf("unknown: %q", n.Unknown)
	}
}

// checkStopped stops both servers and looks at what can be told without them.
func checkStopped(t *testing.T, a, b Request) {
	t.Helper()
	replayed := Local(t.Context(), b).ReplayedLSN
	for _, r := range []Request{a, b} {
		if err := r.Server.Stop(t.Context(), pgctl.StopOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	one, two := Local(t.Context(), a), Local(t.Context(), b)
	if one.Role != RoleStoppedPrimary || one.CurrentLSN == 0 || one.LastArchived == "" && one.Unknown["last_archived"] == "" || one.ControlState != "shut down" {
		t.Errorf("stopped primary: %+v", one)
	}
	if two.Role != RoleStoppedStandby || two.ReplayedLSN == 0 || two.ReplayedLSN > replayed || two.Unknown["replayed_lsn"] == "" {
		t.Errorf("stopped standby (had replayed %s): %+v", replayed, two)
	}
	if c := Gather(one, two); c.Sentence != "db1 is a stopped primary; db2 is a stopped standby" {
		t.Error(c.Sentence)
	}
	startServer(t, filepath.Dir(a.Node.PGData))
	if err := a.Server.Stop(t.Context(), pgctl.StopOptions{Mode: pgctl.ModeImmediate}); err != nil {
		t.Fatal(err)
	}
	crashed := Local(t.Context(), a)
	if crashed.Role != RoleStoppedPrimary || crashed.CurrentLSN != 0 || !strings.Contains(crashed.Unknown["current_lsn"], "not shut down cleanly (in production)") {
		t.Errorf("crashed primary: %+v", crashed)
	}
	// An old primary that is to become a standby has everything of its own.
	startServer(t, filepath.Dir(a.Node.PGData))
	if err := a.Server.Stop(t.Context(), pgctl.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	end := Local(t.Context(), a).CurrentLSN
	if err := a.Server.ConfigureStandby(pgctl.RecoverySettings{RestoreCommand: "false"}); err != nil {
		t.Fatal(err)
	}
	if n := Local(t.Context(), a); n.Role != RoleStoppedStandby || n.ReplayedLSN != end || end == 0 {
		t.Errorf("fenced old primary, whose WAL ended at %s: %+v", end, n)
	}
}

func TestStandbyWithoutConnections(t *testing.T) {
	primary, standby := newPair(t)
	startServer(t, primary)
	statement(t, primary, "create table t as select generate_series(1, 1000)")
	statement(t, primary, "select pg_switch_wal()")
	until(t, request(primary, "db1"), "the segment is archived", func(n NodeStatus) bool { return n.LastArchived != "" && n.Backlog == 0 })
	configure(t, standby, "hot_standby = off")
	r := request(standby, "db2")
	if err := r.Server.ConfigureStandby(pgctl.RecoverySettings{RestoreCommand: "cp " + standby + "/archive/%f %p"}); err != nil {
		t.Fatal(err)
	}
	startServer(t, standby)
	// What restore would note: it has served the first and is asked for the next.
	pgdata, err := filepath.EvalSymlinks(r.Node.PGData)
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := json.Marshal(walcore.Wanted{PGData: pgdata, Names: []walcore.FileName{"00000002.history", "000000020000000000000002", "000000010000000000000002"}, Since: noon, LastServed: "000000010000000000000001"})
	if err != nil {
		t.Fatal(err)
	}
	writeState(t, r.Node.Archive, "wanted/x.json", string(wanted))
	writeState(t, r.Node.Archive, "lost", `{"first":"0/1000000","last":"0/2000000","segments":1,"broken":["the relay"]}`)
	n := Local(t.Context(), r)
	if n.Lost == nil || n.Lost.Last != 0x2000000 || n.LostFile != r.Node.Archive+"/.warmrun/lost" {
		t.Errorf("lost: got %+v in %s", n.Lost, n.LostFile)
	}
	if n.Role != RoleStandby || n.Accepting || !n.Running || n.Wanted != "000000010000000000000002" || !n.WantedSince.Equal(noon) {
		t.Errorf("%+v", n)
	}
	if n.ReplayedLSN < 0x2000000 || n.LastReplayed != "000000010000000000000001" || !strings.Contains(n.Unknown["replayed_lsn"], "the least") {
		t.Errorf("replayed %s in %s (%q)", n.ReplayedLSN, n.LastReplayed, n.Unknown["replayed_lsn"])
	}
	c := Gather(Local(t.Context(), request(primary, "db1")), n)
	if c.Nodes[1].LagBytes == nil {
		t.Errorf("no lag: %q", c.Nodes[1].Unknown)
	}
}

func writeState(t *testing.T, archive, name, text string) {
	t.Helper()
	path := filepath.Join(archive, ".warmrun", name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNodeWithoutData(t *testing.T) {
	dir := place(t)
	r := request(dir, "db2")
	if n := Local(t.Context(), r); n.Role != RoleNoData || len(n.Unknown) != 0 {
		t.Errorf("pair: %+v", n)
	}
	r.Node.Role = cluster.RoleDR
	for _, name := range []string{"000000010000000000000005", "000000010000000000000006"} {
		if err := os.WriteFile(filepath.Join(dir, "archive", name), make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	writeState(t, r.Node.Archive, "stamp", `{"system_identifier":"77","segment_size":1048576}`)
	writeState(t, r.Node.Archive, "fence", `{"epoch":2,"cuts":[{"epoch":2,"timeline":1,"lsn":"0/680000"}]}`)
	n := Local(t.Context(), r)
	if n.Role != RoleRelay || n.LastReceived != "000000010000000000000006" || n.ReceivedLSN != 0x700000 || n.Fence.Epoch != 2 || n.Timeline != 1 {
		t.Errorf("dr: %+v", n)
	}
}

func TestPartsThatCannotBeRead(t *testing.T) {
	dir := place(t)
	r := request(dir, "db1")
	for name, text := range map[string]string{"PG_VERSION": "15\n", "global/pg_control": "rubbish", "postmaster.pid": "what\n"} {
		path := filepath.Join(r.Node.PGData, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.Active = func() (bool, error) { return false, errors.New("no such home") }
	r.Node.Archive = filepath.Join(dir, "gone")
	n := Local(t.Context(), r)
	if n.Role != RoleUnknown || n.ServerVersion != "15" {
		t.Errorf("%+v", n)
	}
	for field, want := range map[string]string{
		"role": "postmaster.pid", "control_state": "pg_control", "archiving_active": "no such home",
		"backlog": "archive_status",
	} {
		if !strings.Contains(n.Unknown[field], want) {
			t.Errorf("%s: %q, want %q in it", field, n.Unknown[field], want)
		}
	}
	if n.ArchiveMissing != r.Node.Archive {
		t.Errorf("archive missing: %q, want %s", n.ArchiveMissing, r.Node.Archive)
	}
	var b strings.Builder
	if err := Gather(n).Render(&b, 0); err != nil || !strings.Contains(b.String(), "no node is a primary; db1 cannot tell (") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

func TestNodeOfWhichNothingIsKnown(t *testing.T) {
	r := request(place(t), "db1")
	r.Node.Archive, r.Server = "", pgctl.Server{}
	n := Local(t.Context(), r)
	if n.Role != RoleUnknown || !strings.Contains(n.Unknown["role"], "no data directory is known") || !strings.Contains(n.Unknown["fence"], "no archive directory is known") {
		t.Errorf("%+v", n)
	}
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	primary, _ := newPair(t)
	startServer(t, primary)
	r := request(primary, "db1")
	r.Timeout = 50 * time.Millisecond
	r.SQL = func(ctx context.Context) (*psql.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	n := Local(t.Context(), r)
	if n.Role != RolePrimary || !n.Running || n.Accepting || !strings.Contains(n.Unknown["current_lsn"], "gives no answer") {
		t.Errorf("%+v", n)
	}
	if n.Timeline != 1 || n.ControlState != "in production" {
		t.Errorf("what the files say is lost: %+v", n)
	}
}

func TestVersionText(t *testing.T) {
	for number, want := range map[int]string{150018: "15.18", 100023: "10.23", 90624: "9.6.24", 80222: "8.2.22"} {
		if got := versionText(number); got != want {
			t.Errorf("%d is %q, want %q", number, got, want)
		}
	}
}
