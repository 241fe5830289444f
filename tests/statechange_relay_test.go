package tests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// shipped writes a row, ends the segment that it is in, and waits until the
// node's archive has it.
func (s *state) shipped(to *cluster.Node) walcore.SegmentName {
	s.Helper()
	s.write(s.DB1)
	name := walcore.SegmentName(s.DB1.SQL("SELECT pg_walfile_name(pg_switch_wal())"))
	s.archived(to, name)
	return name
}

func (s *state) archived(n *cluster.Node, name walcore.SegmentName) {
	s.Helper()
	cluster.Eventually(s, time.Minute, fmt.Sprintf("%s is in the archive on %s", name, n.Name), func() (bool, error) {
		return s.has(n, name), nil
	})
}

func (s *state) has(n *cluster.Node, name walcore.SegmentName) bool {
	s.Helper()
	return n.Exists(filepath.Join(n.Archive(), string(name)))
}

func (s *state) lose(n *cluster.Node, name walcore.SegmentName) {
	s.Helper()
	if err := os.Remove(n.Path(filepath.Join(n.Archive(), string(name)))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
}

// relay: rsyncDR does nothing on a primary, does not overlap with itself, ships
// again what was lost on the DR node, and names what nobody has any more.
func (s *state) relay() {
	if result := s.DB1.Must("rsyncDR"); !strings.Contains(result.Stdout, "is the primary; rsyncDR runs on the standby and does nothing here") {
		s.Errorf("%s\nwant it to say that it does nothing on a primary", result)
	}
	s.shipped(s.DB2)
	s.DB2.Must("rsyncDR")
	s.DR.StopServer("fast")

	lost := s.shipped(s.DB2)
	s.shipped(s.DB2)
	s.overlap()
	s.DB2.Must("rsyncDR")
	s.lose(s.DR, lost)
	s.DB2.Must("rsyncDR")
	if !s.has(s.DR, lost) {
		s.Errorf("%s was not sent again", lost)
	}

	kept, err := os.ReadFile(s.DR.Path(filepath.Join(s.DR.Archive(), string(lost))))
	if err != nil {
		s.Fatal(err)
	}
	s.follows(s.DB2, s.DB1) // it must not need what goes now
	for _, n := range s.Nodes() {
		s.lose(n, lost)
	}
	s.refused(s.DB2, 1, string(lost), "rsyncDR")
	// It turns up on a tape.
	path := s.DR.Path(filepath.Join(s.DR.Archive(), string(lost)))
	if err := os.WriteFile(path, kept, 0o644); err != nil {
		s.Fatal(err)
	}
	s.DB2.Must("rsyncDR")
	s.DR.StartServer()
	s.drFollows()
}

// overlap: a second rsyncDR says who holds the lock, and goes.
func (s *state) overlap() {
	s.Helper()
	lock := s.DB2.Path(filepath.Join(s.DB2.Home, "local", "runs", "rsyncDR.lock"))
	f, err := os.OpenFile(lock, os.O_RDWR, 0)
	if err != nil {
		s.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		s.Fatal(err)
	}
	s.refused(s.DB2, 5, "rsyncDR-db2-", "rsyncDR")
	if err := f.Close(); err != nil {
		s.Fatal(err)
	}
}

func (s *state) drFollows() {
	s.Helper()
	lsn := s.DB1.SQL("SELECT pg_switch_wal()::text")
	cluster.Eventually(s, catchUp, "dr has replayed up to "+lsn, func() (bool, error) {
		if result := s.DB2.Run("rsyncDR"); result.Code != 0 {
			s.Fatalf("%s", result)
		}
		return s.DR.Replayed(lsn)
	})
	s.checkRows(s.DR)
}

// standbyDown: WAL goes to the DR node, and stays on the primary for the
// standby. Where one node is enough, the standby fetches from the DR node what
// it missed.
func (s *state) standbyDown() {
	down := time.Now()
	s.DB2.Cut()
	missed := s.shipped(s.DR)
	if !s.waits(missed) {
		s.Errorf("%s does not wait on the primary for the standby", missed)
	}
	s.DB2.Uncut()
	s.shipped(s.DB2) // new WAL wakes the archiver, which pauses for a minute now and then
	s.archived(s.DB2, missed)
	s.DB2.StartServer()
	s.follows(s.DB2, s.DB1)
	s.Logf("the standby is back after %s", time.Since(down))

	for _, n := range s.Nodes() {
		path := n.Path(filepath.Join(n.Home, "global", "cluster.toml"))
		text, err := os.ReadFile(path)
		if err != nil {
			s.Fatal(err)
		}
		s.replace(path, string(text)+"\n[archive]\nrequire = 'any'\n")
		s.Cleanup(func() { s.replace(path, string(text)) })
	}
	s.DB2.Cut()
	var names []walcore.SegmentName
	for range 3 {
		names = append(names, s.shipped(s.DR))
	}
	cluster.Eventually(s, time.Minute, "nothing waits on the primary", func() (bool, error) { return !s.waits(names[2]), nil })
	s.DB2.Uncut()
	s.DB2.StartServer()
	start := time.Now()
	s.follows(s.DB2, s.DB1)
	took := time.Since(start)
	s.Logf("the standby has fetched what it missed after %s", took)
	if took > 30*time.Second {
		s.Errorf("the standby took %s to fetch what it had missed", took)
	}
	for _, name := range names {
		if !s.has(s.DB2, name) {
			s.Errorf("%s is not in the standby's archive", name)
		}
	}
}

func (s *state) replace(path, text string) {
	s.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
}

// waits reports whether the primary keeps the segment for a later try.
func (s *state) waits(name walcore.SegmentName) bool {
	s.Helper()
	return s.DB1.Exists(filepath.Join(s.DB1.PGData, "pg_wal", "archive_status", string(name)+".ready"))
}
