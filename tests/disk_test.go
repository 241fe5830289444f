package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
)

// TestDiskFull: disks that really are full, on either side. The server hears
// which one it is and what is missing, nothing half written has a segment's
// name, and archiving goes on by itself when there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := newShipping(t)
	s.parts([]part{
		{"the standby's archive is full", s.standbyFull},
		{"it fills up while segments are written", s.standbyFillsUp},
		{"the primary's home is full", s.homeFull},
	})
}

func (*shipping) standbyFull(s *shipping) {
	archive := s.DB2.Archive()
	s.DB2.Mount(archive, 80<<20)
	s.DB1.Must("shipper", "stop") // its agent has the directory below
	empty := s.DB2.Fill(archive, 0)
	name := s.noRoom(archive)
	if result := s.DR.Run("why"); result.Code != 1 || !strings.HasPrefix(result.Stdout, "the disk with the archive on db2 is full\n") || !strings.Contains(result.Stdout, "no room for "+string(name)) {
		s.Errorf("%s\nwant it to say which disk is full, and what the server's log says", result)
	}
	s.archived(s.DR, name)
	empty()
	s.archived(s.DB2, name)
	s.allThere()
}

// standbyFillsUp: there is room for two segments, and more than two are offered
// at once.
func (*shipping) standbyFillsUp(s *shipping) {
	archive := s.DB2.Archive()
	empty := s.DB2.Fill(archive, 5<<19)
	before := s.noHalves(s.DB2)
	s.DB1.SQL(muchWAL)
	cluster.Eventually(s, time.Minute, "two more segments are archived", func() (bool, error) { return s.noHalves(s.DB2) >= before+2, nil })
	s.listen()
	name := s.noRoom(archive)
	s.noHalves(s.DB2)
	empty()
	s.archived(s.DB2, name)
	s.noHalves(s.DB2)
	s.DB2.WaitReplay(s.DB1, catchUp)
}

// noRoom waits until the server has said that a disk is full, and returns the
// segment that waits for it.
func (s *shipping) noRoom(disk string) walcore.SegmentName {
	s.Helper()
	line := s.said("file system " + disk + " has ")
	for _, want := range []string{"could not ship ", "no room for ", " bytes free, ", " are needed", "stays in pg_wal and the server will try again"} {
		if !strings.Contains(line, want) {
			s.Errorf("the server's log says %q, want %q in it", line, want)
		}
	}
	s.said("warmrun: hint: free space on " + disk)
	name := notShipped(line)
	s.failedLast(name)
	if !s.waits(name) || s.has(s.DB2, name) {
		s.Errorf("%s waits on the primary: %v, is on db2: %v; want it kept until there is room", name, s.waits(name), s.has(s.DB2, name))
	}
	return name
}

// noHalves counts the segments in an archive, all of which are whole.
func (s *shipping) noHalves(n *cluster.Node) (segments int) {
	s.Helper()
	entries, err := os.ReadDir(n.Path(n.Archive()))
	if err != nil {
		s.Fatal(err)
	}
	for _, entry := range entries {
		if _, err := walcore.ParseSegmentName(entry.Name()); err != nil {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			s.Fatal(err)
		}
		if info.Size() != 1<<20 {
			s.Errorf("%s has %d bytes, want a whole segment", entry.Name(), info.Size())
		}
		segments++
	}
	return segments
}

// homeFull: the shipper can write neither its lock nor its log, so the call
// ships by itself.
func (*shipping) homeFull(s *shipping) {
	home := s.DB1.Home
	s.DB1.StopServer("fast")
	s.DB1.Must("shipper", "stop")
	s.DB1.Mount(home, 96<<20)
	places := filepath.Join(home, "local", "ship")
	if err := os.RemoveAll(s.DB1.Path(places)); err != nil {
		s.Fatal(err)
	}
	empty := s.DB1.Fill(home, 0)
	s.DB1.StartServer()
	s.segment(s.DB2)
	if result := s.DB1.Run("shipper", "status"); result.Code != 1 && result.Code != 3 {
		s.Errorf("%s\nwant no shipper: it has no room for its lock", result)
	}
	s.historyWithoutRoom()
	empty()
	s.segment(s.DB2)
	s.DB1.Must("shipper", "status")
	s.allThere()
}

// historyWithoutRoom: a history file is kept in the primary's own archive or
// not acknowledged. This one goes no further, because archiving is not active.
func (s *shipping) historyWithoutRoom() {
	s.Helper()
	active := s.DB1.Path(filepath.Join(s.DB1.Home, "local", "replication", "archiving_active"))
	if err := os.Rename(active, active+".away"); err != nil {
		s.Fatal(err)
	}
	path := filepath.Join(s.DB1.Dir, "00000009.history")
	s.DB1.Write(path, "8\t0/100000\tnobody\n")
	archive := func() cluster.Result { return s.DB1.Run("archive", path, "00000009.history") }
	s.failed(archive(), 1, "no room for 00000009.history in "+s.DB1.Archive()+": file system "+s.DB1.Home+" has ")
	if s.DB1.Exists(filepath.Join(s.DB1.Archive(), "00000009.history")) {
		s.Error("a history without room is in the archive")
	}
	if err := os.Rename(active+".away", active); err != nil {
		s.Fatal(err)
	}
}
