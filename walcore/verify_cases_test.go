package walcore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerifyProvisional(t *testing.T) {
	b := newWAL(3)
	for b.segments() < 2 {
		b.other(9000)
	}
	b.shutdown()
	end := b.at
	write := func(t *testing.T, note LSN) *Archive {
		dir := b.save(t)
		a, err := OpenArchive(dir)
		if err != nil {
			t.Fatal(err)
		}
		if note == 0 {
			return a
		}
		if err := errors.Join(os.MkdirAll(a.state("provisional"), 0o700), a.writeSidecar(b.name(1), note)); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if r := verify(t, write(t, end), VerifyRequest{}); len(r.Findings)+len(r.Notes) > 0 {
		t.Errorf("got %v, %v, want nothing", r.Findings, r.Notes)
	}
	if r := verify(t, write(t, 0), VerifyRequest{}); len(r.Findings) > 0 || len(r.Notes) != 1 {
		t.Errorf("without a note: got %v, %v, want one note", r.Findings, r.Notes)
	}
	if r := verify(t, write(t, end+4096), VerifyRequest{}); brief(r.Findings) != "record 1/4" {
		t.Errorf("a note of another end: got %v, want one on the end", r.Findings)
	}
	a := write(t, end)
	next := newWAL(5)
	next.switchSegment()
	writeFile(t, filepath.Join(a.Dir(), string(next.name(0))), next.segment(0))
	if r := verify(t, a, VerifyRequest{}); brief(r.Findings) != "missing 1/4" {
		t.Errorf("with WAL after it: got %v, want the whole segment missing", r.Findings)
	}
}

func TestVerifyUnfinished(t *testing.T) {
	b := newWAL(3)
	b.other(100)
	a, err := OpenArchive(b.save(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(t, a, VerifyRequest{}); brief(r.Findings) != "record 1/3" || !strings.Contains(r.Findings[0].Detail, "a record of length 0") {
		t.Errorf("got %v, want that it was archived before it was full", r.Findings)
	}
}

func TestVerifyErrors(t *testing.T) {
	w := newTwoTimelines()
	a := w.archive(t, nil)
	if _, err := a.Verify(t.Context(), VerifyRequest{Timeline: 7}); !errors.Is(err, ErrNotArchived) {
		t.Errorf("timeline 7: got %v, want ErrNotArchived", err)
	}
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	calls := 0
	_, err := a.Verify(ctx, VerifyRequest{Workers: 1, Progress: func(p VerifyProgress) {
		if calls++; calls == 2 {
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) || calls > 2 {
		t.Errorf("got %v after %d segments, want the context's cause at once", err, calls)
	}
	empty, err := CreateArchive(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(t, empty, VerifyRequest{}); r.Segments != 0 || len(r.Findings) > 0 {
		t.Errorf("an empty archive: got %+v", r)
	}
	if err := os.Remove(empty.Dir()); err != nil {
		t.Fatal(err)
	}
	if _, err := empty.Verify(t.Context(), VerifyRequest{}); !errors.Is(err, ErrNoArchive) {
		t.Errorf("no archive: got %v, want ErrNoArchive", err)
	}
}

// TestVerifyCleanup has segments removed while they are checked.
func TestVerifyCleanup(t *testing.T) {
	w := newTwoTimelines()
	a := w.archive(t, nil)
	files, err := a.Files()
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Verify(t.Context(), VerifyRequest{Workers: 1, Progress: func(p VerifyProgress) {
		for _, file := range files {
			if file.Kind == KindSegment && p.Segments == 1 {
				_ = os.Remove(filepath.Join(a.Dir(), file.Name)) // one of them may be gone
			}
		}
	}})
	if err != nil || len(r.Findings) > 0 || r.Segments >= len(files)-1 {
		t.Errorf("got %+v, %v, want no finding, and fewer segments than there were", r, err)
	}
}

// TestVerifyTwoForksInOneSegment has two promotions so close to each other that
// no whole segment lies between them.
func TestVerifyTwoForksInOneSegment(t *testing.T) {
	b := newWAL(3)
	for b.segments() < 3 {
		b.other(20_000)
	}
	first, forked := b.name(0), b.segments()-1
	dir := b.save(t)
	one := b.at
	b.timeline = 2
	b.add(rmgrXLOG, 0x90, 20)
	b.other(30_000)
	two := b.at
	writeFile(t, filepath.Join(dir, string(b.name(forked))), b.segment(forked))
	b.timeline = 3
	b.add(rmgrXLOG, 0x90, 20)
	for b.segments() < forked+3 {
		b.other(30_000)
	}
	b.switchSegment()
	for i := forked; i < b.segments(); i++ {
		writeFile(t, filepath.Join(dir, string(b.name(i))), b.segment(i))
	}
	writeFile(t, filepath.Join(dir, "00000002.history"), fmt.Appendf(nil, "1\t%s\tx\n", one))
	writeFile(t, filepath.Join(dir, "00000003.history"), fmt.Appendf(nil, "1\t%s\tx\n2\t%s\ty\n", one, two))
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(t, a, VerifyRequest{}); len(r.Findings) > 0 || r.Segments != b.segments()+2 {
		t.Errorf("got %v in %d segments, want nothing in %d", r.Findings, r.Segments, b.segments()+2)
	}
	// Without what was left of the older timelines there, the newest has it all.
	for timeline := range Timeline(2) {
		if err := os.Remove(filepath.Join(dir, string(b.name(forked).OnTimeline(timeline+1)))); err != nil {
			t.Fatal(err)
		}
	}
	if r := verify(t, a, VerifyRequest{From: first}); len(r.Findings) > 0 {
		t.Errorf("with the newest copy only: got %v, want nothing", r.Findings)
	}
}

// TestVerifyLinkOverFork has a new timeline whose first segment is valid by
// itself, but whose first record does not point back to the old one's last.
func TestVerifyLinkOverFork(t *testing.T) {
	for _, wrong := range []LSN{0, 32} {
		b := newWAL(3)
		b.other(100)
		b.switchSegment()
		fork := b.at
		dir := b.save(t)
		b.timeline = 2
		b.prev -= wrong
		b.other(100)
		b.switchSegment()
		writeFile(t, filepath.Join(dir, string(b.name(1))), b.segment(1))
		writeFile(t, filepath.Join(dir, "00000002.history"), fmt.Appendf(nil, "1\t%s\tx\n", fork))
		a, err := OpenArchive(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := map[LSN]string{0: "", 32: "link 2/4"}[wrong]
		if r := verify(t, a, VerifyRequest{}); brief(r.Findings) != want {
			t.Errorf("pointing %d bytes further back: got %v, want %q", wrong, r.Findings, want)
		}
	}
}

// TestVerifyOldFormat has WAL of 9.4, of which records cannot be read.
func TestVerifyOldFormat(t *testing.T) {
	b := newWAL(3)
	b.magic = 0xD07E
	for b.segments() < 3 {
		b.other(20_000)
	}
	a, err := OpenArchive(b.save(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(t, a, VerifyRequest{}); len(r.Findings) > 0 || len(r.Notes) != 1 || r.Records != 0 {
		t.Errorf("got %v, %v, %d records, want one note", r.Findings, r.Notes, r.Records)
	}
	if err := os.Truncate(filepath.Join(a.Dir(), string(b.name(1))), 1000); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, a, VerifyRequest{}); brief(r.Findings) != "size 1/4" {
		t.Errorf("truncated: got %v", r.Findings)
	}
}
