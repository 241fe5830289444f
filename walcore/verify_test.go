package walcore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// twoTimelines is WAL of a dozen segments, with records over pages and segments,
// a record of more than two segments, a WAL switch, and a promotion to
// timeline 2 in the middle of segment 8. The last segment ends by a switch.
type twoTimelines struct {
	b     *walBuilder
	old   *walBuilder // timeline 1, that goes on past the fork for two segments
	fork  LSN
	spans [][2]LSN // where the records of b begin and end
	files map[string][]byte
}

func newTwoTimelines() *twoTimelines {
	b := newWAL(3)
	w := &twoTimelines{b: b, files: map[string][]byte{}}
	add := func(n int) { w.spans = append(w.spans, [2]LSN{b.other(n), b.at}) }
	fillSegments := func(n int) {
		for until := b.at + LSN(n)<<20; b.at < until; {
			add(20_000)
		}
	}
	fillSegments(1)
	b.switchSegment()
	fillSegments(1)
	add(2<<20 + 12344)
	fillSegments(1)
	w.fork = b.at
	forked := b.segments() - 1

	old := *b
	old.buf = bytes.Clone(b.buf)
	for old.segments() < forked+3 {
		old.other(30_000)
	}
	old.switchSegment()
	w.old = &old
	for i := range old.segments() {
		w.files[string(old.name(i))] = old.segment(i)
	}

	b.timeline = 2
	b.add(rmgrXLOG, 0x90, 20)
	fillSegments(1)
	b.fill(8, true)
	b.switchSegment() // over the end of its segment
	b.other(10)
	b.switchSegment()
	for i := forked; i < b.segments(); i++ {
		w.files[string(b.name(i))] = b.segment(i)
	}
	w.files["00000002.history"] = fmt.Appendf(nil, "1\t%s\tno recovery target specified\n", w.fork)
	return w
}

