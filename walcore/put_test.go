package walcore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/warmrun/warmrun/walcore/storetest"
)

const (
	seg1 walcore.SegmentName = "000000010000000000000001"
	seg2 walcore.SegmentName = "000000010000000000000002"
)

func newArchive(t *testing.T) *walcore.Archive {
	t.Helper()
	a, err := walcore.CreateArchive(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func request(name walcore.FileName, data []byte, provisional walcore.LSN) walcore.PutRequest {
	return walcore.PutRequest{Name: name, Size: int64(len(data)), Body: bytes.NewReader(data), Provisional: provisional}
}

func mustPut(t *testing.T, a *walcore.Archive, name walcore.FileName, data []byte, provisional walcore.LSN) walcore.PutResult {
	t.Helper()
	result, err := a.Put(t.Context(), request(name, data, provisional))
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return result
}

func segment(s storetest.Segment) []byte {
	data, _ := s.Build()
	return data
}

func TestArchiveIsAStore(t *testing.T) {
	for _, form := range []packed.Form{packed.Plain, packed.Zstd, packed.LZ4} {
		t.Run(form.String(), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Store { return storetest.Local{Archive: newArchive(t).Storing(form)} })
		})
	}
}

// state is what an archive holds under one name.
type state struct {
	content     string // which of the test's contents, or ""
	provisional walcore.LSN
}

// faultCase is a Put onto an archive in a known state.
type faultCase struct {
	name          string
	before, after state
	steps         []string
}

func TestPutFailsAtEachStep(t *testing.T) {
	half, end := storetest.Segment{Name: seg1, Ending: storetest.Shutdown}.Build()
	more, moreEnd := storetest.Continue(seg1, half, end, storetest.Shutdown)
	whole, _ := storetest.Continue(seg1, half, end, storetest.Full)
	contents := map[string][]byte{"half": half, "more": more, "whole": whole}
	cases := []faultCase{
		{"new", state{}, state{"whole", 0}, []string{"space", "write", "fsync", "stamp", "rename", "fsync-dir"}},
		{"new provisional", state{}, state{"half", end}, []string{"space", "write", "fsync", "stamp", "sidecar", "rename", "fsync-dir"}},
		{"provisional, then whole", state{"half", end}, state{"whole", 0}, []string{"space", "write", "fsync", "rename", "fsync-dir", "unsidecar"}},
		{"provisional, then more", state{"half", end}, state{"more", moreEnd}, []string{"space", "write", "fsync", "sidecar", "rename", "fsync-dir", "unsidecar"}},
		{"the same again", state{"whole", 0}, state{"whole", 0}, []string{"fsync", "fsync-dir"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var hit []string
			for _, at := range walcore.PutSteps() {
				if failAt(t, c, contents, at) {
					hit = append(hit, at)
				}
			}
			if !slices.Equal(hit, c.steps) {
				t.Errorf("got steps %v, want %v", hit, c.steps)
			}
		})
	}
}

func failAt(t *testing.T, c faultCase, contents map[string][]byte, at string) (hit bool) {
	a := newArchive(t)
	if c.before.content != "" {
		mustPut(t, a, walcore.FileName(seg1), contents[c.before.content], c.before.provisional)
	}
	boom := errors.New("boom")
	r := request(walcore.FileName(seg1), contents[c.after.content], c.after.provisional)
	r.Step = func(step string) error {
		if step != at {
			return nil
		}
		hit = true
		return boom
	}
	_, err := a.Put(t.Context(), r)
	if !hit {
		return false
	}
	if !errors.Is(err, boom) {
		t.Errorf("%s: got error %v, want %v", at, err, boom)
	}
	want := c.before
	if at == "fsync-dir" || at == "unsidecar" {
		want = c.after
	}
	checkState(t, a, at, contents, want)
	if rest, _ := os.ReadDir(filepath.Join(a.Dir(), ".warmrun", "tmp")); len(rest) > 0 {
		t.Errorf("%s: left a temporary file: %v", at, rest)
	}
	r = request(walcore.FileName(seg1), contents[c.after.content], c.after.provisional)
	if _, err := a.Put(t.Context(), r); err != nil {
		t.Errorf("%s: the next try failed: %v", at, err)
	}
	checkState(t, a, at+", then tried again", contents, c.after)
	return true
}

func checkState(t *testing.T, a *walcore.Archive, when string, contents map[string][]byte, want state) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(a.Dir(), string(seg1)))
	if (err == nil) != (want.content != "") {
		t.Errorf("%s: got file %v, want content %q", when, err, want.content)
	}
	if !bytes.Equal(got, contents[want.content]) {
		t.Errorf("%s: the file is not %q", when, want.content)
	}
	end, provisional, err := a.Provisional(seg1)
	if err != nil || end != want.provisional || provisional != (want.provisional != 0) {
		t.Errorf("%s: got provisional %v up to %s, %v, want %s", when, provisional, end, err, want.provisional)
	}
}

