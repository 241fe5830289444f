package tests

import (
	"bufio"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/tests/cluster"
)

// TestHangUp: what becomes of a run when its terminal, its reader or its caller
// goes away.
func TestHangUp(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"nobody reads the output", (*state).unread},
		chapter{"the terminal goes away", (*state).hangUp},
		chapter{"the caller is killed while clients drain", (*state).callerKilled},
		chapter{"killed before the promotion", (*state).killedFlushed},
		chapter{"killed behind the fence", (*state).killedFenced},
		chapter{"killed while the promotion runs elsewhere", (*state).killedPromoting},
	)
}

// unread: warmrun flushPrimary | head -1
func (s *state) unread() {
	s.write(s.DB1)
	reader, writer, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	cmd := s.DB1.Command(s.Context(), s.DB1.Binary(), "flushPrimary", "--drain", "0s")
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = writer, &stderr
	s.DB1.Start(cmd)
	if err := writer.Close(); err != nil {
		s.Fatal(err)
	}
	if _, err := bufio.NewReaderSize(reader, 16).ReadString('\n'); err != nil {
		s.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		s.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		s.Errorf("flushPrimary with nobody reading: %v\n%s", err, stderr.String())
	}
	s.checkFenced(s.DB1)
	s.checkFlushed(s.DB1, s.DB2)
	s.DB1.Must("startPrimary")
	s.asBefore(s.DB1, s.DB2)
}

// draining starts a switchover on db2 and returns when the primary waits for a
// client.
func (s *state) draining() command {
	s.Helper()
	client, err := psql.Connect(s.Context(), s.DB1.Target())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = client.Close(s.T.Context()) }) // the server has ended it
	run := s.start(s.DB2, "switchover", "--drain", "100s")
	cluster.Eventually(s, time.Minute, "the primary takes no more clients", func() (bool, error) {
		_, err := s.DB1.TrySQL("SELECT 1")
		return err != nil, nil
	})
	return run
}

func (s *state) hangUp() {
	run := s.draining()
	if err := run.process.Signal(syscall.SIGHUP); err != nil {
		s.Fatal(err)
	}
	s.failed(run.end(), 1, "interrupted")
	s.asBefore(s.DB1, s.DB2)
}

// callerKilled: the run on db1 that db2 had called undoes itself. What db2 has
// to do with it is then undone, too.
func (s *state) callerKilled() {
	run := s.draining()
	if err := run.process.Kill(); err != nil {
		s.Fatal(err)
	}
	run.end()
	cluster.Eventually(s, time.Minute, "the primary is back", func() (bool, error) {
		_, err := s.DB1.TrySQL("SELECT 1")
		return err == nil && active(s.DB1) && len(commandsOf(s.DB1, "flushPrimary")) == 0, nil
	})
	if result := s.goOnWith(s.DB2, "rollback", s.unfinished(s.DB2)); result.Code != 0 {
		s.Errorf("%s\nwant the run undone", result)
	}
	s.asBefore(s.DB1, s.DB2)
}

// killedFlushed: nobody is left to undo anything, and status says what to type.
func (s *state) killedFlushed() {
	s.pausesReplay(s.DB1)
	s.write(s.DB1)
	run := s.start(s.DB1, "switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the primary is flushed", func() (bool, error) {
		return s.DB1.Exists(s.DB1.PGData+"/standby.signal") && !active(s.DB1), nil
	})
	if err := run.process.Kill(); err != nil {
		s.Fatal(err)
	}
	run.end()
	s.DB2.SQL("SELECT pg_wal_replay_resume()")
	said := s.DB2.Must("status").Stdout
	if !strings.Contains(said, "\nhint: run "+s.unfinished(s.DB1)+" is unfinished; go on with it: warmrun runs resume ") || strings.Contains(said, "startPrimary") {
		s.Errorf("status says\n%s\nwant how to end the run, and nothing that is refused until then", said)
	}
	s.abandoned(s.DB1)
	s.says(s.DB2.Must("status"), "to go on: warmrun triggerStandby --archiving on db2, ", "warmrun startPrimary on db1")
	s.DB1.Must("startPrimary")
	s.asBefore(s.DB1, s.DB2)
	if said := s.DB2.Must("status").Stdout; strings.Contains(said, "startPrimary") {
		s.Errorf("status still says\n%s", said)
	}
}

// abandoned gives the killed run up, which nothing else can begin beside.
func (s *state) abandoned(n *cluster.Node, flags ...string) {
	s.Helper()
	id := s.unfinished(n)
	s.refused(n, 5, "warmrun runs abandon "+id, "startPrimary")
	if result := s.goOnWith(n, append([]string{"abandon", "--yes", id}, flags...)...); result.Code != 0 {
		s.Fatalf("%s\nwant the run given up", result)
	}
}

// killedFenced: the fence is up in every archive and nobody is promoted. A DR
// node that cannot be asked keeps the fence up; then it comes down.
func (s *state) killedFenced() {
	mark := s.DB1.Path(s.DB1.Dir + "/fenced")
	s.override(s.DB1, "switchover", `    step { "promote"`, `    step { "mark", run = function(c) ssh.run("db2", "touch `+mark+`; sleep 100") end },
    step { "promote"`)
	s.write(s.DB1)
	run := s.start(s.DB1, "switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the fence is up", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	if err := run.process.Kill(); err != nil {
		s.Fatal(err)
	}
	run.end()
	s.abandoned(s.DB1)
	s.says(s.DB2.Must("status"), "go on with warmrun triggerStandby --archiving on db2")
	s.DR.Cut()
	s.refused(s.DB1, 1, "ends at", "startPrimary", "--accept-split")
	s.checkFenced(s.DB1)
	s.DR.Uncut()
	s.DR.StartServer()
	s.DB1.Must("startPrimary")
	s.asBefore(s.DB1, s.DB2)
}

// killedPromoting: the promotion on db2 has begun and is brought to its end, and
// then the run is.
func (s *state) killedPromoting() {
	mark := s.DB2.Path(s.DB2.Dir + "/promoting")
	s.override(s.DB2, "triggerStandby", `      local trigger = standby.trigger`, `      ssh.run("db1", "touch `+mark+`; sleep 2")
      local trigger = standby.trigger`)
	s.write(s.DB1)
	run := s.start(s.DB1, "switchover", "--drain", "0s")
	cluster.Eventually(s, time.Minute, "the promotion has begun", func() (bool, error) {
		_, err := os.Stat(mark)
		return err == nil, nil
	})
	if err := run.process.Kill(); err != nil {
		s.Fatal(err)
	}
	run.end()
	cluster.Eventually(s, time.Minute, "db2 is the primary", func() (bool, error) {
		got, err := s.DB2.TrySQL("SELECT pg_is_in_recovery()::text")
		return got == "false" && len(commandsOf(s.DB2, "triggerStandby")) == 0, err
	})
	s.write(s.DB2)
	s.checkRows(s.DB2)
	s.checkFenced(s.DB1)
	if s.DB2.Exists(s.DB2.Home + "/local/trigger") {
		s.Error("the trigger file is left on db2")
	}
	if result := s.goOnWith(s.DB1, "resume", s.unfinished(s.DB1)); result.Code != 0 {
		s.Errorf("%s\nwant the run at its end", result)
	}
	s.asBefore(s.DB2, s.DB1)
}
