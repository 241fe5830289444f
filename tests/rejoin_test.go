package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/tests/cluster"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/fault"
)

// TestRejoin: an old primary comes back, and one command makes it a standby, by no
// more than it takes.
func TestRejoin(t *testing.T) {
	t.Parallel()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{Settings: []string{"wal_log_hints = on"}})}
	s.prepare()
	s.inTurn(
		chapter{"nothing but a start", (*state).rejoinStarts},
		chapter{"it follows already", (*state).rejoinFollows},
		chapter{"it has gone on writing", (*state).rejoinRewinds},
		chapter{"it was killed while it wrote", (*state).rejoinCrashed},
		chapter{"the rewind was cut", (*state).rejoinHalfRewound},
		chapter{"a copy", (*state).rejoinCopies},
		chapter{"nobody to follow", (*state).rejoinRefused},
	)
}

// TestRejoin2warm: the archive lies in the data directory, and pg_rewind would make
// it the other node's.
func TestRejoin2warm(t *testing.T) {
	t.Parallel()
	s := &state{T: t, Cluster: cluster.New(t, cluster.Options{Layout: cluster.TwoWarm, Settings: []string{"wal_log_hints = on"}, Tags: "faults"})}
	s.prepare()
	s.inTurn(
		chapter{"nothing but a start", (*state).rejoinStarts},
		chapter{"it has gone on writing", func(s *state) {
			before := s.listed(s.DB2)
			s.rejoinRewinds()
			if after := s.listed(s.DB2); !strings.HasPrefix(after, strings.Fields(before)[0]) || s.DB2.Exists(s.DB2.PGData+".archive-aside") {
				s.Errorf("the archive of db2 held %s and holds %s", before, after)
			}
		}},
		chapter{"the rewind was cut", (*state).rewindCutAside},
	)
}

// rewindCutAside: warmrun dies when the archive lies aside. The archive is the node's
// again when the copy has mended the rest.
func (s *state) rewindCutAside() {
	s.DB1, s.DB2 = s.DB2, s.DB1
	defer func() { s.DB1, s.DB2 = s.DB2, s.DB1 }()
	s.returnsWriting()
	aside, before := s.DB2.PGData+".archive-aside", strings.Fields(s.listed(s.DB2))
	(&deaths{T: s.T, notes: filepath.Join(s.DB2.Dir, "deaths")}).plan(s.DB2, map[fault.Step]float64{fault.Rewind: 1})
	if result := s.DB2.Run("rejoin", "--yes"); !s.DB2.Exists(aside) {
		s.Fatalf("%s\nwant it killed, with the archive aside", result)
	}
	if err := os.Remove(faultsFile(s.DB2)); err != nil {
		s.Fatal(err)
	}
	s.abandoned(s.DB2)
	said := s.DB1.Must("status")
	s.says(said, "its data directory may be half rewound", "warmrun rejoin on it")
	if strings.Contains(said.Stdout, "configStandby") {
		s.Errorf("%s\nwant nothing said of an archive that is not there", said)
	}
	s.says(s.DB2.Must("rejoin", "--yes"), "its data directory may be half rewound", "Starting online backup")
	if after := strings.Fields(s.listed(s.DB2)); !slices.Contains(after, before[0]) || s.DB2.Exists(aside) {
		s.Errorf("the archive of %s held %s and holds %s", s.DB2.Name, before, after)
	}
	s.asBefore(s.DB1, s.DB2)
}

// rejoinStarts: the primary is killed, and all that it had written is fetched
// before the promotion.
func (s *state) rejoinStarts() {
	s.write(s.DB1)
	s.DB1.KillServer()
	before := identity(s.T, s.DB1)
	s.says(s.DB2.Must("failover", "--yes"), "Nothing is lost")
	s.write(s.DB2)
	s.says(s.DB1.Must("rejoin", "--yes"), "it needs neither a rewind nor a copy", "db1 follows db2 on timeline 2")
	if !os.SameFile(before, identity(s.T, s.DB1)) {
		s.Error("the data directory was made anew")
	}
	s.asBefore(s.DB2, s.DB1)
}

