package walcore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

const testSegmentSize SegmentSize = 1 << 20

// restoreSite is a data directory and an archive for one test.
type restoreSite struct {
	t       *testing.T
	pgdata  string
	archive string
	out     bytes.Buffer
}

func newRestoreSite(t *testing.T, signal string) *restoreSite {
	t.Helper()
	dir := t.TempDir()
	s := &restoreSite{t: t, pgdata: filepath.Join(dir, "data"), archive: filepath.Join(dir, "archive")}
	for _, dir := range []string{filepath.Join(s.pgdata, "pg_wal"), filepath.Join(s.pgdata, "pg_stat_tmp"), s.archive} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.write(filepath.Join(s.pgdata, "PG_VERSION"), []byte("15\n"))
	if signal != "" {
		s.write(filepath.Join(s.pgdata, signal), nil)
	}
	return s
}

func (s *restoreSite) write(path string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// store puts a file into the archive at once, under its final name.
func (s *restoreSite) store(name string, content []byte) {
	s.t.Helper()
	tmp := filepath.Join(s.archive, "arriving")
	s.write(tmp, content)
	if err := os.Rename(tmp, filepath.Join(s.archive, name)); err != nil {
		s.t.Fatal(err)
	}
}

// serverRuns makes the parent of the test the postmaster of the data
// directory, so that the test itself could be its restore_command.
func (s *restoreSite) serverRuns(started int64) {
	s.t.Helper()
	s.write(filepath.Join(s.pgdata, "postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n%d\n5432\n", os.Getppid(), s.pgdata, started))
}

func (s *restoreSite) request(name string) RestoreRequest {
	return RestoreRequest{
		Name: FileName(name), Target: "pg_wal/RECOVERYXLOG", PGData: s.pgdata, Archive: s.archive,
		Trigger: "trigger", Poll: 20 * time.Millisecond, Out: &s.out,
	}
}

func (s *restoreSite) restore(name string) error {
	return Restore(context.Background(), s.request(name))
}

// restored is the target's content, which is taken away as a server does
// before its next call.
func (s *restoreSite) restored() []byte {
	s.t.Helper()
	path := filepath.Join(s.pgdata, "pg_wal", "RECOVERYXLOG")
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return content
}

func (s *restoreSite) wanted() Wanted {
	s.t.Helper()
	all, err := (&Archive{dir: s.archive}).Wanted()
	if err != nil || len(all) != 1 {
		s.t.Fatalf("Wanted: got %v, %v; want one", all, err)
	}
	return all[0]
}

// segmentBytes is a segment with a page header that fits its name.
func segmentBytes(name SegmentName, systemID uint64, size SegmentSize) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint16(b[0:], 0xD110)
	binary.LittleEndian.PutUint16(b[2:], pageLongHeader)
	binary.LittleEndian.PutUint32(b[4:], uint32(name.Timeline()))
	binary.LittleEndian.PutUint64(b[8:], uint64(name.Start(size)))
	binary.LittleEndian.PutUint64(b[24:], systemID)
	binary.LittleEndian.PutUint32(b[32:], uint32(size))
	binary.LittleEndian.PutUint32(b[36:], 8192)
	copy(b[4096:], name) // so that no two are the same
	return b
}

func testSegment(name string) []byte { return segmentBytes(SegmentName(name), 42, testSegmentSize) }

const (
	seg1 = "000000010000000000000001"
	seg2 = "000000010000000000000002"
	seg3 = "000000010000000000000003"
	seg4 = "000000010000000000000004"
)

func TestRestoreServes(t *testing.T) {
	history := []byte("1\t0/2000000\tno recovery target specified\n")
	tests := []struct {
		name    string
		content []byte
	}{
		{seg2, testSegment(seg2)},
		{"00000002.history", history},
		{seg2 + ".00000028.backup", []byte("START WAL LOCATION: 0/200028\n")},
		{"000000020000000000000002", testSegment(seg2)}, // begins as a copy of the older timeline's
	}
	for _, tt := range tests {
		s := newRestoreSite(t, "standby.signal")
		s.store(tt.name, tt.content)
		before, _ := os.Stat(filepath.Join(s.archive, tt.name))
		if err := s.restore(tt.name); err != nil {
			t.Errorf("%s: got error %v", tt.name, err)
			continue
		}
		after, err := os.Stat(filepath.Join(s.pgdata, "pg_wal", "RECOVERYXLOG"))
		if err != nil || os.SameFile(before, after) {
			t.Errorf("%s: the target is a hard link into the archive (%v)", tt.name, err)
		}
		if got := s.restored(); !bytes.Equal(got, tt.content) {
			t.Errorf("%s: got %d bytes, want the %d archived", tt.name, len(got), len(tt.content))
		}
	}
}

