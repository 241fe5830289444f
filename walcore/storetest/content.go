package storetest

import (
	"slices"
	"strings"

	"github.com/warmrun/warmrun/walcore"
)

func otherBytes(t *tester) {
	name := walcore.FileName(one)
	t.mustPut(name, build(Segment{Name: one}), 0, stored(build(Segment{Name: one})))
	refused := t.refused(name, build(Segment{Name: one, Seed: 7}), 0, walcore.ReasonDifferent)
	for _, want := range []string{"timeline 1", "0/1", "0/2"} {
		if !strings.Contains(refused.Detail, want) {
			t.Errorf("the refusal does not say %q: %s", want, refused.Detail)
		}
	}
}

func beyondSwitch(t *tester) {
	name := walcore.FileName(one)
	data := build(Segment{Name: one, Ending: Switch})
	t.mustPut(name, data, 0, stored(data))
	t.mustPut(name, build(Segment{Name: one, Ending: Switch, Tail: 0xAA}), 0, identical)
	t.holds(name, data, 0)
	t.refused(name, build(Segment{Name: one, Ending: Switch, Until: 100_000}), 0, walcore.ReasonDifferent)
	// The same end, but not the same records on the way there.
	other := build(Segment{Name: one, Ending: Switch})
	other[40]++
	t.refused(name, other, 0, walcore.ReasonDifferent)
}

func flippedBit(t *tester) {
	name := walcore.FileName(one)
	good := build(Segment{Name: one, Ending: Switch})
	bad := slices.Clone(good)
	bad[len(bad)/4] ^= 1
	t.mustPut(name, bad, 0, stored(bad))
	t.refused(name, good, 0, walcore.ReasonDifferent)

	// Both end at the same flipped bit, and still neither is a true end.
	left := build(Segment{Name: two})
	right := slices.Clone(left)
	left[len(left)/4] ^= 1
	right[len(right)/4] ^= 2
	t.mustPut(walcore.FileName(two), left, 0, stored(left))
	t.refused(walcore.FileName(two), right, 0, walcore.ReasonDifferent)
}

func shutdownEnd(t *tester) {
	name := walcore.FileName(one)
	data := build(Segment{Name: one, Ending: Shutdown})
	t.mustPut(name, data, 0, stored(data))
	t.mustPut(name, build(Segment{Name: one, Ending: Shutdown, Tail: 0x55}), 0, identical)
	// An ordinary record may have one after it: not an end to trust.
	open := build(Segment{Name: two, Ending: Cut})
	t.mustPut(walcore.FileName(two), open, 0, stored(open))
	t.refused(walcore.FileName(two), build(Segment{Name: two, Ending: Cut, Tail: 0x55}), 0, walcore.ReasonDifferent)
}

func wholeSegmentsOnly(t *tester) {
	data := build(Segment{Name: one})
	name := walcore.FileName(one)
	t.refused(name, data[:len(data)/2], 0, walcore.ReasonSize)
	t.refused(name, data[:100], 0, walcore.ReasonSize)
	t.refused(name, nil, 0, walcore.ReasonSize)
	t.refused(name+".partial", data[:8192], 0, walcore.ReasonSize)
	// A size that a segment can have, and not this one.
	t.refused(name, append(slices.Clone(data), make([]byte, len(data))...), 0, walcore.ReasonSize)
	t.mustPut(name, data, 0, stored(data))
	big := Segment{Name: two, Size: 2 * Small}
	t.refused(walcore.FileName(two), build(big), 0, walcore.ReasonSize)
}

func anotherCluster(t *tester) {
	data := build(Segment{Name: one})
	t.mustPut(walcore.FileName(one), data, 0, stored(data))
	foreign := build(Segment{Name: two, SystemID: 42})
	refused := t.refused(walcore.FileName(two), foreign, 0, walcore.ReasonCluster)
	if !strings.Contains(refused.Detail, "42") || !strings.Contains(refused.Detail, "7301234567890123456") {
		t.Errorf("the refusal does not name both clusters: %s", refused.Detail)
	}
	t.refused(walcore.FileName(two)+".partial", foreign, 0, walcore.ReasonCluster)
}

func anotherName(t *tester) {
	t.refused(walcore.FileName(two), build(Segment{Name: one}), 0, walcore.ReasonHeader)
	t.refused(walcore.FileName(two), make([]byte, Small), 0, walcore.ReasonHeader)
	t.refused(walcore.FileName(two), build(Segment{Name: two, Timeline: 3}), 0, walcore.ReasonHeader)
	// The first segment of a new timeline begins as a copy of the old one's.
	data := build(Segment{Name: two.OnTimeline(4), Timeline: 3})
	t.mustPut(walcore.FileName(two.OnTimeline(4)), data, 0, stored(data))
}

func histories(t *tester) {
	good := []byte("1\t0/180000\tno recovery target specified\n")
	t.mustPut("00000002.history", good, 0, stored(good))
	t.mustPut("00000002.history", good, 0, identical)
	t.refused("00000002.history", []byte("1\t0/190000\tno recovery target specified\n"), 0, walcore.ReasonDifferent)
	t.refused("00000002.history", append(good, '\n'), 0, walcore.ReasonDifferent)
	t.refused("00000003.history", []byte("what is this"), 0, walcore.ReasonCorrupt)
	// No history is held back by a fence.
	if err := t.store.RaiseFence(t.Context(), walcore.Cut{Epoch: 1, Timeline: 1, LSN: 1, By: "db2"}); err != nil {
		t.Fatal(err)
	}
	t.mustPut("00000003.history", good, 0, stored(good))
}

func partials(t *tester) {
	name := walcore.FileName(two) + ".partial"
	data := build(Segment{Name: two, Ending: Cut})
	if err := t.store.RaiseFence(t.Context(), walcore.Cut{Epoch: 1, Timeline: 1, LSN: one.Start(Small) + 8, By: "db2"}); err != nil {
		t.Fatal(err)
	}
	t.mustPut(name, data, 0, stored(data))
	t.mustPut(name, data, 0, identical)
	t.mustPut(name, build(Segment{Name: two, Ending: Cut, Tail: 9}), 0, identical)
	t.refused(name, build(Segment{Name: two, Ending: Cut, Seed: 9}), 0, walcore.ReasonDifferent)
}
