package ship

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/hint"
	"github.com/warmrun/warmrun/walcore/storetest"
)

func fill(t *testing.T, a *walcore.Archive, names ...walcore.SegmentName) {
	t.Helper()
	for _, name := range names {
		mustPut(t, a, walcore.FileName(name), segment(storetest.Segment{Name: name}), 0)
	}
}

// relayOnce runs the relay and checks its watermark.
func relayOnce(t *testing.T, from, to *walcore.Archive, files int, mark walcore.SegmentName, fails string) string {
	t.Helper()
	var out bytes.Buffer
	result, err := RelayAll(t.Context(), RelayRequest{From: from, To: connectTo(t, to), Node: "dr", Out: &out})
	if (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
		t.Errorf("got error %v, want %q", err, fails)
	}
	if err != nil && (strings.Contains(err.Error(), "\n") || hint.Of(err) == "") {
		t.Errorf("want one line and a hint, got %q, hint %q", err, hint.Of(err))
	}
	if result.Files != files || result.Watermark != mark {
		t.Errorf("got %d files and watermark %q, want %d, %q", result.Files, result.Watermark, files, mark)
	}
	noted, _, err := from.Watermark()
	if err != nil || mark != "" && noted != mark {
		t.Errorf("got the watermark %q noted, %v, want %q", noted, err, mark)
	}
	return out.String()
}

func TestRelay(t *testing.T) {
	from, to := newArchive(t), newArchive(t)
	relayOnce(t, from, to, 0, "", "")
	fill(t, from, seg1, seg2, seg2.OnTimeline(2))
	mustPut(t, from, tli2, []byte("1\t0/280000\tx\n"), 0)
	mustPut(t, from, walcore.FileName(seg1)+".00000028.backup", []byte("START WAL LOCATION: 0/100028\n"), 0)
	mustPut(t, from, walcore.FileName(seg2)+".partial", segment(storetest.Segment{Name: seg2, Ending: storetest.Cut}), 0)
	// Of the old timeline's last segment the new one has all that it needs.
	out := relayOnce(t, from, to, 5, seg2.OnTimeline(2), "")
	if !strings.HasPrefix(out, string(tli2)+"\n") {
		t.Errorf("got %q, want the history first", out)
	}
	if got, want := listed(t, to), strings.Replace(listed(t, from), string(seg2)+" ", "", 1); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	relayOnce(t, from, to, 0, seg2.OnTimeline(2), "")
	// The same name there, and another promotion.
	mustPut(t, from, "00000009.history", []byte("1\t0/280000\tx\n"), 0)
	mustPut(t, to, "00000009.history", []byte("1\t0/290000\tx\n"), 0)
	relayOnce(t, from, to, 0, "", "different content")
	if err := errors.Join(os.Remove(filepath.Join(from.Dir(), "00000009.history")), os.Remove(filepath.Join(to.Dir(), "00000009.history"))); err != nil {
		t.Fatal(err)
	}
	relayOnce(t, from, to, 0, seg2.OnTimeline(2), "")
	// What was cleaned up here after the relay had it is no gap.
	if err := errors.Join(os.Remove(filepath.Join(from.Dir(), string(seg1))), os.Remove(filepath.Join(from.Dir(), string(seg2)))); err != nil {
		t.Fatal(err)
	}
	fill(t, from, seg3.OnTimeline(2))
	relayOnce(t, from, to, 1, seg3.OnTimeline(2), "")
}

// TestRelayPassesOverWhatWasLost: WAL that a failover has announced as lost stays
// behind in the archive of the node that was down. It is no reason to fail for ever.
func TestRelayPassesOverWhatWasLost(t *testing.T) {
	from, to := newArchive(t), newArchive(t)
	fill(t, from, seg1, seg2, seg3)
	fill(t, to, seg1)
	if err := to.RaiseFence(walcore.Cut{Timeline: 1, LSN: seg2.Start(storetest.Small), By: "failover on dr"}); err != nil {
		t.Fatal(err)
	}
	relayOnce(t, from, to, 0, seg1, "2 files were not taken, the first: "+string(seg2)+" refused: fenced")
	for _, a := range []*walcore.Archive{from, to} {
		mustPut(t, a, tli2, []byte("1\t"+seg2.Start(storetest.Small).String()+"\tx\n"), 0)
	}
	fill(t, from, seg2.OnTimeline(2))
	relayOnce(t, from, to, 1, seg2.OnTimeline(2), "")
}

