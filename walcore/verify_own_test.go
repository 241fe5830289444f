package walcore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestVerifyOwnTimeline: a node that was the primary between two others has no
// archive of what it wrote then. That is a note, for it alone, and whatever else is
// missing is found as before.
func TestVerifyOwnTimeline(t *testing.T) {
	w := newTwoTimelines()
	b := w.b
	left := b.at
	forked := uint64(b.segments()) // the third timeline begins in this one
	b.timeline = 3
	b.add(rmgrXLOG, 0x90, 20)
	b.other(30_000)
	b.switchSegment()
	b.other(10)
	b.switchSegment()
	for i := int(forked); i < b.segments(); i++ {
		w.files[string(b.name(i))] = b.segment(i)
	}
	w.files["00000003.history"] = fmt.Appendf(nil, "1\t%s\tx\n2\t%s\ty\n", w.fork, left)
	first, last := uint64(w.fork)>>20, uint64(left)>>20-1
	received := func(files map[string][]byte) {
		maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.HasPrefix(name, "00000002") })
	}
	own := []Cut{{Epoch: 1, Timeline: 1, LSN: w.fork, By: "switchover on db2"}}
	missing := "missing 2/" + fmt.Sprint(first)
	for _, test := range []struct {
		name    string
		request VerifyRequest
		want    string
		noted   bool
	}{
		{"the archive of any node", VerifyRequest{}, missing, false},
		{"its own", VerifyRequest{Own: own}, "", true},
		{"its own, to the newest timeline", VerifyRequest{Own: own, Timeline: 3}, "", true},
		{"the cut was put behind the end", VerifyRequest{Own: []Cut{{Timeline: 1, LSN: w.fork + 400}}}, "", true},
		{"of another promotion", VerifyRequest{Own: []Cut{{Timeline: 2, LSN: left}}}, missing, false},
		{"of a branch that was left before", VerifyRequest{Own: []Cut{{Timeline: 1, LSN: w.fork - 400}}}, missing, false},
		{"one of them is asked for", VerifyRequest{Own: own, From: MakeSegmentName(2, first, b.size)}, missing, false},
		{"all up to one of them is asked for", VerifyRequest{Own: own, Timeline: 2, To: MakeSegmentName(2, last, b.size)}, missing, false},
	} {
		r := verify(t, w.archive(t, received), test.request)
		if got := brief(r.Findings); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		noted := slices.ContainsFunc(r.Notes, func(f Finding) bool {
			return f.File == w.segment(2, first) && strings.Contains(f.Detail, "this node wrote timeline 2 itself")
		})
		if noted != test.noted {
			t.Errorf("%s: got the notes %v, want one on what was not looked at: %v", test.name, r.Notes, test.noted)
		}
	}
	listing, err := w.archive(t, received).Listing()
	if err != nil {
		t.Fatal(err)
	}
	listing.MarkOwn(own)
	for _, l := range listing.Timelines {
		if l.Own != (l.Timeline == 2) || (len(l.Gaps) > 0) != l.Own {
			t.Errorf("the listing says of timeline %d: own %v, gaps %v", l.Timeline, l.Own, l.Gaps)
		}
	}
	gap := w.segment(1, first-2)
	r := verify(t, w.archive(t, func(files map[string][]byte) { received(files); delete(files, gap) }), VerifyRequest{Own: own})
	if got, want := brief(r.Findings), fmt.Sprintf("missing 1/%d", first-2); got != want {
		t.Errorf("with a real gap before: got %q, want %q", got, want)
	}
}