func (s *state) rejoinFollows() {
	s.says(s.DB1.Must("rejoin", "--yes"), "db1 is in recovery")
	s.asBefore(s.DB2, s.DB1)
}

// rejoinRewinds: the host of the primary was gone, the other node was promoted, and
// the old primary comes back and goes on. What it writes is acknowledged nowhere.
func (s *state) rejoinRewinds() {
	// A rewound server replays from this checkpoint on. It has the WAL since then until
	// pg_rewind removes it, because the primary has it no more.
	s.DB2.SQL("SELECT pg_create_physical_replication_slot('keeps', true)::text")
	s.DB2.SQL("CHECKPOINT")
	var behind []string
	for range 2 {
		s.write(s.DB2)
		behind = append(behind, s.DB2.SQL("SELECT pg_walfile_name(pg_switch_wal())"))
	}
	segment := s.returnsWriting()
	s.DB2.SQL("SELECT pg_switch_wal()")
	cluster.Eventually(s, time.Minute, "the server log of db2 says why nothing is archived", func() (bool, error) {
		return strings.Contains(s.DB2.LogTail(60), "fenced"), nil
	})
	s.says(s.DB1.Must("status"), "warmrun rejoin on it")
	s.says(s.DB2.Run("rejoin", "--plan"), "pg_rewind")
	s.refused(s.DB2, 1, "asks a question", "rejoin") // there is no terminal
	said := s.DB2.Must("rejoin", "--yes")
	s.says(said, "db2 accepts writes beside db1: it is stopped first", "has WAL of its own", "pg_rewind takes that back", "that only db2 has are kept in ")
	for _, name := range behind {
		s.says(said, "fetched "+name+" from db1") // or each would be missed for a while
	}
	s.checkKept(s.DB2, said.Stdout, segment)
	s.DB2.SQL("SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots")
	s.asBefore(s.DB1, s.DB2)
	if got := s.DB2.SQL("SHOW port"); got != fmt.Sprint(s.DB2.Port) {
		s.Errorf("db2 has port %s, want its own, %d", got, s.DB2.Port)
	}
}

// returnsWriting has db2, the primary, vanish and come back writable beside db1. It
// returns the segment that db2 writes to then.
func (s *state) returnsWriting() walcore.SegmentName {
	s.Helper()
	s.write(s.DB2)
	s.follows(s.DB1, s.DB2)
	s.DB2.Cut()
	s.says(s.DB1.Must("failover", "--accept-split", "--yes"), fmt.Sprintf("RISK: %s cannot be reached", s.DB2.Name))
	s.write(s.DB1)
	s.DB2.Uncut()
	s.DB2.StartServer()
	s.DB2.SQL("CREATE TABLE split AS SELECT generate_series(1, 1000)")
	return walcore.SegmentName(s.DB2.SQL("SELECT pg_walfile_name(pg_current_wal_lsn())"))
}

// checkKept: the segment is where rejoin said, with its mark, byte for byte what
// the server wrote.
func (s *state) checkKept(n *cluster.Node, said string, segment walcore.SegmentName) {
	s.Helper()
	_, path, _ := strings.Cut(said, "are kept in ")
	path, _, _ = strings.Cut(path, "\n")
	if info, err := os.Stat(n.Path(filepath.Join(path, string(segment)))); err != nil || info.Size() != 16<<20 {
		s.Errorf("%s is not kept in %s: %v", segment, path, err)
	}
	marks, err := filepath.Glob(n.Path(filepath.Join(path, "archive_status", "*.ready")))
	if err != nil || len(marks) == 0 {
		s.Errorf("no .ready marks are kept in %s: %v", path, err)
	}
}

// rejoinCrashed: as before, the other way around, and the old primary's server is
// killed.
func (s *state) rejoinCrashed() {
	s.DB1, s.DB2 = s.DB2, s.DB1
	defer func() { s.DB1, s.DB2 = s.DB2, s.DB1 }()
	s.write(s.DB2)
	s.follows(s.DB1, s.DB2)
	s.DB2.Cut()
	s.DB1.Must("failover", "--accept-split", "--yes")
	s.write(s.DB1)
	s.DB2.Uncut()
	s.DB2.StartServer()
	s.DB2.SQL("CREATE TABLE split AS SELECT generate_series(1, 1000)")
	s.DB2.KillServer()
	s.says(s.DB2.Must("rejoin", "--yes"), "pg_rewind takes that back")
	s.asBefore(s.DB1, s.DB2)
}

