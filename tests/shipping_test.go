package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/ship"
)

// muchWAL fills about twenty small segments.
const muchWAL = "INSERT INTO incompressible SELECT i, (SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 50) j) FROM generate_series(1, 12000) i"

// shipping is a cluster of machines with small segments whose standby follows,
// while clients write.
type shipping struct {
	state
	load  *cluster.Load
	since int // where said begins to read db1's server log
}

func newShipping(t *testing.T) *shipping {
	t.Helper()
	return newShippingOf(t, 1)
}

// newShippingOf is newShipping with segments of that many megabytes.
func newShippingOf(t *testing.T, segmentSize int) *shipping {
	t.Helper()
	c := cluster.New(t, cluster.Options{Machines: true, SegmentSize: segmentSize, Settings: []string{"archive_timeout = 2s"}})
	s := &shipping{state: state{T: t, Cluster: c}}
	s.DB1.Must("distrib")
	s.DB2.Must("configStandby")
	s.DR.Must("configStandby")
	s.load = s.StartLoad(1, 5, 100*time.Millisecond)
	s.load.WaitRows(50, time.Minute)
	s.DB1.SQL("CREATE TABLE incompressible (i int, filler text)")
	s.DB1.Must("copyToStandby", "--start")
	s.segment(s.DB2)
	return s
}

// noticeSoon has the nodes give a silent connection up after eight seconds, as
// an operator may. What they do by themselves TestLinkCutInMidSegment sees.
func (s *shipping) noticeSoon() {
	s.Helper()
	for _, n := range s.Nodes() {
		n.Write(filepath.Join(n.Dir, ".ssh", "config"), "Host *\n  ServerAliveInterval 2\n")
	}
	s.DB1.Must("shipper", "stop")
}

type part struct {
	name string
	run  func(*shipping)
}

// parts runs them one after the other; each begins where the last one ended.
func (s *shipping) parts(parts []part) {
	for _, p := range parts {
		ok := s.Run(p.name, func(t *testing.T) {
			at := *s
			at.T = t
			at.listen()
			p.run(&at)
		})
		if !ok {
			return
		}
	}
}

// segment ends one and waits until the archive of a node has it.
func (s *shipping) segment(at *cluster.Node) walcore.SegmentName {
	s.Helper()
	name := s.switched()
	s.archived(at, name)
	return name
}

// switched ends a segment.
func (s *shipping) switched() walcore.SegmentName {
	s.Helper()
	return walcore.SegmentName(s.DB1.SQL("SELECT pg_walfile_name(pg_switch_wal()) FROM pg_create_restore_point('test')"))
}

// allThere: the standby replays all that was written, and no acknowledged row
// is missing on it.
func (s *shipping) allThere() {
	s.Helper()
	resume := s.load.Pause()
	defer resume()
	must := s.load.Ledger.Snapshot()
	s.DB2.WaitReplay(s.DB1, catchUp)
	cluster.Check(s, "afterwards", s.DB2, must)
}

// said waits until the server on db1 has written a line with a text to its log
// since listen, or since this part of the test began, and returns the line.
func (s *shipping) said(text string) (line string) {
	s.Helper()
	cluster.Eventually(s, 2*time.Minute, fmt.Sprintf("the server says %q", text), func() (bool, error) {
		for l := range strings.Lines(readFile(s.T, s.DB1.Path(s.DB1.Log))[s.since:]) {
			if strings.Contains(l, text) {
				line = strings.TrimSpace(l)
				return true, nil
			}
		}
		return false, errors.New("not yet")
	})
	return line
}

// listen makes said look only at what the server says from now on.
func (s *shipping) listen() {
	s.Helper()
	s.since = len(readFile(s.T, s.DB1.Path(s.DB1.Log)))
}

// notShipped is the segment that a line of the server's log is about.
func notShipped(line string) walcore.SegmentName {
	_, rest, _ := strings.Cut(line, "could not ship ")
	name, _, _ := strings.Cut(rest, " ")
	return walcore.SegmentName(name)
}

// failedLast waits until the server's statistics have the segment as the last
// one that could not be archived.
func (s *shipping) failedLast(name walcore.SegmentName) {
	s.Helper()
	cluster.Eventually(s, time.Minute, fmt.Sprintf("pg_stat_archiver shows that %q failed", name), func() (bool, error) {
		failed, err := s.DB1.TrySQL("SELECT last_failed_wal FROM pg_stat_archiver")
		return failed == string(name), err
	})
}

// onTheWay are the files that the shipper on db1 is sending.
func (s *shipping) onTheWay() (names []walcore.FileName) {
	s.Helper()
	for _, shipper := range s.shippers() {
		for _, link := range shipper.Links {
			names = append(names, link.OnTheWay...)
		}
	}
	return names
}

func (s *shipping) signal(what syscall.Signal, pids ...int) {
	s.Helper()
	if len(pids) == 0 {
		s.Fatal("no process to signal")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, what); err != nil {
			s.Fatal(err)
		}
	}
}

// letGo waits until the primary no longer keeps a segment for anybody.
func (s *shipping) letGo(name walcore.SegmentName) {
	s.Helper()
	cluster.Eventually(s, time.Minute, string(name)+" is archived", func() (bool, error) { return !s.waits(name), nil })
}

// shippers are those that run from db1's home.
func (s *shipping) shippers() (running []ship.ShipperStatus) {
	s.Helper()
	result := s.DB1.Run("shipper", "status", "--json")
	if err := json.Unmarshal([]byte(result.Stdout), &running); err != nil {
		s.Fatalf("%s\n%v", result, err)
	}
	return running
}
