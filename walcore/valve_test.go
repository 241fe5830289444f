package walcore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// backup stores the file that a base backup which starts in the segment leaves.
func (s *restoreSite) backup(timeline Timeline, number uint64) string {
	s.t.Helper()
	name := string(MakeSegmentName(timeline, number, testSegmentSize)) + ".00000028.backup"
	s.store(name, []byte("START WAL LOCATION: 0/28\n"))
	return name
}

// stay is left without the backup files.
func (s *restoreSite) stay() string {
	var words []string
	for _, word := range strings.Fields(s.left()) {
		if !strings.HasSuffix(word, ".backup") {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func TestCleanupKeepsBackups(t *testing.T) {
	type where struct {
		timeline Timeline
		number   uint64
	}
	tests := []struct {
		what    string
		backups []where
		keep    int
		want    string
	}{
		{"none is to be kept", []where{{1, 2}}, 0, "1/5 1/6"},
		{"the newest", []where{{1, 2}, {1, 4}}, 1, "1/4 1/5 1/6"},
		{"the newest two", []where{{1, 2}, {1, 3}, {1, 4}}, 2, "1/3 1/4 1/5 1/6"},
		{"fewer than are to be kept", []where{{1, 3}}, 7, "1/3 1/4 1/5 1/6"},
		{"none there yet", nil, 2, "1/1 1/2 1/3 1/4 1/5 1/6"},
		{"one past the restart point", []where{{1, 6}}, 1, "1/5 1/6"},
		{"a newer timeline's is newer", []where{{1, 4}, {2, 3}}, 1, "1/3 1/4 1/5 1/6"},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, "standby.signal")
		s.fill(6)
		for _, b := range tt.backups {
			s.backup(b.timeline, b.number)
		}
		s.serve(6, func(r *RestoreRequest) { r.Redo, r.KeepBackups = redo(5), tt.keep })
		if got := s.stay(); got != tt.want {
			t.Errorf("%s: left %s, want %s\n%s", tt.what, got, tt.want, s.out.String())
		}
		if names := strings.Count(s.left(), ".backup"); names != len(tt.backups) {
			t.Errorf("%s: %d .backup files are left of %d", tt.what, names, len(tt.backups))
		}
	}
}

// A backup that has arrived through the archive counts at once; one that came
// another way is found when the archive is searched again. One whose file was
// deleted does not count.
func TestCleanupFindsBackups(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.fill(9)
	first := s.backup(1, 2)
	keep := func(redoAt uint64, after time.Duration) string {
		s.serve(9, func(r *RestoreRequest) {
			r.Redo, r.KeepBackups = redo(redoAt), 1
			r.Now = func() time.Time { return time.Now().Add(after) }
		})
		return s.stay()
	}
	if got, want := keep(7, 0), "1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9"; got != want {
		t.Errorf("the first backup: left %s, want %s", got, want)
	}
	name := FileName(string(redo(4)) + ".00000028.backup")
	label := fmt.Sprintf("START WAL LOCATION: 0/400028 (file %s)\nSTOP WAL LOCATION: 0/400100 (file %s)\n", redo(4), redo(4))
	request := PutRequest{Name: name, Size: int64(len(label)), Body: strings.NewReader(label)}
	if _, err := (&Archive{dir: s.archive}).Put(context.Background(), request); err != nil {
		t.Fatal(err)
	}
	if got, want := keep(7, 0), "1/4 1/5 1/6 1/7 1/8 1/9"; got != want {
		t.Errorf("after another was archived: left %s, want %s", got, want)
	}
	if err := os.Remove(filepath.Join(s.archive, string(name))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.archive, first)); err != nil {
		t.Fatal(err)
	}
	s.backup(1, 6)
	if got, want := keep(7, 0), "1/4 1/5 1/6 1/7 1/8 1/9"; got != want {
		t.Errorf("no backup that is known: left %s, want %s", got, want)
	}
	if got, want := keep(7, 25*time.Hour), "1/6 1/7 1/8 1/9"; got != want {
		t.Errorf("a day later: left %s, want %s", got, want)
	}
}

// limit serves segment 9 with a size limit in segments.
func (s *restoreSite) limit(redoAt uint64, segments int64, change func(*RestoreRequest)) string {
	s.t.Helper()
	s.serve(9, func(r *RestoreRequest) {
		r.Redo, r.MaxSize, r.HasRelay = redo(redoAt), segments*int64(testSegmentSize), true
		change(r)
	})
	return s.stay()
}

func TestValve(t *testing.T) {
	unchanged := func(*RestoreRequest) {}
	tests := []struct {
		what     string
		relayed  uint64 // 0: no watermark
		redo     uint64
		segments int64
		change   func(*RestoreRequest)
		want     string
		lost     string
	}{
		{"not switched on", 0, 8, 0, unchanged, "1/1 1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9", ""},
		{"below the limit", 0, 8, 9, unchanged, "1/1 1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9", ""},
		{"the relay has nothing", 0, 8, 7, unchanged, "1/3 1/4 1/5 1/6 1/7 1/8 1/9", "0/100000 to 0/300000 (files: 2), which is needed by the relay\n"},
		{"the relay is behind", 3, 8, 4, unchanged, "1/6 1/7 1/8 1/9", "0/400000 to 0/600000 (files: 2), which is needed by the relay\n"},
		{"the relay is not behind", 8, 8, 4, unchanged, "1/8 1/9", ""},
		{"the server needs it", 0, 5, 2, unchanged, "1/5 1/6 1/7 1/8 1/9", "0/100000 to 0/500000 (files: 4), which is needed by the relay\n"},
		{"it is not known what the server needs", 0, 0, 2, func(r *RestoreRequest) { r.Redo = "000000000000000000000000" }, "1/1 1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9", ""},
		{"a backup needs it", 9, 8, 5, func(r *RestoreRequest) { r.KeepBackups = 2 }, "1/5 1/6 1/7 1/8 1/9",
			"0/200000 to 0/500000 (files: 3), which is needed by backup 000000010000000000000002.00000028.backup and backup 000000010000000000000004.00000028.backup\n"},
		{"both need it", 2, 8, 6, func(r *RestoreRequest) { r.KeepBackups = 2 }, "1/4 1/5 1/6 1/7 1/8 1/9",
			"0/200000 to 0/400000 (files: 2), which is needed by the relay and backup 000000010000000000000002.00000028.backup\n"},
		{"outside standby mode", 0, 8, 2, func(r *RestoreRequest) { r.Cleanup = false }, "1/1 1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9", ""},
	}
	for _, tt := range tests {
		s := newRestoreSite(t, "standby.signal")
		s.fill(9)
		s.backup(1, 2)
		s.backup(1, 4)
		archive := &Archive{dir: s.archive}
		if tt.relayed != 0 {
			if err := archive.SetWatermark(redo(tt.relayed).Segment()); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.limit(tt.redo, tt.segments, tt.change); got != tt.want {
			t.Errorf("%s: left %s, want %s\n%s", tt.what, got, tt.want, s.out.String())
		}
		_, said, _ := strings.Cut(s.out.String(), "removing WAL from ")
		if said != tt.lost {
			t.Errorf("%s: said %q, want %q", tt.what, said, tt.lost)
		}
		if _, found, err := archive.Lost(); err != nil || found != (tt.lost != "") {
			t.Errorf("%s: a durable mark: %t, %v", tt.what, found, err)
		}
	}
}

// What arrives later counts, each loss is told, and the mark covers all of them.
func TestValveGoesOn(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.serverRuns(1)
	s.fill(9)
	unchanged := func(*RestoreRequest) {}
	if got, want := s.limit(8, 8, unchanged), "1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9"; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
	if got, want := s.limit(8, 8, unchanged), "1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9"; got != want {
		t.Errorf("the same again: left %s, want %s", got, want)
	}
	for _, number := range []uint64{10, 11} {
		name := MakeSegmentName(1, number, testSegmentSize)
		s.store(string(name), segmentBytes(name, 42, testSegmentSize))
	}
	if got, want := s.limit(8, 8, unchanged), "1/4 1/5 1/6 1/7 1/8 1/9 1/10 1/11"; got != want {
		t.Errorf("two more: left %s, want %s", got, want)
	}
	if got := strings.Count(s.out.String(), "LOST"); got != 2 {
		t.Errorf("said %d times, want twice:\n%s", got, s.out.String())
	}
	lost, found, err := (&Archive{dir: s.archive}).Lost()
	if err != nil || !found || lost.First != 0x100000 || lost.Last != 0x400000 || lost.Segments != 3 || fmt.Sprint(lost.Broken) != "[the relay]" || lost.Since.After(lost.At) {
		t.Errorf("mark: got %+v, %t, %v", lost, found, err)
	}
	// The relay has caught up: everything old may go, and the size is known.
	if err := (&Archive{dir: s.archive}).SetWatermark(redo(11).Segment()); err != nil {
		t.Fatal(err)
	}
	if got, want := s.limit(8, 3, unchanged), "1/8 1/9 1/10 1/11"; got != want {
		t.Errorf("the relay has all: left %s, want %s", got, want)
	}
	if size := s.wanted().Cleaned.Size; size.Bytes != 4<<20 {
		t.Errorf("size: got %d bytes, want that of 4 segments", size.Bytes)
	}
	if got := strings.Count(s.out.String(), "this server needs all of it"); got != 1 {
		t.Errorf("over the limit with nothing to remove: said %d times, want once:\n%s", got, s.out.String())
	}
}
