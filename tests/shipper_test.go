package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestShipperAroundTheServer: what happens to servers, their directories and
// their machines does not stop the shipper, or it is not needed.
func TestShipperAroundTheServer(t *testing.T) {
	t.Parallel()
	s := newShipping(t)
	s.parts([]part{
		{"the server is restarted while it ships", s.restarted},
		{"the shipper was killed and left its socket", s.staleSocket},
		{"/tmp is full", s.tmpFull},
		{"a call below flock starts it", s.lockedCall},
		{"a second server on the machine", s.secondServer},
		{"sshd's process for the connection is killed", s.sessionKilled},
		{"the data directory moves", s.dataMoved},
	})
}

func (*shipping) restarted(s *shipping) {
	for _, mode := range []string{"fast", "immediate"} {
		s.DB1.SQL(muchWAL)
		s.DB1.StopServer(mode)
		s.DB1.StartServer()
	}
	s.allThere()
}

func (*shipping) staleSocket(s *shipping) {
	s.segment(s.DB2)
	dead := s.shippers()[0].PID
	s.signal(syscall.SIGKILL, commandsOf(s.DB1, "shipper")...)
	sockets, err := filepath.Glob(s.DB1.Path(filepath.Join(s.DB1.Home, "local", "ship", "*.sock")))
	if err != nil || len(sockets) != 1 {
		s.Fatalf("sockets %v, %v, want the dead shipper's", sockets, err)
	}
	s.segment(s.DB2)
	if running := s.shippers(); len(running) != 1 || running[0].PID == dead {
		s.Errorf("got %+v, want another shipper", running)
	}
}

func (*shipping) tmpFull(s *shipping) {
	s.DB1.FillTmp()
	s.DB1.Must("shipper", "stop")
	s.segment(s.DB2)
	if running := s.shippers(); len(running) != 1 {
		s.Errorf("got %+v, want a shipper that needs no /tmp", running)
	}
	s.allThere()
}

// lockedCall: a shipper stays for minutes, and must not keep the lock of a cron
// job that was the first to need it.
func (*shipping) lockedCall(s *shipping) {
	defer s.load.Pause()()
	name := string(s.segment(s.DB2))
	s.DB1.Must("shipper", "stop")
	lock := filepath.Join(s.DB1.Dir, "cron.lock")
	call := s.DB1.Exec("flock", lock, s.DB1.Binary(), "archive", filepath.Join(s.DB1.PGData, "pg_wal", name), name)
	if running := s.shippers(); call.Code != 0 || len(running) != 1 {
		s.Fatalf("%s\nwith %+v; want a shipper that it has started", call, running)
	}
	if again := s.DB1.Exec("flock", "-n", lock, "true"); again.Code != 0 {
		s.Errorf("%s\nwant the lock to be free when the call has ended", again)
	}
}

// secondServer: in the first one's home it is refused, because that is another
// server's; with a home of its own it ships beside the first one.
func (*shipping) secondServer(s *shipping) {
	second := &another{shipping: s, data: filepath.Join(s.DB1.Dir, "data2"), home: filepath.Join(s.DB1.Dir, "home2"), away: filepath.Join(s.DB2.Dir, "home2")}
	second.start(s.DB1.Home)
	segment := second.sql("SELECT pg_walfile_name(pg_switch_wal())")
	line := second.said("the server that runs this works in " + second.data)
	if !strings.Contains(line, s.DB1.PGData) {
		s.Errorf("the second server's log says %q, want also whose archive_command it is", line)
	}
	s.segment(s.DB2)
	if got := len(s.shippers()); got != 2 {
		s.Errorf("%d shippers, want one for each data directory", got)
	}

	second.settle()
	second.sql("ALTER SYSTEM SET archive_command = '" + second.command(second.home) + "'")
	second.sql("SELECT pg_reload_conf()")
	cluster.Eventually(s, time.Minute, segment+" of the second server is archived", func() (bool, error) {
		second.sql("SELECT pg_reload_conf()") // wakes the archiver
		return s.DB2.Exists(filepath.Join(second.away, "archive", segment)), nil
	})
	s.allThere()
	second.run("pg_ctl -D %s -m fast -w stop", second.data)
	s.DB1.Must("--home", second.home, "shipper", "stop")
}

// sessionKilled: what sshd runs for the connection dies while a segment is on
// its way. The agent below it ends, and WAL flows over another connection.
func (*shipping) sessionKilled(s *shipping) {
	s.segment(s.DB2)
	agents := commandsOf(s.DB2, "agent")
	s.signal(syscall.SIGSTOP, agents...)
	s.DB1.SQL(muchWAL)
	cluster.Eventually(s, time.Minute, "a segment is on its way", func() (bool, error) { return len(s.onTheWay()) > 0, nil })
	cut := s.onTheWay()
	for _, agent := range agents {
		s.signal(syscall.SIGKILL, s.sshdOf(agent))
	}
	s.signal(syscall.SIGCONT, agents...)
	for _, name := range cut {
		s.archived(s.DB2, name.Segment())
	}
	for _, agent := range agents {
		cluster.Eventually(s, time.Minute, fmt.Sprintf("agent %d has ended", agent), func() (bool, error) {
			return !slices.Contains(commandsOf(s.DB2, "agent"), agent), nil
		})
	}
	s.allThere()
}

