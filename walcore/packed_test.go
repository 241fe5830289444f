package walcore_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/packed"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// files is the names in an archive's directory.
func files(t *testing.T, a *walcore.Archive) []string {
	t.Helper()
	entries, err := os.ReadDir(a.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != ".warmrun" {
			names = append(names, entry.Name())
		}
	}
	return names
}

func content(t *testing.T, a *walcore.Archive, name walcore.FileName) []byte {
	t.Helper()
	f, err := a.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestPackedFiles: what is stored in which form, and that the ordinary tools
// unpack it.
func TestPackedFiles(t *testing.T) {
	history := []byte("1\t0/300000\tno recovery target specified\n")
	whole := segment(storetest.Segment{Name: seg1})
	half, end := storetest.Segment{Name: seg2, Ending: storetest.Shutdown}.Build()
	rest, _ := storetest.Continue(seg2, half, end, storetest.Full)
	for _, form := range packed.Forms() {
		a := newArchive(t).Storing(form)
		mustPut(t, a, "00000002.history", history, 0)
		mustPut(t, a, walcore.FileName(seg1), whole, 0)
		mustPut(t, a, walcore.FileName(seg1)+".partial", whole, 0)
		mustPut(t, a, walcore.FileName(seg2), half, end)
		want := []string{string(seg1) + form.Suffix(), string(seg1) + ".partial", string(seg2), "00000002.history"}
		slices.Sort(want)
		if got := files(t, a); !slices.Equal(got, want) {
			t.Errorf("%s: got the files %v, want %v", form, got, want)
		}
		if result := mustPut(t, a, walcore.FileName(seg2), rest, 0); !result.Replaced {
			t.Errorf("%s: got %+v, want the provisional segment replaced", form, result)
		}
		if got := files(t, a); !slices.Equal(got, want) {
			t.Errorf("%s, after the whole segment came: got the files %v, want %v", form, got, want)
		}
		path := filepath.Join(a.Dir(), string(seg1)+form.Suffix())
		if got, err := exec.Command(string(form), "-dc", path).Output(); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s -dc: got %d bytes, %v, want the segment", form, len(got), err)
		}
	}
}

// TestFormChanges: the same-name-again rules hold whatever the setting was when
// a segment came and is now, and nothing becomes unreadable.
func TestFormChanges(t *testing.T) {
	name, data := walcore.FileName(seg1), segment(storetest.Segment{Name: seg1, Ending: storetest.Switch})
	sameRecords := segment(storetest.Segment{Name: seg1, Ending: storetest.Switch, Tail: 0xAA})
	other := segment(storetest.Segment{Name: seg1, Seed: 7})
	forms := append(packed.Forms(), packed.Plain)
	for _, before := range forms {
		for _, now := range forms {
			a := newArchive(t)
			mustPut(t, a.Storing(before), name, data, 0)
			stored := files(t, a)
			for _, again := range [][]byte{data, sameRecords} {
				if got := mustPut(t, a.Storing(now), name, again, 0); !got.Identical {
					t.Errorf("%s, then %s: got %+v, want identical", before, now, got)
				}
			}
			_, err := a.Storing(now).Put(t.Context(), request(name, other, 0))
			var refused *walcore.RefusedError
			if !errors.As(err, &refused) || refused.Reason != walcore.ReasonDifferent {
				t.Errorf("%s, then other bytes as %s: got %v, want them refused", before, now, err)
			}
			if got := files(t, a); !slices.Equal(got, stored) {
				t.Errorf("%s, then %s: got the files %v, want %v", before, now, got, stored)
			}
			if !bytes.Equal(content(t, a, name), data) {
				t.Errorf("%s, then %s: the content has changed", before, now)
			}
		}
	}
}

