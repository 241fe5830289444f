package walcore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/storetest"
)

func TestStamp(t *testing.T) {
	a := newArchive(t)
	mustPut(t, a, "00000002.history", []byte("1\t0/300000\tx\n"), 0)
	if stamp, stamped, err := a.Stamp(); err != nil || stamped {
		t.Fatalf("after a history: got %+v, %v, %v, want no stamp", stamp, stamped, err)
	}
	mustPut(t, a, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0)
	if err := a.RaiseFence(walcore.Cut{Epoch: 9, Timeline: 7, LSN: 1}); err != nil {
		t.Fatal(err)
	}
	stamp, stamped, err := a.Stamp()
	if err != nil || !stamped || stamp.SystemID != storetest.SystemID || stamp.SegmentSize != storetest.Small || stamp.Epoch != 9 || stamp.Created.IsZero() {
		t.Errorf("got %+v, %v, %v", stamp, stamped, err)
	}
	if err := os.WriteFile(filepath.Join(a.Dir(), ".warmrun", "stamp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = a.Put(t.Context(), request(walcore.FileName(seg2), segment(storetest.Segment{Name: seg2}), 0))
	if err == nil || hint.Of(err) == "" {
		t.Errorf("with a damaged stamp: got error %v and hint %q, want both", err, hint.Of(err))
	}
}

// TestStampOfAFilledArchive: a directory that another program has filled gets
// its stamp from the first segment stored, but not from a foreign one.
func TestStampOfAFilledArchive(t *testing.T) {
	a := newArchive(t)
	err := os.WriteFile(filepath.Join(a.Dir(), string(seg1)), segment(storetest.Segment{Name: seg1, SystemID: 5}), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Put(t.Context(), request(walcore.FileName(seg2), segment(storetest.Segment{Name: seg2}), 0))
	var refused *walcore.RefusedError
	if !errors.As(err, &refused) || refused.Reason != walcore.ReasonCluster || !strings.Contains(refused.Detail, string(seg1)) {
		t.Errorf("got %v, want it refused because of %s", err, seg1)
	}
	mustPut(t, a, walcore.FileName(seg2), segment(storetest.Segment{Name: seg2, SystemID: 5}), 0)
}

func TestRetire(t *testing.T) {
	tests := map[string]func(*testing.T) (dir, aside string){
		"sibling": func(t *testing.T) (string, string) {
			dir := filepath.Join(t.TempDir(), "archive")
			return dir, dir + ".retired-20240229T101112Z"
		},
		"behind a link": func(t *testing.T) (string, string) {
			dir := t.TempDir()
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o750), os.Symlink("real", filepath.Join(dir, "link"))); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "link"), filepath.Join(dir, "real.retired-20240229T101112Z")
		},
		"mount point": func(t *testing.T) (string, string) {
			dir := smallDisk(t)
			return dir, filepath.Join(dir, ".retired-20240229T101112Z")
		},
	}
	for name, place := range tests {
		t.Run(name, func(t *testing.T) {
			dir, want := place(t)
			a, err := walcore.CreateArchive(dir)
			if err != nil {
				t.Fatal(err)
			}
			retire(t, a, want)
		})
	}
}

func retire(t *testing.T, a *walcore.Archive, want string) {
	old := segment(storetest.Segment{Name: seg1})
	mustPut(t, a, walcore.FileName(seg1), old, 0)
	if err := a.RaiseFence(walcore.Cut{Epoch: 3, Timeline: 1, LSN: seg2.Start(storetest.Small)}); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2024, 2, 29, 10, 11, 12, 0, time.UTC)
	got, err := a.Retire(now)
	if err != nil || got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	if names, err := a.List(); err != nil || len(names) > 0 {
		t.Errorf("after that: got %v, %v, want an empty archive", names, err)
	}
	if _, stamped, err := a.Stamp(); err != nil || stamped {
		t.Errorf("after that: got stamped=%v, %v, want no stamp", stamped, err)
	}
	if fence, err := a.Fence(); err != nil || fence.Epoch != 3 || len(fence.Cuts) > 0 {
		t.Errorf("after that: got fence %+v, %v, want epoch 3 and no cuts", fence, err)
	}
	aside, err := walcore.OpenArchive(got)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := aside.List(); err != nil || len(names) != 1 {
		t.Errorf("aside: got %v, %v, want the old segment", names, err)
	}
	if stamp, stamped, err := aside.Stamp(); err != nil || !stamped || stamp.Epoch != 3 {
		t.Errorf("aside: got stamp %+v, %v, %v", stamp, stamped, err)
	}
	mustPut(t, a, walcore.FileName(seg2), segment(storetest.Segment{Name: seg2, SystemID: 5}), 0)
	again, err := a.Retire(now)
	if err != nil || again != want+"-2" {
		t.Errorf("a second time in the same second: got %q, %v, want %q", again, err, want+"-2")
	}
}