func TestRelayFindsGaps(t *testing.T) {
	from, to := newArchive(t), newArchive(t)
	fill(t, from, seg1, seg2, seg4)
	relayOnce(t, from, to, 3, seg2, string(seg3)+" is missing after "+string(seg2))
	relayOnce(t, from, to, 0, seg2, string(seg3)+" is missing")
	fill(t, from, seg3)
	relayOnce(t, from, to, 1, seg4, "")
	// The other side lost some: sent again while it is here, else a gap.
	if err := os.Remove(filepath.Join(to.Dir(), string(seg4))); err != nil {
		t.Fatal(err)
	}
	relayOnce(t, from, to, 1, seg4, "")
	if err := errors.Join(os.Remove(filepath.Join(to.Dir(), string(seg4))), os.Remove(filepath.Join(from.Dir(), string(seg4)))); err != nil {
		t.Fatal(err)
	}
	five := seg4.Next(storetest.Small)
	fill(t, from, five)
	relayOnce(t, from, to, 1, "", string(seg4)+" is missing")
	if mark, _, _ := from.Watermark(); mark != seg4 {
		t.Errorf("got watermark %s, want it to stay at %s", mark, seg4)
	}
}

func TestRelayOfProvisional(t *testing.T) {
	from, to := newArchive(t), newArchive(t)
	fill(t, from, seg1)
	half, end := storetest.Segment{Name: seg2, Ending: storetest.Shutdown}.Build()
	mustPut(t, from, walcore.FileName(seg2), half, end)
	relayOnce(t, from, to, 2, seg1, "")
	if got, provisional, err := to.Provisional(seg2); err != nil || !provisional || got != end {
		t.Errorf("got %s, %v, %v, want it provisional up to %s", got, provisional, err, end)
	}
	relayOnce(t, from, to, 0, seg1, "")
	whole, _ := storetest.Continue(seg2, half, end, storetest.Full)
	mustPut(t, from, walcore.FileName(seg2), whole, 0)
	relayOnce(t, from, to, 1, seg2, "")
	if _, provisional, err := to.Provisional(seg2); err != nil || provisional {
		t.Errorf("got provisional=%v, %v, want the whole one", provisional, err)
	}
}