// TestPackedByHand: an operator may pack a segment with the ordinary tools, and
// one that is provisional still gives way to the whole one.
func TestPackedByHand(t *testing.T) {
	half, end := storetest.Segment{Name: seg2, Ending: storetest.Shutdown}.Build()
	rest, _ := storetest.Continue(seg2, half, end, storetest.Full)
	for _, form := range packed.Forms() {
		a, name := newArchive(t), walcore.FileName(seg2)
		mustPut(t, a, name, half, end)
		path := filepath.Join(a.Dir(), string(seg2))
		frames, err := exec.Command(string(form), "-c", path).Output()
		if err := errors.Join(err, os.WriteFile(path+form.Suffix(), frames, 0o600), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		if got, want := files(t, a), []string{string(seg2) + form.Suffix()}; !slices.Equal(got, want) {
			t.Fatalf("%s: got the files %v, want %v", form, got, want)
		}
		if got, provisional, err := a.Provisional(seg2); got != end || !provisional || err != nil {
			t.Errorf("%s: got it provisional up to %s, %v, %v, want %s", form, got, provisional, err, end)
		}
		if got := mustPut(t, a, name, rest, 0); !got.Replaced {
			t.Errorf("%s: got %+v, want it replaced", form, got)
		}
		if got, want := files(t, a), []string{string(seg2)}; !slices.Equal(got, want) || !bytes.Equal(content(t, a, name), rest) {
			t.Errorf("%s: got the files %v, want %v with the whole segment", form, got, want)
		}
	}
}

// TestPackedNames: everything that knows segments by their names knows packed
// ones.
func TestPackedNames(t *testing.T) {
	a := newArchive(t)
	forms := []packed.Form{packed.Plain, packed.Zstd, packed.LZ4, packed.Zstd}
	names := []walcore.SegmentName{seg1}
	for range forms[1:] {
		names = append(names, names[len(names)-1].Next(storetest.Small))
	}
	for i, data := range storetest.Chain(names, storetest.Switch) {
		mustPut(t, a.Storing(forms[i]), walcore.FileName(names[i]), data, 0)
	}
	listed, err := a.List()
	if err != nil || len(listed) != len(names) {
		t.Fatalf("list: got %v, %v, want %v", listed, err, names)
	}
	for i, name := range names {
		if listed[i] != walcore.FileName(name) {
			t.Errorf("list: got %v, want %v", listed, names)
		}
		if there, err := a.Has(walcore.FileName(name)); !there || err != nil {
			t.Errorf("has %s: got %v, %v", name, there, err)
		}
		if !a.Knows(walcore.FileName(name), int64(storetest.Small)) {
			t.Errorf("%s is not known", name)
		}
	}
	chain, err := a.Chain("")
	if err != nil || chain.First != seg1 || chain.Segments != len(names) || len(chain.Gaps) != 0 {
		t.Errorf("chain: got %+v, %v, want all segments and no gap", chain, err)
	}
	report, err := a.Verify(t.Context(), walcore.VerifyRequest{})
	if err != nil || len(report.Findings) != 0 || report.Segments != len(names) {
		t.Errorf("verify: got %+v, %v, want %d segments without findings", report, err, len(names))
	}
	listing, err := a.Listing()
	if err != nil || len(listing.Timelines) != 1 || len(listing.Timelines[0].Runs) != 1 || len(listing.Others) != 0 {
		t.Fatalf("listing: got %+v, %v, want one run", listing, err)
	}
	if run := listing.Timelines[0].Runs[0]; run.Packed != 3 || run.Segments != 4 || run.WrongSize != 0 || run.Bytes >= 4<<20 {
		t.Errorf("listing: got %+v, want three of four packed, and what they take", run)
	}
	aside, err := a.Retire(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	old, err := walcore.OpenArchive(aside)
	if err != nil || len(files(t, old)) != len(names) || len(files(t, a)) != 0 {
		t.Errorf("retired: got %v and %v left, %v", files(t, old), files(t, a), err)
	}
}

// TestTwins: a segment that is there plain and packed is read plain, and verify
// tells whether the two agree.
func TestTwins(t *testing.T) {
	data, other := segment(storetest.Segment{Name: seg1, Ending: storetest.Switch}), segment(storetest.Segment{Name: seg1, Seed: 7})
	for what, want := range map[string]struct {
		twin     []byte
		findings int
	}{"the same": {data, 0}, "another": {other, 1}, "damaged": {nil, 1}} {
		a := newArchive(t)
		b := newArchive(t)
		mustPut(t, a, walcore.FileName(seg1), data, 0)
		twin := []byte("no frames at all")
		if want.twin != nil {
			mustPut(t, b.Storing(packed.Zstd), walcore.FileName(seg1), want.twin, 0)
			var err error
			if twin, err = os.ReadFile(filepath.Join(b.Dir(), string(seg1)+".zst")); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(a.Dir(), string(seg1)+".zst"), twin, 0o600); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content(t, a, walcore.FileName(seg1)), data) {
			t.Errorf("%s: got other bytes than the plain file's", what)
		}
		report, err := a.Verify(t.Context(), walcore.VerifyRequest{})
		if err != nil || len(report.Findings) != want.findings || report.Segments != 1 {
			t.Errorf("%s: got %+v, %v, want %d findings on one segment", what, report, err, want.findings)
		}
		for _, finding := range report.Findings {
			if finding.Kind != walcore.FindingFrames || finding.File != string(seg1)+".zst" {
				t.Errorf("%s: got %+v, want it to name the packed file", what, finding)
			}
		}
	}
}

// TestDamagedFrames: a packed file that is cut or flipped is an error that
// names it, for every reader.
func TestDamagedFrames(t *testing.T) {
	data := segment(storetest.Segment{Name: seg1, Ending: storetest.Switch})
	for _, form := range packed.Forms() {
		a := newArchive(t).Storing(form)
		mustPut(t, a, walcore.FileName(seg1), data, 0)
		path := filepath.Join(a.Dir(), string(seg1)+form.Suffix())
		frames, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(frames)
		flipped[len(flipped)/2] ^= 1
		for what, bad := range map[string][]byte{"cut": frames[:len(frames)/3], "flipped": flipped} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			var damaged *packed.DamagedError
			if _, err := a.Open(walcore.FileName(seg1)); !errors.As(err, &damaged) || !bytes.Contains([]byte(err.Error()), []byte(path)) {
				t.Errorf("%s, %s: got %v, want it damaged, by its path", form, what, err)
			}
			_, err := a.Put(t.Context(), request(walcore.FileName(seg1), data, 0))
			var refused *walcore.RefusedError
			if !errors.As(err, &refused) || refused.Reason != walcore.ReasonCorrupt || hint.Of(err) != "move "+path+" aside, and the next try stores this one" {
				t.Errorf("%s, %s, the same segment again: got %v, hint %q; want it refused, and what to do", form, what, err, hint.Of(err))
			}
			report, err := a.Verify(t.Context(), walcore.VerifyRequest{})
			if err != nil || len(report.Findings) != 1 || report.Findings[0].Kind != walcore.FindingFrames {
				t.Errorf("%s, %s: got %+v, %v, want one finding", form, what, report.Findings, err)
			}
		}
	}
}
