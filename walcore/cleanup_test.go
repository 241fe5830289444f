package walcore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fill stores segments 1 to n of timeline 1 and returns their names.
func (s *restoreSite) fill(n uint64) {
	for i := uint64(1); i <= n; i++ {
		name := MakeSegmentName(1, i, testSegmentSize)
		s.store(string(name), segmentBytes(name, 42, testSegmentSize))
	}
}

// left is the numbers of the segments in the archive, and the other names.
func (s *restoreSite) left() string {
	names, err := (&Archive{dir: s.archive}).List()
	if err != nil {
		s.t.Fatal(err)
	}
	var words []string
	for _, name := range names {
		word := string(name)
		if name.Kind() == KindSegment {
			word = fmt.Sprintf("%d/%d", name.Timeline(), name.Segment().Number(testSegmentSize))
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// serve restores a segment with cleanup and returns the names removed.
func (s *restoreSite) serve(number uint64, change func(*RestoreRequest)) []string {
	s.t.Helper()
	var removed []string
	r := s.request(string(MakeSegmentName(1, number, testSegmentSize)))
	r.Cleanup = true
	r.Removed = func(path string) { removed = append(removed, filepath.Base(path)) }
	change(&r)
	if err := Restore(context.Background(), r); err != nil {
		s.t.Fatal(err)
	}
	s.restored()
	slices.Sort(removed)
	return removed
}

func redo(number uint64) FileName { return FileName(MakeSegmentName(1, number, testSegmentSize)) }

func TestCleanup(t *testing.T) {
	tests := []struct {
		what   string
		signal string
		change func(s *restoreSite, r *RestoreRequest)
		want   string
	}{
		{"up to the restart point", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo = redo(3) }, "1/3 1/4 1/5"},
		{"the restart point is on another timeline", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo = "00000002" + redo(3)[8:] }, "1/3 1/4 1/5"},
		{"no restart point known", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo = "000000000000000000000000" }, "1/1 1/2 1/3 1/4 1/5"},
		{"no restart point given", "standby.signal", func(*restoreSite, *RestoreRequest) {}, "1/1 1/2 1/3 1/4 1/5"},
		{"a restart point after what is asked for", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo = redo(6) }, "1/1 1/2 1/3 1/4 1/5"},
		{"not asked to clean up", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo, r.Cleanup = redo(3), false }, "1/1 1/2 1/3 1/4 1/5"},
		{"recovery to a point in time", "recovery.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo = redo(3) }, "1/1 1/2 1/3 1/4 1/5"},
		{"pg_standby before 9.0", "recovery.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo, r.WarmStandby = redo(3), true }, "1/3 1/4 1/5"},
		{"waiting on 8.4", "recovery.conf", func(s *restoreSite, r *RestoreRequest) {
			s.write(filepath.Join(s.pgdata, "PG_VERSION"), []byte("8.4\n"))
			r.Redo, r.Wait = redo(3), true
		}, "1/3 1/4 1/5"},
		{"waiting on 9.4 outside standby mode", "recovery.conf", func(s *restoreSite, r *RestoreRequest) {
			s.write(filepath.Join(s.pgdata, "PG_VERSION"), []byte("9.4\n"))
			r.Redo, r.Wait = redo(3), true
		}, "1/1 1/2 1/3 1/4 1/5"},
		{"by number", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.KeepSegments = 1 }, "1/4 1/5"},
		{"by a number larger than there are", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.KeepSegments = 9 }, "1/1 1/2 1/3 1/4 1/5"},
		{"no backup yet", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo, r.KeepBackups = redo(4), 1 }, "1/1 1/2 1/3 1/4 1/5"},
		{"relay without a watermark", "standby.signal", func(_ *restoreSite, r *RestoreRequest) { r.Redo, r.HasRelay = redo(3), true }, "1/1 1/2 1/3 1/4 1/5"},
		{"relay with a damaged watermark", "standby.signal", func(s *restoreSite, r *RestoreRequest) {
			r.Redo, r.HasRelay = redo(3), true
			os.Mkdir(filepath.Join(s.archive, stateDir), 0o700)
			s.write(filepath.Join(s.archive, stateDir, "watermark"), []byte("{"))
		}, "1/1 1/2 1/3 1/4 1/5"},
		{"relay behind", "standby.signal", func(s *restoreSite, r *RestoreRequest) {
			r.Redo, r.HasRelay = redo(4), true
			if err := (&Archive{dir: s.archive}).SetWatermark(redo(1).Segment()); err != nil {
				s.t.Fatal(err)
			}
		}, "1/2 1/3 1/4 1/5"},
		{"relay ahead", "standby.signal", func(s *restoreSite, r *RestoreRequest) {
			r.Redo, r.HasRelay = redo(3), true
			if err := (&Archive{dir: s.archive}).SetWatermark(redo(5).Segment()); err != nil {
				s.t.Fatal(err)
			}
		}, "1/3 1/4 1/5"},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, tt.signal)
		s.fill(5)
		s.serve(5, func(r *RestoreRequest) { tt.change(s, r) })
		if got := s.left(); got != tt.want {
			t.Errorf("%s: left %s, want %s\n%s", tt.what, got, tt.want, s.out.String())
		}
	}
}