// TestRetireDuringPut: a segment of the old cluster that is on its way must not
// stamp the new archive.
func TestRetireDuringPut(t *testing.T) {
	a := newArchive(t)
	mustPut(t, a, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0)
	r := request(walcore.FileName(seg2), segment(storetest.Segment{Name: seg2}), 0)
	r.Step = func(step string) error {
		if step == "fsync" {
			_, err := a.Retire(time.Now())
			return err
		}
		return nil
	}
	if _, err := a.Put(t.Context(), r); err == nil || !strings.Contains(err.Error(), "moved aside") {
		t.Errorf("got %v, want it to say that the archive was moved aside", err)
	}
	if stamp, stamped, err := a.Stamp(); err != nil || stamped {
		t.Errorf("got %+v, %v, %v, want no stamp", stamp, stamped, err)
	}
}

func TestWatermark(t *testing.T) {
	a := newArchive(t)
	if _, ok, err := a.Watermark(); err != nil || ok {
		t.Errorf("none yet: got %v, %v", ok, err)
	}
	if err := a.SetWatermark(seg2); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := a.Watermark(); err != nil || !ok || got != seg2 {
		t.Errorf("got %s, %v, %v, want %s", got, ok, err, seg2)
	}
	if err := a.SetWatermark("nonsense"); err == nil {
		t.Error("a watermark that is no segment: got no error")
	}
	if err := os.WriteFile(filepath.Join(a.Dir(), ".warmrun", "watermark"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Watermark(); err == nil {
		t.Error("a watermark that cannot be read: got no error")
	}
}

func TestNoArchive(t *testing.T) {
	a := newArchive(t)
	if err := os.Remove(a.Dir()); err != nil {
		t.Fatal(err)
	}
	checkNoArchive(t, a)
	if _, err := walcore.OpenArchive(a.Dir()); !errors.Is(err, walcore.ErrNoArchive) || hint.Of(err) == "" {
		t.Errorf("open: got %v, want ErrNoArchive with a hint", err)
	}
	if err := os.WriteFile(a.Dir(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	checkNoArchive(t, a)
}

// checkNoArchive: a directory that is not there answers nothing and is made by
// nobody but CreateArchive.
func checkNoArchive(t *testing.T, a *walcore.Archive) {
	t.Helper()
	calls := map[string]func() error{
		"Put": func() error {
			_, err := a.Put(t.Context(), request(walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0))
			return err
		},
		"Offer":        func() error { _, err := a.Offer(t.Context(), walcore.Offer{Name: walcore.FileName(seg1)}); return err },
		"Open":         func() error { _, err := a.Open(walcore.FileName(seg1)); return err },
		"List":         func() error { _, err := a.List(); return err },
		"Digest":       func() error { _, _, err := a.Digest(walcore.FileName(seg1)); return err },
		"Stamp":        func() error { _, _, err := a.Stamp(); return err },
		"Fence":        func() error { _, err := a.Fence(); return err },
		"RaiseFence":   func() error { return a.RaiseFence(walcore.Cut{Timeline: 1, LSN: 1}) },
		"Chain":        func() error { _, err := a.Chain(""); return err },
		"SetWatermark": func() error { return a.SetWatermark(seg1) },
		"Retire":       func() error { _, err := a.Retire(time.Now()); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, walcore.ErrNoArchive) || errors.Is(err, walcore.ErrNotArchived) {
			t.Errorf("%s: got %v, want ErrNoArchive", name, err)
		}
	}
	if info, err := os.Stat(a.Dir()); err == nil && info.IsDir() {
		t.Error("the directory was made")
	}
}

// TestPutWaitsForTheLock: the lock of a process that hangs is waited for no
// longer than the context allows.
func TestPutWaitsForTheLock(t *testing.T) {
	a := newArchive(t)
	mustPut(t, a, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0)
	lock, err := os.Open(filepath.Join(a.Dir(), ".warmrun", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := request(walcore.FileName(seg2), segment(storetest.Segment{Name: seg2}), 0)
	r.Step = func(step string) error {
		if step == "fsync" {
			cancel()
		}
		return nil
	}
	_, err = a.Put(ctx, r)
	if err == nil || !strings.Contains(err.Error(), "wait for the lock") {
		t.Errorf("got %v, want it to say what it waited for", err)
	}
	if _, err := a.Open(walcore.FileName(seg2)); !errors.Is(err, walcore.ErrNotArchived) {
		t.Errorf("got %v, want nothing stored", err)
	}
}