// rejoinHalfRewound: warmrun and pg_rewind die after that has removed the signal file.
// What is left would start as a second primary, and be damaged. Nothing starts there,
// whoever tries, until a copy has mended it.
func (s *state) rejoinHalfRewound() {
	s.returnsWriting()
	usual := s.rewindDies(s.DB2)
	if result := s.DB2.Run("rejoin", "--yes"); result.Code == 0 || s.DB2.Exists(filepath.Join(s.DB2.PGData, "standby.signal")) {
		s.Fatalf("%s\nwant it killed, with the signal file removed", result)
	}
	usual()
	s.refused(s.DB2, 5, "is unfinished", "startStandby")
	s.abandoned(s.DB2)
	s.refused(s.DB2, 1, "db2 stays stopped", "startPrimary")
	pgCtl := filepath.Join(s.PGBin(), "pg_ctl")
	if result := s.DB2.Exec(pgCtl, "-D", s.DB2.PGData, "-w", "start"); result.Code == 0 {
		s.Errorf("%s\nwant a server that does not start", result)
	}
	const half = "its data directory may be half rewound"
	s.says(s.DB1.Must("status"), "db2 is half rewound", "problem: a pg_rewind of db2 that began at ", half+"; no server starts there", "hint: db2: warmrun rejoin on it")
	s.check(s.DR, 2, "CRITICAL  db2      server: a pg_rewind of db2 that began at ", half, "next: warmrun rejoin on it")
	s.why(s.DB1, "a pg_rewind of db2 that began at ", half+"\n", "next: on db2: warmrun rejoin on it")
	s.says(s.DB2.Must("rejoin", "--yes"), half, "Starting online backup")
	s.asBefore(s.DB1, s.DB2)
}

// rewindDies puts another pg_rewind in the place of the node's, which removes the
// signal file as pg_rewind does, and dies with who has called it. usual takes it back.
func (s *state) rewindDies(n *cluster.Node) (usual func()) {
	s.Helper()
	dir, site := filepath.Join(n.Dir, "bin"), n.Path(filepath.Join(n.Home, "global", "cluster.toml"))
	programs, err := filepath.Glob(filepath.Join(s.PGBin(), "*"))
	text, errRead := os.ReadFile(site)
	if err := errors.Join(err, errRead, os.MkdirAll(n.Path(dir), 0o755)); err != nil {
		s.Fatal(err)
	}
	for _, program := range programs {
		if name := filepath.Base(program); name != "pg_rewind" {
			err = errors.Join(err, os.Symlink(program, filepath.Join(n.Path(dir), name)))
		}
	}
	script := fmt.Sprintf("#!/bin/sh\n[ $# = 1 ] && exec %s/pg_rewind \"$@\"\nrm %s/standby.signal && kill -9 $PPID\n", s.PGBin(), n.PGData)
	changed := bytes.ReplaceAll(text, []byte("bin_dir = '"+s.PGBin()+"'"), []byte("bin_dir = '"+dir+"'"))
	err = errors.Join(err,
		os.WriteFile(filepath.Join(n.Path(dir), "pg_rewind"), []byte(script), 0o755),
		os.WriteFile(site, changed, 0o644))
	if err != nil || bytes.Equal(text, changed) {
		s.Fatalf("another pg_rewind: %v, and in %s:\n%s", err, site, text)
	}
	return func() {
		if err := os.WriteFile(site, text, 0o644); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *state) rejoinCopies() {
	s.says(s.DB2.Must("rejoin", "--copy", "--yes"), "Starting online backup")
	s.asBefore(s.DB1, s.DB2)
}

func (s *state) rejoinRefused() {
	s.refused(s.DB1, 1, "no other node that answers is a primary which db1 could follow", "rejoin")
	s.asBefore(s.DB1, s.DB2)
}