func TestCleanupKeepsOtherFiles(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.fill(5)
	backup, history := string(redo(1))+".00000028.backup", "00000002.history"
	for _, name := range []string{backup, history, string(redo(1)) + ".partial", string(redo(4)) + ".partial", "notes"} {
		s.store(name, []byte("1\t0/500000\tx\n"))
	}
	s.store("000000020000000000000002", testSegment("000000020000000000000002"))
	sidecar := (&Archive{dir: s.archive}).sidecarPath("000000020000000000000002")
	if err := os.MkdirAll(filepath.Dir(sidecar), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(sidecar, []byte(`{"ends":["0/200100"]}`))
	s.serve(5, func(r *RestoreRequest) { r.Redo = redo(4) })
	if got, want := s.left(), backup+" 1/4 "+string(redo(4))+".partial 1/5 "+history; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
	if found, _ := exists(sidecar); found {
		t.Error("the note on a provisional segment outlived it")
	}
	if found, _ := exists(filepath.Join(s.archive, "notes")); !found {
		t.Error("a file of another name was removed")
	}
}

// The archive is listed once; after that only names are tried.
func TestCleanupByName(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.fill(8)
	s.serve(5, func(r *RestoreRequest) { r.Redo = redo(2) })
	// What lies below the mark is not seen any more, which shows that nothing
	// was listed; what lies above is, on each timeline and with gaps.
	s.store(string(redo(1)), nil)
	s.store("00000002.history", []byte("1\t0/300000\tx\n"))
	s.store("000000020000000000000003", testSegment("000000020000000000000003"))
	if err := os.Remove(filepath.Join(s.archive, string(redo(3)))); err != nil {
		t.Fatal(err)
	}
	removed := s.serve(7, func(r *RestoreRequest) { r.Redo = redo(5) })
	if got, want := fmt.Sprint(removed), fmt.Sprint([]string{string(redo(2)), string(redo(4)), "000000020000000000000003"}); got != want {
		t.Errorf("removed %s, want %s", got, want)
	}
	if removed := s.serve(7, func(r *RestoreRequest) { r.Redo = redo(5) }); removed != nil {
		t.Errorf("the same again: removed %s, want nothing", removed)
	}
	// The next run of the server goes on from there.
	s.serverRuns(2)
	if removed := s.serve(8, func(r *RestoreRequest) { r.Redo = redo(6) }); fmt.Sprint(removed) != "["+string(redo(5))+"]" {
		t.Errorf("after a restart: removed %s, want %s", removed, redo(5))
	}
	// A day later the archive is listed again, and the straggler found.
	removed = s.serve(8, func(r *RestoreRequest) {
		r.Redo = redo(7)
		r.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	})
	if got, want := fmt.Sprint(removed), fmt.Sprint([]string{string(redo(1)), string(redo(6))}); got != want {
		t.Errorf("a day later: removed %s, want %s", got, want)
	}
}

func TestCleanupWhenTheLimitGoesBack(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.fill(8)
	s.serve(8, func(r *RestoreRequest) { r.Redo = redo(7) })
	s.fill(4) // the archive got an older life again
	s.serve(4, func(r *RestoreRequest) { r.Redo = redo(2) })
	s.serve(4, func(r *RestoreRequest) { r.Redo = redo(3) })
	if got, want := s.left(), "1/3 1/4 1/7 1/8"; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
}
