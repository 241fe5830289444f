package walcore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore/packed"
)

// packedBytes is a segment as frames.
func packedBytes(t *testing.T, form packed.Form, data []byte) []byte {
	t.Helper()
	p, err := packed.NewPacker(form)
	if err != nil {
		t.Fatal(err)
	}
	var frames []byte
	for len(data) > 0 {
		n := min(len(data), packed.PieceSize)
		frames, data = append(frames, p.Pack(data[:n])...), data[n:]
	}
	return frames
}

func TestRestorePacked(t *testing.T) {
	for _, form := range packed.Forms() {
		s := newRestoreSite(t, "standby.signal")
		s.store(seg2+form.Suffix(), packedBytes(t, form, testSegment(seg2)))
		if err := Restore(context.Background(), s.request(seg2)); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if got := s.restored(); string(got) != string(testSegment(seg2)) {
			t.Errorf("%s: got %d bytes, want the segment", form, len(got))
		}
	}
}

// TestRestoreUnfitPacked: a packed file that is damaged, short, long or foreign
// is said once, and leaves nothing at the target.
func TestRestoreUnfitPacked(t *testing.T) {
	whole := testSegment(seg2)
	for _, form := range packed.Forms() {
		frames := packedBytes(t, form, whole)
		flipped := append([]byte{}, frames...)
		flipped[len(flipped)*2/3] ^= 4
		for what, content := range map[string][]byte{
			"cut":     frames[:len(frames)*2/3],
			"flipped": flipped,
			"nothing": {},
			"short":   packedBytes(t, form, whole[:len(whole)/2]),
			"crumb":   packedBytes(t, form, whole[:100]),
			"long":    packedBytes(t, form, append(append([]byte{}, whole...), whole...)),
			"foreign": packedBytes(t, form, segmentBytes(seg2, 43, testSegmentSize)),
			"zeros":   packedBytes(t, form, make([]byte, testSegmentSize)),
			"plain":   whole,
		} {
			s := newRestoreSite(t, "standby.signal")
			s.serverRuns(1)
			s.stamp(42)
			s.store(seg2+form.Suffix(), content)
			for range 2 {
				if err := Restore(context.Background(), s.request(seg2)); !errors.Is(err, ErrNotThere) {
					t.Errorf("%s, %s: got %v, want ErrNotThere", form, what, err)
				}
			}
			if said := s.out.String(); strings.Count(said, seg2+form.Suffix()+" is not fit to be restored: ") != 1 {
				t.Errorf("%s, %s: got %q, want one complaint that names the file", form, what, said)
			}
			if _, err := os.Lstat(filepath.Join(s.pgdata, "pg_wal", "RECOVERYXLOG")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s, %s: something is left at the target (%v)", form, what, err)
			}
		}
	}
}

// stamp makes the archive one of a cluster.
func (s *restoreSite) stamp(id uint64) {
	s.t.Helper()
	a := &Archive{dir: s.archive}
	if err := errors.Join(a.prepare(), writeState(a.state("stamp"), Stamp{SystemID: id, SegmentSize: testSegmentSize})); err != nil {
		s.t.Fatal(err)
	}
}

// TestCleanupPacked: cleanup and the size limit remove a segment in all its
// forms.
func TestCleanupPacked(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.fill(9)
	for n, form := range map[uint64]packed.Form{2: packed.Zstd, 3: packed.LZ4, 8: packed.Zstd} {
		plain := filepath.Join(s.archive, string(MakeSegmentName(1, n, testSegmentSize)))
		if n == 2 {
			s.store(filepath.Base(plain)+".lz4", []byte("its twin"))
		}
		if err := os.Rename(plain, plain+form.Suffix()); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		to    uint64
		files int // removed
		left  string
	}{
		{4, 4, "1/4 1/5 1/6 1/7 1/8 1/9"}, // by listing
		{9, 5, "1/9"},                     // by name
	} {
		removed := s.serve(9, func(r *RestoreRequest) { r.Redo = redo(step.to) })
		if len(removed) != step.files || s.left() != step.left {
			t.Errorf("up to %d: got %v removed and %s left, want %d files and %s", step.to, removed, s.left(), step.files, step.left)
		}
	}
}

func TestValvePacked(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.fill(6)
	for n := uint64(1); n <= 4; n++ {
		plain := filepath.Join(s.archive, string(MakeSegmentName(1, n, testSegmentSize)))
		if err := os.Rename(plain, plain+".zst"); err != nil {
			t.Fatal(err)
		}
	}
	s.serve(6, func(r *RestoreRequest) {
		r.Redo, r.KeepBackups, r.MaxSize = redo(5), 1, 3*int64(testSegmentSize)
	})
	if got, want := s.left(), "1/4 1/5 1/6"; got != want {
		t.Errorf("got %s left, want %s", got, want)
	}
}
