package walcore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// waitLimit is far beyond what any wait in these tests takes.
const waitLimit = 20 * time.Second

// waiting is a restore that waits in the background.
type waiting struct {
	s      *restoreSite
	idle   chan struct{} // gets something each time nothing was found
	done   chan error
	cancel context.CancelFunc
}

// wait starts a waiting restore and returns once it has found nothing.
func (s *restoreSite) wait(name string, change func(*RestoreRequest)) *waiting {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &waiting{s: s, idle: make(chan struct{}, 1), done: make(chan error, 1), cancel: cancel}
	r := s.request(name)
	r.Wait = true
	r.Idle = func() {
		select {
		case w.idle <- struct{}{}:
		default:
		}
	}
	if change != nil {
		change(&r)
	}
	go func() { w.done <- Restore(ctx, r) }()
	s.t.Cleanup(cancel)
	select {
	case <-w.idle:
	case err := <-w.done:
		s.t.Fatalf("%s: did not wait, answered %v", name, err)
	case <-time.After(waitLimit):
		s.t.Fatalf("%s: neither waits nor answers", name)
	}
	return w
}

// idleAgain waits until the restore has looked twice more in vain.
func (w *waiting) idleAgain() {
	w.s.t.Helper()
	for range 2 {
		select {
		case <-w.idle:
		case err := <-w.done:
			w.s.t.Fatalf("the wait ended with %v", err)
		case <-time.After(waitLimit):
			w.s.t.Fatal("the wait does not look any more")
		}
	}
}

func (w *waiting) end() error {
	w.s.t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(waitLimit):
		w.s.t.Fatal("the wait does not end")
		return nil
	}
}

