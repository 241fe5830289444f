package ship

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/storetest"
)

// walDir makes a pg_wal: names with "+" in front are ready to be archived.
func walDir(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		name, ready := strings.CutPrefix(name, "+")
		writeFile(t, filepath.Join(dir, name), data)
		status := name + ".done"
		if ready {
			status = name + ".ready"
		}
		writeFile(t, filepath.Join(dir, "archive_status", status), nil)
	}
	return dir
}

func TestShipWALDir(t *testing.T) {
	half, end := storetest.Segment{Name: seg3, Ending: storetest.Shutdown, Tail: 0x77}.Build()
	whole := func(name walcore.SegmentName) []byte { return segment(storetest.Segment{Name: name}) }
	recycled := whole(seg1) // under a name of the future
	full := map[string][]byte{
		string(seg1): whole(seg1), "+" + string(seg2): whole(seg2), string(seg3): half, string(seg4): recycled,
	}
	without := func(drop walcore.SegmentName) map[string][]byte {
		files := map[string][]byte{}
		for name, data := range full {
			if !strings.HasSuffix(name, string(drop)) {
				files[name] = data
			}
		}
		return files
	}
	tests := []struct {
		name  string
		there []walcore.SegmentName // in the archive before
		files map[string][]byte
		upTo  walcore.LSN
		want  []walcore.SegmentName
		fails string
	}{
		{"empty archive", nil, full, end, []walcore.SegmentName{seg1, seg2, seg3}, ""},
		{"from the archive's end", []walcore.SegmentName{seg1}, full, end, []walcore.SegmentName{seg1, seg2, seg3}, ""},
		{"all but the last", []walcore.SegmentName{seg1, seg2}, full, end, []walcore.SegmentName{seg2, seg3}, ""},
		{"to the end of a segment", []walcore.SegmentName{seg1}, full, seg2.End(storetest.Small), []walcore.SegmentName{seg1, seg2}, ""},
		{"a segment is nowhere", []walcore.SegmentName{seg1}, without(seg2), end, nil, "neither"},
		{"the last is not there", nil, without(seg3), end, nil, "is not in"},
		{"the last ends early", nil, full, end + 800, nil, "its WAL ends at " + end.String()},
		{"recycled", nil, full, seg4.Start(storetest.Small) + 800, nil, "is not the segment of that name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newArchive(t)
			fill(t, a, tt.there...)
			var out bytes.Buffer
			got, err := ShipWALDir(t.Context(), connectTo(t, a), walDir(t, tt.files), 0, tt.upTo, 1, walcore.Identity{SystemID: storetest.SystemID, SegmentSize: storetest.Small}, &out)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got error %v, want %q", err, tt.fails)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Fatalf("got %v, %v, want %v", got, err, tt.want)
			}
			if strings.Contains(listed(t, a), string(seg4)) {
				t.Error("a recycled segment was shipped")
			}
			chain, err := a.Chain("")
			if err != nil || chain.End != tt.upTo {
				t.Errorf("got the chain %+v, %v, want the end %s", chain, err, tt.upTo)
			}
		})
	}
}

// TestShipWALDirBehindAnOldGap: the destination was the primary of timeline 2
// and wrote that WAL itself, so its archive lacks it. What it has replayed is
// not asked for; what lies behind that is.
func TestShipWALDirBehindAnOldGap(t *testing.T) {
	const size = storetest.Small
	seg5 := seg4.Next(size)
	half, end := storetest.Segment{Name: seg5.OnTimeline(3), Ending: storetest.Shutdown}.Build()
	histories := map[walcore.FileName][]byte{
		tli2:               []byte("1\t0/200000\tx\n"),
		"00000003.history": []byte("1\t0/200000\tx\n2\t0/400000\tx\n"),
	}
	files := map[string][]byte{
		string(seg4.OnTimeline(3)): segment(storetest.Segment{Name: seg4.OnTimeline(3)}),
		string(seg5.OnTimeline(3)): half,
	}
	for name, data := range histories {
		files[string(name)] = data
	}
	tests := []struct {
		name  string
		from  walcore.LSN
		fails string
	}{
		{"replayed", seg4.Start(size) + 0x28, ""},
		{"replayed further than here", end + 0x1000, ""},
		{"not replayed", seg3.Start(size) + 0x28, "neither"},
		{"unknown", 0, "neither"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newArchive(t)
			fill(t, a, seg1)
			for name, data := range histories {
				mustPut(t, a, name, data, 0)
			}
			var out bytes.Buffer
			_, err := ShipWALDir(t.Context(), connectTo(t, a), walDir(t, files), tt.from, end, 3, walcore.Identity{SegmentSize: size}, &out)
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got error %v, want %q", err, tt.fails)
			}
		})
	}
}