func TestSweep(t *testing.T) {
	a := newArchive(t)
	mustPut(t, a, walcore.FileName(seg1), segment(storetest.Segment{Name: seg1}), 0)
	old := time.Now().Add(-time.Hour)
	leave := func(name string, age time.Time) string {
		path := filepath.Join(a.Dir(), ".warmrun", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, age, age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stale, live, young, foreign := leave("tmp/put-1", old), leave("tmp/put-2", old), leave("tmp/put-3", time.Now()), leave("tmp/mine", old)
	note, youngNote := leave("provisional/.warmrun-1.tmp", old.Add(-48*time.Hour)), leave(".warmrun-2.tmp", old)
	writer, err := os.Open(live)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := unix.Flock(int(writer.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	mustPut(t, a, walcore.FileName(seg2), segment(storetest.Segment{Name: seg2}), 0)
	for path, want := range map[string]bool{stale: false, live: true, young: true, foreign: true, note: false, youngNote: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: got there=%v, want %v", filepath.Base(path), err == nil, want)
		}
	}
}

// smallDisk mounts a file system of 3 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatalf("mount a small tmpfs: %v (run the tests as root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestDiskFull(t *testing.T) {
	const size = 2 << 20
	for _, at := range []string{"", "write", "fsync", "stamp", "rename"} {
		t.Run("full before "+at, func(t *testing.T) {
			disk := smallDisk(t)
			a, err := walcore.CreateArchive(filepath.Join(disk, "archive"))
			if err != nil {
				t.Fatal(err)
			}
			data := segment(storetest.Segment{Name: seg1, Size: size})
			filler := filepath.Join(disk, "filler")
			r := request(walcore.FileName(seg1), data, 0)
			r.Step = func(step string) error {
				if step == at || at == "" && step == "space" {
					fill(t, filler)
				}
				return nil
			}
			_, err = a.Put(t.Context(), r)
			if at == "rename" {
				// All bytes are there by then: a full disk does no harm.
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkSpaceError(t, err, disk, size)
			if names, err := a.List(); err != nil || len(names) > 0 {
				t.Errorf("got %v, %v, want an empty archive", names, err)
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			mustPut(t, a, walcore.FileName(seg1), data, 0)
			if got := mustPut(t, a, walcore.FileName(seg1), data, 0); !got.Identical {
				t.Errorf("the same segment again, with no room for a second one: got %+v", got)
			}
		})
	}
}

// A thin volume takes every write, and has no room for it once the kernel brings
// it to disk: only the flush says so.
func TestThinVolumeFull(t *testing.T) {
	disk, backing := thinDisk(t)
	a, err := walcore.CreateArchive(filepath.Join(disk, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	first := segment(storetest.Segment{Name: seg1, Size: 2 << 20, Until: 2 << 20, Tail: 7})
	mustPut(t, a, walcore.FileName(seg1), first, 0)
	unix.Sync()
	filler := filepath.Join(backing, "filler")
	fill(t, filler)
	data := segment(storetest.Segment{Name: seg2, Size: 2 << 20, Until: 2 << 20, Tail: 7})
	r, last := request(walcore.FileName(seg2), data, 0), ""
	r.Step = func(step string) error { last = step; return nil }
	_, err = a.Put(t.Context(), r)
	var space *walcore.SpaceError
	if !errors.As(err, &space) || space.Free < space.Need || !strings.Contains(err.Error(), "thin volume") || !strings.Contains(hint.Of(err), disk) {
		t.Errorf("got %v, hint %q; want a SpaceError that blames what lies below %s", err, hint.Of(err), disk)
	}
	if last != "fsync" {
		t.Errorf("failed after step %q, want the flush to fail", last)
	}
	if names, err := a.List(); err != nil || len(names) != 1 {
		t.Errorf("got %v, %v, want the first segment only", names, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if got := mustPut(t, a, walcore.FileName(seg2), data, 0); got.Identical || got.Bytes == 0 {
		t.Errorf("got %+v, want the segment written anew: what could not be flushed does not count", got)
	}
	stored, err := os.ReadFile(filepath.Join(a.Dir(), string(seg2)))
	if err != nil || !bytes.Equal(stored, data) {
		t.Errorf("got %d bytes, %v, want the segment", len(stored), err)
	}
}

// thinDisk mounts a file system of 32 MB on a file that may take half of that,
// in the directory backing. It has no journal, which would end with it.
func thinDisk(t *testing.T) (disk, backing string) {
	t.Helper()
	disk, backing = t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", backing, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatalf("mount a small tmpfs: %v (run the tests as root)", err)
	}
	image := filepath.Join(backing, "image")
	for _, command := range [][]string{
		{"truncate", "-s", "32M", image},
		{"mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard", image},
		{"mount", "-o", "loop", image, disk},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() {
		out, err := exec.Command("umount", disk).CombinedOutput() // and the loop device
		if err := errors.Join(err, unix.Unmount(backing, 0)); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return disk, backing
}

// fill takes what is left of a file system.
func fill(t *testing.T, path string) {
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func checkSpaceError(t *testing.T, err error, disk string, need uint64) {
	t.Helper()
	var space *walcore.SpaceError
	if !errors.As(err, &space) || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v, want a SpaceError", err)
	}
	if space.FileSystem != disk || space.Need < need || space.Need > need+100_000 || space.Free >= space.Need {
		t.Errorf("got %+v, want file system %s, %d needed", space, disk, need)
	}
	for _, want := range []string{disk, fmt.Sprint(space.Free), fmt.Sprint(space.Need), string(seg1)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n") || hint.Of(err) == "" {
		t.Errorf("want one line and a hint, got %q and %q", err, hint.Of(err))
	}
}
