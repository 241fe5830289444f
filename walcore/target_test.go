package walcore

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// ended appends the end of a transaction as a server writes it, with an origin
// and a top-level transaction before its own data.
func (b *walBuilder) ended(info byte, xid uint32, at time.Time) LSN {
	data := binary.LittleEndian.AppendUint64(nil, uint64(at.Sub(time.Unix(serverEpoch, 0)).Microseconds()))
	body := []byte{blockOrigin, 1, 0, blockTopLevelXID, 9, 9, 9, 9, blockDataShort, byte(len(data))}
	return b.addBody(rmgrXact, info, xid, append(body, data...))
}

// restorePoint appends a named restore point.
func (b *walBuilder) restorePoint(name string, at time.Time) LSN {
	data := binary.LittleEndian.AppendUint64(nil, uint64(at.Sub(time.Unix(serverEpoch, 0)).Microseconds()))
	data = append(data, append([]byte(name), make([]byte, restoreNameSize-len(name))...)...)
	return b.addBody(rmgrXLOG, infoRestorePoint, 0, append([]byte{blockDataShort, byte(len(data))}, data...))
}

func openTestArchive(t *testing.T, dir string) *Archive {
	t.Helper()
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// full is an error with what to do about it.
func full(err error) string {
	if err == nil {
		return ""
	}
	return err.Error() + "; " + hint.Of(err)
}

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// threeSegments are WAL with a transaction in each of the first two segments and
// none in the third: 700 at noon, 701 aborted a minute later, then a restore
// point, and 702 an hour later.
func threeSegments() (b *walBuilder, commit, point, late LSN) {
	b = newWAL(5)
	b.other(100)
	commit = b.ended(0x80|xactCommit, 700, noon)
	b.ended(xactAbort, 701, noon.Add(time.Minute))
	point = b.restorePoint("before", noon.Add(2*time.Minute))
	b.switchSegment()
	b.other(50)
	late = b.ended(xactCommit, 702, noon.Add(time.Hour))
	b.switchSegment()
	b.other(70)
	b.switchSegment()
	return b, commit, point, late
}

func TestReach(t *testing.T) {
	b, commit, point, late := threeSegments()
	archive := openTestArchive(t, b.save(t))
	route, err := archive.Route(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what   string
		target Target
		from   LSN
		up     LSN
		want   LSN // 0: not reached
		says   string
	}{
		{what: "a time between two commits", target: Target{Time: noon.Add(5 * time.Minute)}, want: late},
		{what: "a time before all", target: Target{Time: noon.Add(-time.Hour)}, want: late}, // any later one proves it
		{what: "the very time of the last commit", target: Target{Time: noon.Add(time.Hour)}, says: "the last transaction in its WAL ended at 2024-05-01T13:00:00Z"},
		{what: "the same, exclusive", target: Target{Time: noon.Add(time.Hour), Exclusive: true}, want: late},
		{what: "a time after all", target: Target{Time: noon.Add(2 * time.Hour)}, says: "does not reach"},
		{what: "a time, with no commit behind the base copy", target: Target{Time: noon}, from: late + 8, says: "does not reach"},
		{what: "a transaction", target: Target{XID: 700}, want: commit},
		{what: "a transaction of before the base copy", target: Target{XID: 700}, from: point, says: "neither committed nor aborted"},
		{what: "an aborted transaction", target: Target{XID: 701}, want: commit + 48},
		{what: "a transaction that is not there", target: Target{XID: 800}, says: "neither committed nor aborted"},
		{what: "a transaction beyond where the search ends", target: Target{XID: 702}, up: point, says: "does not reach"},
		{what: "a restore point", target: Target{Name: "before"}, want: point},
		{what: "a part of its name", target: Target{Name: "befor"}, says: "does not reach"},
		{what: "an LSN", target: Target{LSN: point}, want: point},
		{what: "an LSN within a record", target: Target{LSN: commit + 8}, want: commit + 48},
		{what: "an LSN beyond the end", target: Target{LSN: 9 << 20}, says: "has arrived here"},
	} {
		from := max(test.from, b.base)
		got, err := route.Reach(context.Background(), test.target, from, test.up)
		switch {
		case test.want == 0 && !errors.Is(err, ErrNotReached):
			t.Errorf("%s: got %s, %v; want that it is not reached", test.what, got.At, err)
		case test.want == 0 && !strings.Contains(full(err), test.says):
			t.Errorf("%s: got %q, want %q", test.what, full(err), test.says)
		case test.want != 0 && (err != nil || got.At != test.want):
			t.Errorf("%s: got %s, %v; want %s", test.what, got.At, err, test.want)
		}
	}
}

// TestReachEnd: the end of the archive is that of its records up to the first
// segment that is missing, and the last transaction is found though it lies
// segments back.
func TestReachEnd(t *testing.T) {
	b, _, _, late := threeSegments()
	dir := b.save(t)
	route, err := openTestArchive(t, dir).Route(0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := route.Reach(context.Background(), Target{}, b.base, 0)
	if err != nil || got.At != b.name(2).End(b.size) || got.Last.At != late || got.Last.XID != 702 || !got.Last.Time.Equal(noon.Add(time.Hour)) {
		t.Errorf("got %+v, %v; want the end of %s and transaction 702", got, err, b.name(2))
	}
	if last, found, err := route.LastBefore(context.Background(), late, b.base); err != nil || !found || last.XID != 701 {
		t.Errorf("before %s: got %+v, %v, %v; want transaction 701", late, last, found, err)
	}
	if err := os.Remove(filepath.Join(dir, string(b.name(1)))); err != nil {
		t.Fatal(err)
	}
	if route, err = openTestArchive(t, dir).Route(0); err != nil {
		t.Fatal(err)
	}
	if got, err = route.Reach(context.Background(), Target{}, b.base, 0); err != nil || got.Last.XID != 701 {
		t.Errorf("with a gap: got %+v, %v; want to end before it, at transaction 701", got, err)
	}
	if _, err = route.Reach(context.Background(), Target{}, b.name(1).Start(b.size), 0); !errors.Is(err, ErrNotReached) || !strings.Contains(err.Error(), string(b.name(1))+" is missing") {
		t.Errorf("from a missing segment on: got %v, want to be told that %s is missing", err, b.name(1))
	}
}

// TestRoute follows a history: WAL of the old timeline counts up to where it
// was left, and another timeline is none of it.
func TestRoute(t *testing.T) {
	b, _, _, _ := threeSegments()
	dir := b.save(t)
	fork := b.name(2).Start(b.size)
	writeFile(t, filepath.Join(dir, "00000002.history"), []byte("1\t"+fork.String()+"\tno recovery target specified\n"))
	archive := openTestArchive(t, dir)
	newest, err := archive.Route(0)
	if err != nil || newest.Timeline != 2 {
		t.Fatalf("got timeline %d, %v; want the newest, 2", newest.Timeline, err)
	}
	if !newest.Passes(1, fork) || newest.Passes(1, fork+1) || !newest.Passes(2, fork+1) || newest.Passes(3, 0) {
		t.Errorf("the way to timeline 2 comes by timeline 1 up to %s and no further", fork)
	}
	if last, missing := newest.Last(b.base); last != b.name(1) || missing != b.name(2).OnTimeline(2) {
		t.Errorf("got %s and %s, want %s and then timeline 2's own", last, missing, b.name(1))
	}
	old, err := archive.Route(1)
	if err != nil {
		t.Fatal(err)
	}
	if last, _ := old.Last(b.base); last != b.name(2) {
		t.Errorf("on timeline 1: got %s, want %s", last, b.name(2))
	}
	if _, err := archive.Route(7); err == nil || !strings.Contains(err.Error(), "it has no 00000007.history") {
		t.Errorf("timeline 7: got %v, want that it is not known", err)
	}
}

func TestTargetCheck(t *testing.T) {
	for _, test := range []struct {
		target Target
		says   string
	}{
		{Target{}, ""},
		{Target{Name: "a restore point"}, ""},
		{Target{LSN: 1, XID: 1}, "one target"},
		{Target{Name: strings.Repeat("x", restoreNameSize)}, "shorter than 64 bytes"},
		{Target{Name: "two\nlines"}, "one line"},
	} {
		err := test.target.Check()
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v: got %v, want %q", test.target, err, test.says)
		}
	}
}

// TestPins: WAL that a kept base copy needs stays, whatever the server's restart
// point, until the pin is taken back; a damaged pin keeps everything.
func TestPins(t *testing.T) {
	s := newRestoreSite(t, "standby.signal")
	s.fill(5)
	archive := &Archive{dir: s.archive}
	serve := func(number uint64) {
		s.serve(number, func(r *RestoreRequest) { r.Redo = redo(4) })
	}
	for name, number := range map[string]uint64{"old": 2, "new": 3} {
		if err := archive.Pin(name, redo(number).Segment()); err != nil {
			t.Fatal(err)
		}
	}
	serve(5)
	if got, want := s.left(), "1/2 1/3 1/4 1/5"; got != want {
		t.Errorf("with a pin: left %s, want %s", got, want)
	}
	if err := archive.Unpin("old"); err != nil {
		t.Fatal(err)
	}
	path := archive.state(pinDir, "damaged")
	s.write(path, []byte("{"))
	serve(5)
	if got, want := s.left(), "1/2 1/3 1/4 1/5"; got != want {
		t.Errorf("with a damaged pin: left %s, want %s", got, want)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	serve(5)
	if got, want := s.left(), "1/3 1/4 1/5"; got != want {
		t.Errorf("one pin taken back: left %s, want %s", got, want)
	}
	for _, name := range []string{"", "../outside", ".hidden"} {
		if archive.Pin(name, redo(1).Segment()) == nil {
			t.Errorf("%q was taken for a name", name)
		}
	}
}