// TestRelayGoesOnAfterRefusal: one file that the other side will not have does
// not keep the rest from it.
func TestRelayGoesOnAfterRefusal(t *testing.T) {
	from, to := newArchive(t), newArchive(t)
	fill(t, from, seg1, seg2, seg3.OnTimeline(2))
	mustPut(t, from, tli2, []byte("1\t0/300000\tx\n"), 0)
	if err := to.RaiseFence(walcore.Cut{Timeline: 1, LSN: seg2.Start(storetest.Small), By: "db2"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err := RelayAll(t.Context(), RelayRequest{From: from, To: connectTo(t, to), Node: "dr", Out: &out})
	var refused *walcore.RefusedError
	if !errors.As(err, &refused) || refused.Name != walcore.FileName(seg2) {
		t.Errorf("got %v, want %s refused", err, seg2)
	}
	if got, want := listed(t, to), join(string(seg1), string(tli2), string(seg3.OnTimeline(2))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRelayFromWhatIsNeeded: gaps count from where the destination's server
// would begin to replay, whatever an old watermark says, and what it has had
// removed is not sent again.
func TestRelayFromWhatIsNeeded(t *testing.T) {
	const size = storetest.Small
	seg5 := seg4.Next(size)
	tests := []struct {
		name        string
		mark        walcore.SegmentName
		from, to    []walcore.SegmentName
		need        walcore.LSN
		files       int
		wantMark    walcore.SegmentName
		fails, want string
	}{
		{"cleaned up there, the old watermark is far behind", seg1, []walcore.SegmentName{seg1, seg2, seg5}, []walcore.SegmentName{seg3, seg4},
			seg3.Start(size) + 0x28, 1, seg5, "", join(string(seg3), string(seg4), string(seg5))},
		{"an old gap before a new base copy", seg1, []walcore.SegmentName{seg4, seg5}, []walcore.SegmentName{seg1, seg2},
			seg4.Start(size) + 0x28, 2, seg5, "", join(string(seg1), string(seg2), string(seg4), string(seg5))},
		{"a gap behind it", "", []walcore.SegmentName{seg5}, []walcore.SegmentName{seg1, seg2, seg3},
			seg2.Start(size) + 0x28, 1, seg3, string(seg4), join(string(seg1), string(seg2), string(seg3), string(seg5))},
		{"one got lost there", seg5, []walcore.SegmentName{seg3, seg4, seg5}, []walcore.SegmentName{seg2, seg3, seg5},
			seg2.Start(size) + 0x28, 1, seg5, "", join(string(seg2), string(seg3), string(seg4), string(seg5))},
		{"needs what is not archived yet", "", []walcore.SegmentName{seg1, seg2}, nil,
			seg3.Start(size) + 0x28, 0, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, to := newArchive(t), newArchive(t)
			fill(t, from, tt.from...)
			fill(t, to, tt.to...)
			if tt.mark != "" {
				if err := from.SetWatermark(tt.mark); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			result, err := RelayAll(t.Context(), RelayRequest{From: from, To: connectTo(t, to), Node: "dr", Need: tt.need, Out: &out})
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got error %v, want %q", err, tt.fails)
			}
			if got := listed(t, to); result.Files != tt.files || result.Watermark != tt.wantMark || got != tt.want {
				t.Errorf("got %d files, watermark %q, and there %s; want %d, %q, %s", result.Files, result.Watermark, got, tt.files, tt.wantMark, tt.want)
			}
		})
	}
}

// TestRelayComparesWithOthers: what this archive does not have, another one or
// the newest history may tell of; the destination must have that, too.
func TestRelayComparesWithOthers(t *testing.T) {
	half, end := storetest.Segment{Name: seg2, Ending: storetest.Shutdown}.Build()
	whole := func(names ...walcore.SegmentName) func(t *testing.T, a *walcore.Archive) {
		return func(t *testing.T, a *walcore.Archive) { fill(t, a, names...) }
	}
	provisional := func(t *testing.T, a *walcore.Archive) {
		fill(t, a, seg1)
		mustPut(t, a, walcore.FileName(seg2), half, end)
	}
	upTo := func(tli walcore.Timeline, name walcore.SegmentName) []Known {
		return []Known{{Node: "db2", Chain: walcore.Chain{Timeline: tli, Newest: name, SegmentSize: storetest.Small}}}
	}
	fork := "1\t" + (seg4.Start(storetest.Small) + 0x28).String() + "\tx\n"
	for _, tt := range []struct {
		name     string
		history  string // of timeline 2, here
		from, to func(*testing.T, *walcore.Archive)
		known    []Known
		fails    []string
	}{
		{"only a history is here, and the fork lies behind the end there", fork, whole(), whole(seg1, seg2), nil,
			[]string{"dr lacks WAL", "it ends at " + seg2.End(storetest.Small).String(), "in " + string(seg2), "timeline 2 begins at " + (seg4.Start(storetest.Small) + 0x28).String()}},
		{"the fork is reached", "1\t" + end.String() + "\tx\n", whole(), provisional, nil, nil},
		{"no server and no WAL there", fork, whole(), whole(), nil, nil},
		{"another archive has more", "", whole(), whole(seg1, seg2), upTo(1, seg4),
			[]string{"dr lacks WAL", "it ends with " + string(seg2), string(seg4) + " is in the archive of db2"}},
		{"another archive has more than the one here", "", whole(seg1, seg2), whole(), upTo(1, seg4), []string{string(seg4) + " is in the archive of db2"}},
		{"another archive has as much", "", whole(seg1, seg2), whole(), upTo(1, seg2), nil},
		{"another archive has more of a timeline that was left", "1\t" + end.String() + "\tx\n", whole(), provisional, upTo(1, seg4), nil},
		{"another archive knows a newer timeline", "", whole(seg1, seg2), whole(), upTo(2, ""), []string{"dr lacks 00000002.history, which is in the archive of db2"}},
		{"the copy there is the beginning of its segment only", "", whole(seg1, seg3), provisional, nil,
			[]string{"the copy of " + string(seg2) + " on dr is provisional and ends at " + end.String() + ", and the rest is missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, to := newArchive(t), newArchive(t)
			if tt.history != "" {
				mustPut(t, from, tli2, []byte(tt.history), 0)
			}
			tt.from(t, from)
			tt.to(t, to)
			_, err := RelayAll(t.Context(), RelayRequest{From: from, To: connectTo(t, to), Node: "dr", Known: tt.known, Out: io.Discard})
			if (err == nil) != (tt.fails == nil) {
				t.Fatalf("got error %v, want %q", err, tt.fails)
			}
			for _, want := range tt.fails {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want %q in it", err, want)
				}
			}
			if err != nil && hint.Of(err) == "" {
				t.Error("no hint")
			}
		})
	}
}