func TestWaitEnds(t *testing.T) {
	lsn := "1\t0/200000\tx\n"
	tests := []struct {
		what   string
		signal string
		happen func(s *restoreSite, w *waiting)
		want   error
	}{
		{"segment arrives", "standby.signal", func(s *restoreSite, _ *waiting) { s.store(seg2, testSegment(seg2)) }, nil},
		{"segment arrives, no standby mode", "recovery.signal", func(s *restoreSite, _ *waiting) { s.store(seg2, testSegment(seg2)) }, nil},
		{"a short copy becomes complete", "recovery.signal", func(s *restoreSite, w *waiting) {
			s.write(filepath.Join(s.archive, seg2), testSegment(seg2)[:1000])
			w.idleAgain()
			s.write(filepath.Join(s.archive, seg2), testSegment(seg2))
		}, nil},
		{"archive comes back", "recovery.signal", func(s *restoreSite, w *waiting) {
			os.Rename(s.archive, s.archive+".away")
			w.idleAgain()
			os.Rename(s.archive+".away", s.archive)
			s.store(seg2, testSegment(seg2))
		}, nil},
		{"archive goes away in standby mode", "standby.signal", func(s *restoreSite, _ *waiting) { os.Rename(s.archive, s.archive+".away") }, ErrNoArchive},
		{"smart trigger", "recovery.signal", func(s *restoreSite, _ *waiting) { s.write(filepath.Join(s.pgdata, "trigger"), nil) }, ErrNotThere},
		{"fast trigger", "standby.signal", func(s *restoreSite, _ *waiting) { WriteTrigger(filepath.Join(s.pgdata, "trigger"), true) }, ErrNotThere},
		{"pg_ctl promote", "standby.signal", func(s *restoreSite, _ *waiting) { s.write(filepath.Join(s.pgdata, "promote"), nil) }, ErrNotThere},
		{"history of a newer timeline", "standby.signal", func(s *restoreSite, _ *waiting) { s.store("00000002.history", []byte(lsn)) }, ErrNotThere},
		{"shutdown", "standby.signal", func(_ *restoreSite, w *waiting) { w.cancel() }, ErrTerminated},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			s := newRestoreSite(t, tt.signal)
			s.serverRuns(1)
			w := s.wait(seg2, nil)
			if !s.wanted().Waiting {
				t.Error("the state does not say that a restore waits")
			}
			tt.happen(s, w)
			if err := w.end(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// Polling alone must do where the file system tells nothing.
func TestWaitPolls(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	link := s.archive + ".link" // a watch on it stays on the first directory
	second := s.archive + ".second"
	if err := errors.Join(os.Symlink(s.archive, link), os.Mkdir(second, 0o700)); err != nil {
		t.Fatal(err)
	}
	w := s.wait(seg2, func(r *RestoreRequest) { r.Archive = link })
	s.write(filepath.Join(second, seg2), testSegment(seg2))
	if err := errors.Join(os.Symlink(second, link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	if err := w.end(); err != nil {
		t.Errorf("got %v, want the segment", err)
	}
}

func TestWaitGoesOn(t *testing.T) {
	s := newRestoreSite(t, "recovery.signal")
	s.serverRuns(1)
	w := s.wait(seg2, nil)
	// Outside standby mode an answer would open the database.
	s.store("00000002.history", []byte("1\t0/200000\tx\n"))
	w.idleAgain()
	s.store("perhaps", []byte("perhaps"))
	if err := os.Rename(filepath.Join(s.archive, "perhaps"), filepath.Join(s.pgdata, "trigger")); err != nil {
		t.Fatal(err)
	}
	w.idleAgain()
	s.store(seg2, testSegment(seg2)[:100])
	w.idleAgain()
	w.cancel()
	if err := w.end(); !errors.Is(err, ErrTerminated) {
		t.Errorf("got %v, want ErrTerminated", err)
	}
	for _, want := range []string{"perhaps", "it has 100 bytes"} {
		if got := strings.Count(s.out.String(), want); got != 1 {
			t.Errorf("%q was said %d times, want once:\n%s", want, got, s.out.String())
		}
	}
}

func TestWaitAnswersAtOnce(t *testing.T) {
	fork := []byte("1\t0/300000\tx\n") // in segment 3 of 1 MB
	tests := []struct {
		what    string
		name    string
		prepare func(s *restoreSite)
	}{
		{"history", "00000002.history", func(*restoreSite) {}},
		{"backup label", seg2 + ".00000028.backup", func(*restoreSite) {}},
		{"a segment before its timeline began", "000000020000000000000002", func(s *restoreSite) {
			s.store("00000002.history", fork)
			os.Mkdir(filepath.Join(s.archive, stateDir), 0o700)
			s.write(filepath.Join(s.archive, stateDir, "stamp"), []byte(`{"system_identifier":"42","segment_size":1048576}`))
		}},
		{"promotion requested", seg2, func(s *restoreSite) { s.write(filepath.Join(s.pgdata, "promote"), nil) }},
		{"triggered", seg2, func(s *restoreSite) { s.write(filepath.Join(s.pgdata, "trigger"), []byte("smart")) }},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, "recovery.signal")
		tt.prepare(s)
		r := s.request(tt.name)
		r.Wait = true
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		if err := Restore(ctx, r); !errors.Is(err, ErrNotThere) {
			t.Errorf("%s: got %v, want ErrNotThere", tt.what, err)
		}
		cancel()
	}
}

func TestWaitEndsWithNewHistoryOnce(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	// It came while the server was replaying, so the first wait ends at once.
	s.store("00000002.history", []byte("1\t0/200000\tx\n"))
	r := s.request(seg2)
	r.Wait = true
	if err := Restore(context.Background(), r); !errors.Is(err, ErrNotThere) {
		t.Fatalf("got %v, want ErrNotThere", err)
	}
	// A server that does not follow it waits like any other.
	w := s.wait(seg2, nil)
	s.store("00000003.history", []byte("1\t0/200000\tx\n2\t0/200000\tx\n"))
	if err := w.end(); !errors.Is(err, ErrNotThere) {
		t.Errorf("after the next history: got %v, want ErrNotThere", err)
	}
}

func TestWaitGivesUp(t *testing.T) {
	s := newRestoreSite(t, "recovery.signal")
	s.serverRuns(1)
	s.store(seg1, testSegment(seg1))
	w := s.wait(seg2, func(r *RestoreRequest) { r.MaxWait = 100 * time.Millisecond })
	if err := w.end(); !errors.Is(err, ErrNotThere) {
		t.Errorf("got %v, want ErrNotThere", err)
	}
	// The server goes on to open; nothing it asks for now may wait.
	r := s.request("000000020000000000000001")
	r.Wait = true
	if err := Restore(context.Background(), r); !errors.Is(err, ErrNotThere) {
		t.Errorf("afterwards: got %v, want ErrNotThere", err)
	}
}

func TestPromotionIsRemembered(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	promote := filepath.Join(s.pgdata, "promote")
	s.write(promote, nil)
	if err := s.restore(seg2); !errors.Is(err, ErrNotThere) {
		t.Fatalf("got %v, want ErrNotThere", err)
	}
	if err := os.Remove(promote); err != nil { // as the server does
		t.Fatal(err)
	}
	r := s.request(seg2)
	r.Wait = true
	if err := Restore(context.Background(), r); !errors.Is(err, ErrNotThere) {
		t.Errorf("a later call of the same recovery: got %v, want ErrNotThere", err)
	}
	// A history that cannot be looked up must not pass for a free timeline,
	// also when the state in the archive is out of reach with it.
	if err := os.Rename(s.archive, s.archive+".away"); err != nil {
		t.Fatal(err)
	}
	err := s.restore("00000002.history")
	if got := RestoreExit(err, RecoveryStandby); got != 126 {
		t.Errorf("history without an archive: got exit code %d (%v), want 126", got, err)
	}
	if got := RestoreExit(s.restore(seg2), RecoveryStandby); got != 4 {
		t.Errorf("segment without an archive: got exit code %d, want 4", got)
	}
	if err := os.Rename(s.archive+".away", s.archive); err != nil {
		t.Fatal(err)
	}
	// The next run of the server is another recovery.
	s.serverRuns(2)
	w := s.wait(seg2, nil)
	w.cancel()
	if err := w.end(); !errors.Is(err, ErrTerminated) {
		t.Errorf("the next recovery: got %v, want ErrTerminated", err)
	}
}

func TestFastTriggerServesOnlyWhatWasServed(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	for _, name := range []string{seg1, seg2, seg3} {
		s.store(name, testSegment(name))
	}
	s.store("00000002.history", []byte("1\t0/300000\tx\n"))
	for _, name := range []string{seg1, seg2} {
		if err := s.restore(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteTrigger(filepath.Join(s.pgdata, "trigger"), true); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{seg1: nil, seg2: nil, seg3: ErrNotThere, "000000020000000000000002": ErrNotThere, "00000002.history": nil} {
		if err := s.restore(name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	if got := strings.Count(s.out.String(), "trigger file found: fast failover"); got != 1 {
		t.Errorf("said %d times, want once:\n%s", got, s.out.String())
	}
	if err := os.Remove(filepath.Join(s.pgdata, "trigger")); err != nil {
		t.Fatal(err)
	}
	if err := s.restore(seg3); err != nil {
		t.Errorf("once the trigger is taken away: got %v", err)
	}
}

// A trigger file that was left lying around does not cut a recovery to a point
// in time short.
func TestTriggerIsForStandbys(t *testing.T) {
	s := newRestoreSite(t, "recovery.signal")
	s.store(seg1, testSegment(seg1))
	if err := WriteTrigger(filepath.Join(s.pgdata, "trigger"), true); err != nil {
		t.Fatal(err)
	}
	if err := s.restore(seg1); err != nil {
		t.Errorf("got %v, want the segment", err)
	}
}

// Where nothing is mounted any more there is an empty directory; outside
// standby mode "not there" would open the database in the middle of its WAL.
func TestArchiveReplacedByAnotherDirectory(t *testing.T) {
	s := newRestoreSite(t, "recovery.signal")
	s.serverRuns(1)
	s.store(seg1, testSegment(seg1))
	if err := s.restore(seg1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(s.archive, s.archive+".away"), os.Mkdir(s.archive, 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := RestoreExit(s.restore(seg2), RecoveryOther); got != 126 {
		t.Errorf("got exit code %d, want 126", got)
	}
	if err := errors.Join(os.RemoveAll(s.archive), os.Rename(s.archive+".away", s.archive)); err != nil {
		t.Fatal(err)
	}
	if got := RestoreExit(s.restore(seg2), RecoveryOther); got != 3 {
		t.Errorf("in the archive it came from: got exit code %d, want 3", got)
	}
}

// A clock that goes back must neither hold up a wait nor stop the search for
// a segment elsewhere.
func TestRestoreWhenTheClockGoesBack(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.store(seg1, testSegment(seg1))
	now := time.Now()
	back := func() time.Time {
		now = now.Add(-time.Hour)
		return now
	}
	searches := 0
	for _, name := range []string{seg1, seg2} {
		r := s.request(name)
		r.Now, r.Wait, r.MaxWait, r.Redo, r.Cleanup = back, true, time.Minute, seg1, true
		r.Fetch = func(context.Context, FileName, time.Time) error { searches++; return nil }
		looks := 0
		r.Idle = func() {
			if looks++; looks == 3 {
				s.store(seg2, testSegment(seg2))
			}
		}
		if err := Restore(context.Background(), r); err != nil {
			t.Errorf("%s: got %v, want the segment", name, err)
		}
		s.restored()
	}
	if searches < 2 {
		t.Errorf("searched %d times in a wait, want it at every look", searches)
	}
}