// TestShipWALDirOfADeadBranch: the archive is on a timeline that left this one
// before its end. Nothing is sent, and it is no success. One that left it at the
// end took everything.
func TestShipWALDirOfADeadBranch(t *testing.T) {
	half, end := storetest.Segment{Name: seg3, Ending: storetest.Shutdown}.Build()
	dir := walDir(t, map[string][]byte{
		string(seg1): segment(storetest.Segment{Name: seg1}), "+" + string(seg2): segment(storetest.Segment{Name: seg2}), string(seg3): half,
	})
	tests := []struct {
		name, history string
		also          walcore.SegmentName
		fails         string
	}{
		{"left before the end", "1\t0/280000\tx\n", "", "left timeline 1 at 0/280000, before the end of this WAL at " + end.String()},
		{"left at the end", "1\t" + end.String() + "\tx\n", "", ""},
		{"no history", "", seg3.OnTimeline(2), "cannot be told"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newArchive(t)
			fill(t, a, seg1)
			if tt.history != "" {
				mustPut(t, a, tli2, []byte(tt.history), 0)
			}
			if tt.also != "" {
				fill(t, a, tt.also)
			}
			before := listed(t, a)
			var out bytes.Buffer
			_, err := ShipWALDir(t.Context(), connectTo(t, a), dir, 0, end, 1, walcore.Identity{SegmentSize: storetest.Small}, &out)
			if tt.fails == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got error %v, want %q", err, tt.fails)
			}
			if got := listed(t, a); got != before {
				t.Errorf("the archive had %s and has %s: something was sent", before, got)
			}
		})
	}
}

// TestShipWALDirMendsAGap: a segment that the archive lacks behind what was
// replayed is sent, although the archive's WAL goes on after it.
func TestShipWALDirMendsAGap(t *testing.T) {
	half, end := storetest.Segment{Name: seg4, Ending: storetest.Shutdown}.Build()
	a := newArchive(t)
	fill(t, a, seg1, seg3)
	dir := walDir(t, map[string][]byte{
		string(seg2): segment(storetest.Segment{Name: seg2}), string(seg3): segment(storetest.Segment{Name: seg3}), string(seg4): half,
	})
	var out bytes.Buffer
	_, err := ShipWALDir(t.Context(), connectTo(t, a), dir, seg1.Start(storetest.Small)+0x28, end, 1, walcore.Identity{SegmentSize: storetest.Small}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := listed(t, a), join(string(seg1), string(seg2), string(seg3), string(seg4)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestShipWALDirOfASecondTimeline(t *testing.T) {
	half, end := storetest.Segment{Name: seg3.OnTimeline(2), Ending: storetest.Shutdown}.Build()
	dir := walDir(t, map[string][]byte{
		string(tli2):                             []byte("1\t0/280000\tx\n"),
		string(seg1):                             segment(storetest.Segment{Name: seg1}),
		"+" + string(seg2):                       segment(storetest.Segment{Name: seg2}),
		"+" + string(seg2) + ".partial":          segment(storetest.Segment{Name: seg2}),
		"+" + string(seg2) + ".00000028.backup":  []byte("START WAL LOCATION: 0/100028\n"),
		string(seg1) + ".00000028.backup":        []byte("START WAL LOCATION: 0/100028\n"),
		"+" + string(seg2.OnTimeline(2)):         segment(storetest.Segment{Name: seg2.OnTimeline(2)}),
		string(seg3.OnTimeline(2)):               half,
		string(seg4.OnTimeline(2)):               segment(storetest.Segment{Name: seg1}),
		string(seg4):                             segment(storetest.Segment{Name: seg4}),
		"xlogtemp.1234":                          nil,
		"00000003.history.tmp":                   nil,
		string(seg3.OnTimeline(2)) + ".00000028": nil,
	})
	a := newArchive(t)
	fill(t, a, "000000010000000000000000")
	// The old timeline was cut at the fork: its last segment is told of and left.
	if err := a.RaiseFence(walcore.Cut{Timeline: 1, LSN: 0x280000, By: "db1"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	got, err := ShipWALDir(t.Context(), connectTo(t, a), dir, 0, end, 2, walcore.Identity{SegmentSize: storetest.Small}, &out)
	want := []walcore.SegmentName{seg1, seg2.OnTimeline(2), seg3.OnTimeline(2)}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if !strings.Contains(out.String(), "warning: left in "+dir) || !strings.Contains(out.String(), "(up to "+end.String()+")") {
		t.Errorf("got %q, want a warning and the provisional segment", out.String())
	}
	names := join("000000010000000000000000", string(seg1), string(seg2)+".00000028.backup", string(seg2)+".partial", string(tli2), string(seg2.OnTimeline(2)), string(seg3.OnTimeline(2)))
	if got := listed(t, a); got != names {
		t.Errorf("got %s, want %s", got, names)
	}
	if at, provisional, err := a.Provisional(seg3.OnTimeline(2)); err != nil || !provisional || at != end {
		t.Errorf("got provisional %v up to %s, %v, want %s", provisional, at, err, end)
	}
}