// archive writes the files into an archive, after a change to them.
func (w *twoTimelines) archive(t *testing.T, change func(files map[string][]byte)) *Archive {
	t.Helper()
	files := map[string][]byte{}
	for name, content := range w.files {
		files[name] = content
	}
	if change != nil {
		change(files)
	}
	dir := t.TempDir()
	for name, content := range files {
		writeFile(t, filepath.Join(dir, name), content)
	}
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// segment is the name of a segment by timeline and place in the WAL.
func (w *twoTimelines) segment(timeline Timeline, number uint64) string {
	return string(MakeSegmentName(timeline, number, w.b.size))
}

func verify(t *testing.T, a *Archive, r VerifyRequest) VerifyReport {
	t.Helper()
	report, err := a.Verify(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// brief is findings as "kind timeline/number", and file names else.
func brief(findings []Finding) string {
	var words []string
	for _, f := range findings {
		file := f.File
		if name, err := ParseSegmentName(file); err == nil {
			file = fmt.Sprintf("%d/%d", uint32(name.Timeline()), name.Number(1<<20))
		}
		words = append(words, f.Kind+" "+file)
	}
	return strings.Join(words, ", ")
}

func TestVerifyFindsNothing(t *testing.T) {
	w := newTwoTimelines()
	for _, workers := range []int{1, 2, 7} {
		report := verify(t, w.archive(t, nil), VerifyRequest{Workers: workers})
		if len(report.Findings) > 0 {
			t.Fatalf("got %v, want nothing", report.Findings)
		}
		if report.Segments != len(w.files)-1 || report.Bytes != int64(report.Segments)<<20 || report.SystemID != testSystemID {
			t.Errorf("got %+v, want %d segments of cluster %d", report, len(w.files)-1, uint64(testSystemID))
		}
		if len(report.Notes) != 1 || !strings.Contains(report.Notes[0].Detail, "2 segments of timeline 1 lie past "+w.fork.String()) {
			t.Errorf("got the notes %v, want the one on WAL past the fork", report.Notes)
		}
	}
	one := verify(t, w.archive(t, nil), VerifyRequest{Timeline: 1})
	two := verify(t, w.archive(t, nil), VerifyRequest{Timeline: 2})
	if len(one.Findings)+len(two.Findings) > 0 || one.Segments != w.old.segments() {
		t.Errorf("timeline 1: got %+v; timeline 2: got %+v; want nothing", one, two)
	}
	if want := w.b.segments() + 1; two.Segments != want { // the one with the fork twice
		t.Errorf("the way to timeline 2: got %d segments, want %d", two.Segments, want)
	}
}

func TestVerifyFindings(t *testing.T) {
	w := newTwoTimelines()
	first := w.b.name(0).Number(w.b.size)
	forked := uint64(w.fork) / uint64(w.b.size)
	last := first + uint64(w.b.segments()) - 1
	name := w.segment
	flip := func(file string, offset int) func(map[string][]byte) {
		return func(files map[string][]byte) {
			files[file] = bytes.Clone(files[file])
			files[file][offset] ^= 4
		}
	}
	remove := func(names ...string) func(map[string][]byte) {
		return func(files map[string][]byte) {
			for _, name := range names {
				delete(files, name)
			}
		}
	}
	replace := func(file string, content []byte) func(map[string][]byte) {
		return func(files map[string][]byte) { files[file] = content }
	}
	foreign := newWAL(first + 2) // after a WAL switch
	foreign.other(100)
	foreign.switchSegment()
	otherCluster := bytes.Clone(foreign.segment(0))
	otherCluster[24] ^= 1
	// A segment of another history of the same cluster: valid in itself.
	rival := newWAL(forked - 1)
	for rival.segments() < 2 {
		rival.other(777)
	}

	tests := []struct {
		name    string
		change  func(map[string][]byte)
		request VerifyRequest
		want    string
		detail  string
	}{
		{"a flipped bit", flip(name(1, first), 500_000), VerifyRequest{}, fmt.Sprintf("record 1/%d", first), "checksum does not match"},
		{"a flipped bit at a segment's end", flip(name(1, forked-1), 1<<20-100), VerifyRequest{}, fmt.Sprintf("record 1/%d", forked-1), ""},
		{"a flipped bit where a record runs on to", flip(name(1, forked), longHeaderSize+9), VerifyRequest{}, fmt.Sprintf("record 1/%d", forked-1), ""},
		{"a flipped bit in a page header", flip(name(1, first), 8192*3+9), VerifyRequest{}, fmt.Sprintf("record 1/%d", first), "address"},
		{"a missing segment", remove(name(1, first+2)), VerifyRequest{}, fmt.Sprintf("missing 1/%d", first+2), ""},
		{"several", remove(name(1, first+2), name(1, first+3)), VerifyRequest{}, fmt.Sprintf("missing 1/%d", first+2), "2 segments"},
		{"the new timeline's first", remove(name(2, forked)), VerifyRequest{}, fmt.Sprintf("missing 2/%d", forked), ""},
		{"the first one was cleaned up", remove(name(1, first)), VerifyRequest{}, "", ""},
		{"but was asked for", remove(name(1, first)), VerifyRequest{From: SegmentName(name(1, first))}, fmt.Sprintf("missing 1/%d", first), ""},
		{"the last one is to come", remove(name(2, last)), VerifyRequest{}, "", ""},
		{"but was asked for at the end", remove(name(2, last)), VerifyRequest{To: SegmentName(name(1, last))}, fmt.Sprintf("missing 2/%d", last), ""},
		{"from beyond the end", nil, VerifyRequest{From: SegmentName(name(2, last+5))}, fmt.Sprintf("missing 2/%d", last+5), ""},
		{"damage outside the range", flip(name(1, first), 500_000), VerifyRequest{From: SegmentName(name(1, first+1)), To: SegmentName(name(2, last))}, "", ""},
		{"truncated", replace(name(1, first+1), w.files[name(1, first+1)][:70_000]), VerifyRequest{}, fmt.Sprintf("size 1/%d", first+1), "70000 bytes"},
		{"empty", replace(name(1, first+1), nil), VerifyRequest{}, fmt.Sprintf("size 1/%d", first+1), "0 bytes"},
		{"never written", replace(name(1, first+1), make([]byte, 1<<20)), VerifyRequest{}, fmt.Sprintf("header 1/%d", first+1), "all zeros"},
		{"another cluster's", replace(name(1, first+2), otherCluster), VerifyRequest{}, fmt.Sprintf("cluster 1/%d", first+2), "system identifier"},
		{"under a wrong name", replace(name(1, first+1), w.files[name(1, first)]), VerifyRequest{}, fmt.Sprintf("header 1/%d", first+1), "address"},
		{"of another history", replace(name(1, forked-1), rival.segment(0)), VerifyRequest{}, fmt.Sprintf("record 1/%d, record 1/%d", forked-3, forked-1), "one of the segments "},
		{"of another history, between WAL switches", replace(name(1, first+2), foreign.segment(0)), VerifyRequest{}, fmt.Sprintf("link 1/%d, link 1/%d", first+2, first+3), "points back to"},
		{"the old timeline's under the new one's name", replace(name(2, forked+1), w.files[name(1, forked+1)]), VerifyRequest{}, fmt.Sprintf("timeline 2/%d", forked+1), "of timeline 1"},
		{"the old timeline's with the fork", replace(name(2, forked), w.files[name(1, forked)]), VerifyRequest{}, fmt.Sprintf("timeline 2/%d, record 2/%d", forked, forked), "of timeline 1"},
		{"before the timeline began", replace(name(2, first), w.files[name(1, first)]), VerifyRequest{}, fmt.Sprintf("timeline 2/%d", first), "began only at"},
		{"a later timeline's under an older name", replace(name(1, last), w.files[name(2, last)]), VerifyRequest{}, fmt.Sprintf("timeline 1/%d", last), ""},
		{"no history", remove("00000002.history"), VerifyRequest{}, "missing 00000002.history", ""},
		{"a broken history", replace("00000002.history", []byte("what\n")), VerifyRequest{}, "history 00000002.history", ""},
		{"an empty history", replace("00000002.history", nil), VerifyRequest{}, "history 00000002.history", "names no timeline"},
		{"a history of another promotion", replace("00000002.history", fmt.Appendf(nil, "1\t%s\tx\n", w.fork+8)), VerifyRequest{}, fmt.Sprintf("history 2/%d", forked), "no record begins or ends at"},
		{"histories that contradict each other", replace("00000003.history", fmt.Appendf(nil, "1\t%s\tx\n2\t%s\ty\n", w.fork-1<<20, w.fork+5<<20)), VerifyRequest{Timeline: 3}, "history 00000003.history", "contradicts 00000002.history"},
		{"a history that goes back", replace("00000003.history", fmt.Appendf(nil, "1\t%s\tx\n2\t%s\ty\n", w.fork, w.fork-8)), VerifyRequest{}, "history 00000003.history", "before it began"},
		{"a backup's file", replace(name(1, first)+".00000028.backup", []byte("x")), VerifyRequest{}, "backup " + name(1, first) + ".00000028.backup", ""},
		{"a whole partial", replace(name(1, forked)+".partial", w.files[name(1, forked)]), VerifyRequest{}, "", ""},
		{"half a partial", replace(name(1, forked)+".partial", w.files[name(1, forked)][:8192]), VerifyRequest{}, "size " + name(1, forked) + ".partial", ""},
		{"another's partial", replace(name(1, first+2)+".partial", otherCluster), VerifyRequest{}, "cluster " + name(1, first+2) + ".partial", ""},
		{"the old timeline ends at the fork", func(files map[string][]byte) {
			name := name(1, forked)
			files[name] = bytes.Clone(files[name])
			clear(files[name][uint64(w.fork)%(1<<20):])
		}, VerifyRequest{}, "", ""},
		{"and nothing of it follows", func(files map[string][]byte) {
			remove(name(1, forked+1), name(1, forked+2))(files)
			content := bytes.Clone(files[name(1, forked)])
			clear(content[uint64(w.fork)%(1<<20):])
			files[name(1, forked)] = content
		}, VerifyRequest{}, "", ""},
		{"a file that is no WAL", replace("README", []byte("x")), VerifyRequest{}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report := verify(t, w.archive(t, tt.change), tt.request)
			if got := brief(report.Findings); got != tt.want {
				t.Errorf("got %q, want %q: %v", got, tt.want, report.Findings)
			}
			if !strings.Contains(fmt.Sprint(report.Findings), tt.detail) {
				t.Errorf("got %v, want %q in it", report.Findings, tt.detail)
			}
			for _, f := range report.Findings {
				if f.Remedy == "" {
					t.Errorf("%s: nothing says what to do", f)
				}
			}
		})
	}
}

// TestVerifyEveryBit flips bits in records all over the WAL: none goes
// unnoticed, in whichever record and at whichever boundary.
func TestVerifyEveryBit(t *testing.T) {
	w := newTwoTimelines()
	random := rand.New(rand.NewPCG(1, 2))
	var chosen []LSN
	for range 100 {
		span := w.spans[random.IntN(len(w.spans))]
		chosen = append(chosen, span[0]+LSN(random.IntN(int(span[1]-span[0]))))
	}
	for i := range w.b.segments() - 1 { // and around the segments' ends
		for _, near := range []LSN{1, 9, 30} {
			chosen = append(chosen, w.b.name(i).End(w.b.size)-near, w.b.name(i).End(w.b.size)+longHeaderSize-1+near)
		}
	}
	inRecord := func(at LSN) bool {
		header := LSN(shortHeaderSize)
		if uint64(at)%uint64(w.b.size) < uint64(w.b.block) {
			header = longHeaderSize
		}
		return at%LSN(w.b.block) >= header && slices.ContainsFunc(w.spans, func(s [2]LSN) bool { return s[0] <= at && at < s[1] })
	}
	dir := w.archive(t, func(files map[string][]byte) {
		for i := range w.old.segments() {
			if _, mine := w.files[string(w.b.name(i).OnTimeline(2))]; mine {
				delete(files, string(w.b.name(i).OnTimeline(1))) // the fork's other copy: w.b is timeline 2's
			}
		}
	}).Dir()
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, at := range chosen {
		if !inRecord(at) {
			continue
		}
		tried++
		number := uint64(at) / uint64(w.b.size)
		path := filepath.Join(dir, w.segment(1, number))
		if _, err := os.Stat(path); err != nil {
			path = filepath.Join(dir, w.segment(2, number))
		}
		flipBit(t, path, int64(uint64(at)%uint64(w.b.size)), byte(1<<random.IntN(8)))
		if report := verify(t, a, VerifyRequest{}); len(report.Findings) == 0 {
			t.Errorf("a flipped bit at %s in %s went unnoticed", at, filepath.Base(path))
		}
		writeFile(t, path, w.files[filepath.Base(path)])
	}
	if report := verify(t, a, VerifyRequest{}); len(report.Findings) > 0 {
		t.Errorf("the bits were not put back: %v", report.Findings)
	}
	if tried < 100 {
		t.Errorf("tried %d bits, want at least 100", tried)
	}
}

func flipBit(t *testing.T, path string, offset int64, bit byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := []byte{0}
	_, err = f.ReadAt(b, offset)
	b[0] ^= bit
	_, writeErr := f.WriteAt(b, offset)
	if err := errors.Join(err, writeErr, f.Close()); err != nil {
		t.Fatal(err)
	}
}