func TestRestoreExitCodes(t *testing.T) {
	short := testSegment(seg2)[:4096]
	foreign := segmentBytes(seg2, 43, testSegmentSize)
	stamp := []byte(`{"system_identifier":"42","segment_size":1048576}`)
	tests := []struct {
		what    string
		name    string
		prepare func(s *restoreSite)
		standby int // the exit code in standby mode
		other   int // and outside it
	}{
		{"not there", seg2, func(*restoreSite) {}, 3, 3},
		{"history not there", "00000002.history", func(*restoreSite) {}, 3, 3},
		{"backup label not there", seg2 + ".00000028.backup", func(*restoreSite) {}, 3, 3},
		{"archive missing", seg2, func(s *restoreSite) { os.Remove(s.archive) }, 4, 126},
		{"archive missing, history", "00000002.history", func(s *restoreSite) { os.Remove(s.archive) }, 4, 126},
		{"archive is a file", seg2, func(s *restoreSite) { os.Remove(s.archive); s.write(s.archive, nil) }, 4, 126},
		{"segment is a directory", seg2, func(s *restoreSite) { os.Mkdir(filepath.Join(s.archive, seg2), 0o700) }, 4, 126},
		{"segment too short", seg2, func(s *restoreSite) { s.store(seg2, short) }, 3, 126},
		{"segment empty", seg2, func(s *restoreSite) { s.store(seg2, nil) }, 3, 126},
		{"segment too long", seg2, func(s *restoreSite) { s.store(seg2, append(testSegment(seg2), 0)) }, 3, 126},
		{"segment all zeros", seg2, func(s *restoreSite) { s.store(seg2, make([]byte, testSegmentSize)) }, 3, 126},
		{"another segment under the name", seg2, func(s *restoreSite) { s.store(seg2, testSegment(seg3)) }, 3, 126},
		{"newer timeline under the name", seg2, func(s *restoreSite) { s.store(seg2, testSegment("00000002"+seg2[8:])) }, 3, 126},
		{"another cluster's segment", seg2, func(s *restoreSite) {
			os.Mkdir(filepath.Join(s.archive, stateDir), 0o700)
			s.write(filepath.Join(s.archive, stateDir, "stamp"), stamp)
			s.store(seg2, foreign)
		}, 3, 126},
		{"history cut off", "00000002.history", func(s *restoreSite) { s.store("00000002.history", nil) }, 3, 126},
		{"target in a missing directory", seg2, func(s *restoreSite) {
			s.store(seg2, testSegment(seg2))
			os.Remove(filepath.Join(s.pgdata, "pg_wal"))
		}, 4, 126},
	}
	for _, tt := range tests {
		for signal, want := range map[string]int{"standby.signal": tt.standby, "recovery.signal": tt.other} {
			s := newRestoreSite(t, signal)
			tt.prepare(s)
			err := s.restore(tt.name)
			kind, _ := DetectRecovery(s.pgdata)
			if got := RestoreExit(err, kind); got != want {
				t.Errorf("%s with %s: got exit code %d (%v), want %d", tt.what, signal, got, err, want)
			}
			if got := s.restored(); got != nil {
				t.Errorf("%s with %s: a target of %d bytes was left", tt.what, signal, len(got))
			}
			if want == 126 && hint.Of(err) == "" && strings.HasPrefix(tt.what, "segment too") {
				t.Errorf("%s: %v has no hint", tt.what, err)
			}
		}
	}
}

func TestRestoreExitOfSignalsAndPromotion(t *testing.T) {
	tests := []struct {
		err  error
		kind RecoveryKind
		want int
	}{
		{nil, RecoveryNone, 0},
		{fmt.Errorf("x: %w", ErrNotThere), RecoveryNone, 3},
		{errors.New("any"), RecoveryNone, 126},
		{errors.New("any"), RecoveryStandby, 4},
		{&historyUnknownError{errors.New("any")}, RecoveryStandby, 126},
		{fmt.Errorf("x: %w", ErrTerminated), RecoveryStandby, 143},
		{ErrServerGone, RecoveryOther, 126},
	}
	for _, tt := range tests {
		if got := RestoreExit(tt.err, tt.kind); got != tt.want {
			t.Errorf("RestoreExit(%v, %v): got %d, want %d", tt.err, tt.kind, got, tt.want)
		}
	}
}

