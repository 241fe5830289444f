package walcore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestVerifyRealArchive checks what a real server archived, over a promotion:
// there is nothing to find, every record that pg_waldump lists is counted, and
// a bit that is flipped is found.
func TestVerifyRealArchive(t *testing.T) {
	s := newServer(t, installedPostgres(t), "--wal-segsize=1")
	a := s.archiving()
	s.start()
	s.load()
	s.archived(a)
	s.stop("fast")
	s.beStandby()
	s.start()
	s.run("pg_ctl", "-D", s.data, "-w", "promote")
	s.load()
	s.archived(a)

	report := verify(t, a, VerifyRequest{})
	if len(report.Findings) > 0 || len(report.Notes) > 0 {
		t.Fatalf("got %v, %v, want nothing", report.Findings, report.Notes)
	}
	listing, err := a.Listing()
	if err != nil {
		t.Fatal(err)
	}
	if len(listing.Timelines) != 2 || report.Segments < 20 {
		t.Fatalf("got %d timelines and %d segments, which prove nothing", len(listing.Timelines), report.Segments)
	}
	want := 0
	for _, timeline := range listing.Timelines {
		if len(timeline.Runs) != 1 || len(timeline.Gaps) > 0 {
			t.Fatalf("timeline %d: got runs %v and gaps %v, want one run", uint32(timeline.Timeline), timeline.Runs, timeline.Gaps)
		}
		run := timeline.Runs[0]
		listed, _ := s.waldump(filepath.Join(a.Dir(), string(run.First)), filepath.Join(a.Dir(), string(run.Last)))
		want += len(listed)
		compareFacts(t, s, a, run)
	}
	if report.Records != uint64(want) || want < 10000 {
		t.Errorf("got %d records, pg_waldump lists %d", report.Records, want)
	}
	victim := listing.Timelines[0].Runs[0].First
	flipBit(t, filepath.Join(a.Dir(), string(victim)), 500_001, 0x10)
	if r := verify(t, a, VerifyRequest{}); len(r.Findings) != 1 || r.Findings[0].File != string(victim) {
		t.Errorf("a flipped bit in %s: got %v", victim, r.Findings)
	}
}

// compareFacts compares Describe with pg_waldump, for each segment of a run.
func compareFacts(t *testing.T, s *pgServer, a *Archive, run Run) {
	t.Helper()
	for name := run.First; name <= run.Last; name = name.Next(1 << 20) {
		facts, err := a.Describe(t.Context(), FileName(name))
		if err != nil {
			t.Fatal(err)
		}
		listed, _ := s.waldump(filepath.Join(a.Dir(), string(name)))
		if facts.Segment.Records != len(listed) {
			t.Errorf("%s: got %d records, pg_waldump lists %d", name, facts.Segment.Records, len(listed))
		}
		if e := facts.Segment.Ending; e != EndingFull && e != EndingSwitch {
			t.Errorf("%s: got the ending %q of an archived segment", name, e)
		}
	}
}

// archiving makes the server archive into a directory.
func (s *pgServer) archiving() *Archive {
	s.t.Helper()
	dir := filepath.Join(s.dir, "archive")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.own(dir)
	s.configure("archive_mode = on", "archive_command = 'cp %p "+dir+"/%f'", "max_wal_size = 1GB")
	a, err := OpenArchive(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// archived ends the segment in use and waits until the archive has it.
func (s *pgServer) archived(a *Archive) {
	s.t.Helper()
	name := FileName(s.sql("SELECT pg_walfile_name(pg_switch_wal())"))
	s.waitFor("segment "+string(name), func() bool {
		f, err := a.Open(name)
		if err == nil {
			err = f.Close()
		}
		return err == nil && s.sql("SELECT last_archived_wal >= '"+string(name)+"' FROM pg_stat_archiver") == "t"
	})
}

// verifyUnfinished checks the WAL of a server that gave up a record, and wrote
// another one over its rest in a later segment.
func (s *pgServer) verifyUnfinished(end LSN) {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, name := range s.segments() {
		if name.Start(s.control().SegmentSize) >= end {
			continue // recycled for the future
		}
		content, err := os.ReadFile(filepath.Join(s.walDir(), string(name)))
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, string(name)), content, 0o600)); err != nil {
			s.t.Fatal(err)
		}
	}
	a, err := OpenArchive(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	if r := verify(s.t, a, VerifyRequest{}); len(r.Findings) > 0 || r.Segments < 3 {
		s.t.Errorf("WAL with a record that was given up: got %v in %d segments, want nothing", r.Findings, r.Segments)
	}
}