// sshdOf is the sshd process that a process was started by.
func (s *shipping) sshdOf(pid int) int {
	s.Helper()
	for pid > 1 {
		stat := readFile(s.T, fmt.Sprintf("/proc/%d/stat", pid))
		name, rest, _ := strings.Cut(stat, ") ")
		if strings.Contains(name, "(sshd") {
			return pid
		}
		var letter string
		if _, err := fmt.Sscan(rest, &letter, &pid); err != nil {
			s.Fatalf("%q: %v", stat, err)
		}
	}
	s.Fatal("the agent was not started by sshd")
	return 0
}

// another is a second server on db1.
type another struct {
	*shipping
	data, home, away string // away is its home on db2
}

func (a *another) run(format string, args ...any) string {
	a.Helper()
	result := a.DB1.Exec("/bin/sh", "-c", "set -e; "+fmt.Sprintf(format, args...))
	if result.Code != 0 {
		a.Fatalf("%s", result)
	}
	return strings.TrimSpace(result.Stdout)
}

func (a *another) sql(query string) string {
	a.Helper()
	return a.run("psql -h %s -p 5433 -XAtq -d postgres <<'END'\n%s\nEND", a.DB1.SocketDir, query)
}

func (a *another) said(text string) (line string) {
	a.Helper()
	cluster.Eventually(a, time.Minute, fmt.Sprintf("the second server says %q", text), func() (bool, error) {
		log, err := os.ReadFile(a.DB1.Path(a.data + ".log"))
		for l := range strings.Lines(string(log)) {
			if strings.Contains(l, text) {
				line = strings.TrimSpace(l)
			}
		}
		return line != "", err
	})
	return line
}

func (a *another) command(home string) string {
	return a.DB1.Binary() + " --home " + home + " archive %p %f"
}

// start starts it with the home directory given.
func (a *another) start(home string) {
	a.Helper()
	a.run("initdb -D %s -A trust --wal-segsize=1 >/dev/null", a.data)
	a.DB1.Write(filepath.Join(a.data, "postgresql.conf"), fmt.Sprintf(
		"listen_addresses = ''\nport = 5433\nunix_socket_directories = '%s'\narchive_mode = on\narchive_command = '%s'\n", a.DB1.SocketDir, a.command(home)))
	a.run("unset PGDATA; pg_ctl -D %s -l %[1]s.log -w start >/dev/null", a.data)
}

// settle makes a site of its own for it on both nodes.
func (a *another) settle() {
	a.Helper()
	text := readFile(a.T, a.DB1.Path(filepath.Join(a.DB1.Home, "global", "cluster.toml")))
	text = strings.NewReplacer("'"+a.DB1.PGData+"'", "'"+a.data+"'", "'"+a.DB1.Home+"'", "'"+a.home+"'", "'"+a.DB2.Home+"'", "'"+a.away+"'").Replace(text)
	for _, file := range []struct{ name, text string }{
		{"global/cluster.toml", text}, {"local/node", "db1\n"}, {"local/replication/archiving_active", ""},
	} {
		a.DB1.Write(filepath.Join(a.home, file.name), file.text)
	}
	a.DB2.Write(filepath.Join(a.away, "global", "cluster.toml"), text)
	a.DB2.Write(filepath.Join(a.away, "local", "node"), "db2\n")
	result := a.DB2.Exec("/bin/sh", "-c", fmt.Sprintf("mkdir %[1]s/archive %[1]s/bin && cp %s %[1]s/bin/", a.away, a.DB2.Binary()))
	if result.Code != 0 {
		a.Fatalf("%s", result)
	}
}

// dataMoved: the shipper of the old place knows nothing of the new one, and
// another one is started.
func (*shipping) dataMoved(s *shipping) {
	s.DB1.StopServer("fast")
	old, moved := s.DB1.PGData, s.DB1.PGData+"-moved"
	if err := os.Rename(s.DB1.Path(old), s.DB1.Path(moved)); err != nil {
		s.Fatal(err)
	}
	for _, n := range s.Nodes() {
		path := n.Path(filepath.Join(n.Home, "global", "cluster.toml"))
		s.replace(path, strings.ReplaceAll(readFile(s.T, path), "'"+old+"'", "'"+moved+"'"))
	}
	s.DB1.PGData = moved
	s.DB1.StartServer()
	s.segment(s.DB2)
	s.allThere()
	var of []string
	for _, shipper := range s.shippers() {
		of = append(of, shipper.DataDir)
	}
	if !strings.Contains(strings.Join(of, " ")+" ", moved+" ") {
		s.Errorf("there are shippers of %q, want one of %s", of, moved)
	}
	s.DB1.Must("shipper", "stop")
	if left := s.shippers(); len(left) > 0 {
		s.Errorf("after the stop: %+v, want none, not even that of the old place", left)
	}
}