func TestRestoreReportsUnfitOnce(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.store(seg2, testSegment(seg2)[:100])
	for range 3 {
		if err := s.restore(seg2); !errors.Is(err, ErrNotThere) {
			t.Fatalf("got %v, want ErrNotThere", err)
		}
	}
	if got := strings.Count(s.out.String(), "it has 100 bytes"); got != 1 {
		t.Errorf("reported %d times, want once:\n%s", got, s.out.String())
	}
	s.store(seg2, testSegment(seg2))
	if err := s.restore(seg2); err != nil {
		t.Errorf("after its copy ended: %v", err)
	}
}

func TestRestoreKeepsWhatIsWanted(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.store(seg1, testSegment(seg1))
	if err := s.restore(seg1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"000000020000000000000002", seg2, "00000002.history", seg2} {
		if err := s.restore(name); !errors.Is(err, ErrNotThere) {
			t.Fatalf("%s: got %v, want ErrNotThere", name, err)
		}
	}
	w := s.wanted()
	if got, want := fmt.Sprint(w.Names), "[000000020000000000000002 "+seg2+" 00000002.history]"; got != want {
		t.Errorf("names: got %s, want %s", got, want)
	}
	if w.LastServed != seg1 || w.PID != os.Getppid() || w.StartTicks == 0 || w.Since.IsZero() || !w.Running() {
		t.Errorf("got %+v", w)
	}
	s.store(seg2, testSegment(seg2))
	if err := s.restore(seg2); err != nil {
		t.Fatal(err)
	}
	// Its own timeline may end in it, and then the same one of the next is wanted.
	if w := s.wanted(); fmt.Sprint(w.Names) != "[000000020000000000000002]" || w.LastServed != seg2 || w.Since.IsZero() {
		t.Errorf("after a success: got %+v", w)
	}
	s.store(seg3, testSegment(seg3))
	if err := s.restore(seg3); err != nil {
		t.Fatal(err)
	}
	if w := s.wanted(); len(w.Names) != 0 || w.LastServed != seg3 || !w.Since.IsZero() {
		t.Errorf("after the next one: got %+v", w)
	}
}

// A standby that is at the end of a timeline asks for the segment of the next
// one and is served that of its own again, round after round.
func TestRestoreAtTheEndOfATimeline(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.store(seg2, testSegment(seg2))
	var since time.Time
	for round := range 3 {
		for name, want := range map[string]error{"000000020000000000000002": ErrNotThere, seg2: nil} {
			if err := s.restore(name); !errors.Is(err, want) {
				t.Fatalf("%s: got %v, want %v", name, err, want)
			}
		}
		w := s.wanted()
		if fmt.Sprint(w.Names) != "[000000020000000000000002]" || round > 0 && w.Since != since {
			t.Errorf("round %d: got %v since %s, want the next timeline's since %s", round, w.Names, w.Since, since)
		}
		since = w.Since
	}
}

// A file that arrives between the first look and the note must be found by the
// last look: nobody would nudge for it.
func TestRestoreLooksAgainAfterNoting(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	r, err := newRestoring(s.request(seg2))
	if err != nil {
		t.Fatal(err)
	}
	r.Now = func() time.Time { // called when the name is noted
		s.store(seg2, testSegment(seg2))
		return time.Unix(1, 0)
	}
	if err := r.answer(context.Background()); err != nil {
		t.Errorf("got %v, want the segment", err)
	}
}

func TestRestoreWithReadOnlyArchive(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.store(seg1, testSegment(seg1))
	// A file in the way of the state directory fails for root too.
	s.write(filepath.Join(s.archive, stateDir), nil)
	if err := s.restore(seg1); err != nil {
		t.Errorf("got %v, want the segment", err)
	}
	if err := s.restore(seg2); !errors.Is(err, ErrNotThere) {
		t.Errorf("got %v, want ErrNotThere", err)
	}
}

func TestRestoreByHandLeavesTheStateAlone(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	// This test is the server; nobody is below it.
	s.write(filepath.Join(s.pgdata, "postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n1\n", os.Getpid(), s.pgdata))
	if err := s.restore(seg2); !errors.Is(err, ErrNotThere) {
		t.Errorf("got %v, want ErrNotThere", err)
	}
	if all, err := (&Archive{dir: s.archive}).Wanted(); err != nil || len(all) != 0 {
		t.Errorf("Wanted: got %v, %v; want none", all, err)
	}
}

func TestRestoreNeverWritesThroughTheTarget(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.store(seg1, testSegment(seg1))
	s.store(seg2, testSegment(seg2))
	target := filepath.Join(s.pgdata, "pg_wal", "RECOVERYXLOG")
	if err := os.Link(filepath.Join(s.archive, seg1), target); err != nil {
		t.Fatal(err)
	}
	if err := s.restore(seg2); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(s.archive, seg1)); err != nil || !bytes.Equal(got, testSegment(seg1)) {
		t.Errorf("the archived file behind the old target was changed (%v)", err)
	}
	r := s.request(seg2)
	r.Target = filepath.Join(s.archive, seg2)
	if err := Restore(context.Background(), r); err == nil {
		t.Error("restoring an archived file onto itself: got no error")
	}
	if got, err := os.ReadFile(filepath.Join(s.archive, seg2)); err != nil || !bytes.Equal(got, testSegment(seg2)) {
		t.Errorf("the archived file was changed (%v)", err)
	}
}

func TestRestoreFetchesInTheBackground(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	var asked []FileName
	ask := func(name string) {
		r := s.request(name)
		r.Fetch = func(_ context.Context, name FileName, since time.Time) error {
			if since.IsZero() {
				t.Errorf("%s: since when it is missing is not told", name)
			}
			asked = append(asked, name)
			return nil
		}
		if err := Restore(context.Background(), r); !errors.Is(err, ErrNotThere) {
			t.Errorf("%s: got %v, want ErrNotThere", name, err)
		}
	}
	ask(seg2)
	ask("00000002.history")
	s.write(filepath.Join(s.pgdata, "promote"), nil)
	ask(seg2)
	if got := fmt.Sprint(asked); got != "["+seg2+"]" {
		t.Errorf("asked for %s, want the segment once and nothing once a promotion was seen", got)
	}
}

// What is found elsewhere could not take the place of a file that is unfit:
// somebody must look at that first, and is told how.
func TestRestoreSearchesNothingForUnfit(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.store(seg2, testSegment(seg2)[:1000])
	for range 2 {
		r := s.request(seg2)
		var said bytes.Buffer
		r.Out = &said
		r.Fetch = func(context.Context, FileName, time.Time) error {
			t.Error("a search was started")
			return nil
		}
		if err := Restore(context.Background(), r); !errors.Is(err, ErrNotThere) {
			t.Errorf("got %v, want ErrNotThere", err)
		}
		want := "hint: unless something is still copying it there, move it out of the archive (mv -i " + filepath.Join(s.archive, seg2) + " "
		if first := said.Len() > 0; first != strings.Contains(said.String(), want) {
			t.Errorf("said %q, want %q in it, once", said.String(), want)
		}
	}
	if w := s.wanted(); len(w.Reported) != 1 {
		t.Errorf("reported %q, want one complaint", w.Reported)
	}
}

func TestRestoreOldPageHeader(t *testing.T) {
	b := make([]byte, testSegmentSize)
	binary.LittleEndian.PutUint16(b[0:], 0xD063) // 8.4
	binary.LittleEndian.PutUint16(b[2:], pageLongHeader)
	binary.LittleEndian.PutUint32(b[4:], 1)
	binary.LittleEndian.PutUint32(b[8:], 0)
	binary.LittleEndian.PutUint32(b[12:], 2<<20)
	binary.LittleEndian.PutUint64(b[16:], 42)
	binary.LittleEndian.PutUint32(b[24:], uint32(testSegmentSize))
	s := newRestoreSite(t, "standby.signal")
	s.store(seg2, b)
	s.store(seg3, b)
	if err := s.restore(seg2); err != nil {
		t.Errorf("got %v, want the segment", err)
	}
	if err := s.restore(seg3); !errors.Is(err, ErrNotThere) {
		t.Errorf("under another name: got %v, want ErrNotThere", err)
	}
}
