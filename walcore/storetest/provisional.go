package storetest

import (
	"strings"

	"github.com/warmrun/warmrun/walcore"
)

// halfway is a segment that ends with a shutdown checkpoint in its middle, the
// same one after its server went on writing, and the end between the two.
func halfway(name walcore.SegmentName, tail byte) (half, whole []byte, end walcore.LSN) {
	half, end = Segment{Name: name, Ending: Shutdown, Tail: tail}.Build()
	whole, _ = Continue(name, half, end, Full)
	return half, whole, end
}

// zeroed is what a provisional segment is stored as.
func zeroed(name walcore.SegmentName, data []byte, end walcore.LSN) []byte {
	out := make([]byte, len(data))
	copy(out, data[:end-name.Start(Small)])
	return out
}

func provisionalThenWhole(t *tester) {
	name := walcore.FileName(one)
	half, whole, end := halfway(one, 0xEE)
	t.mustPut(name, half, end, stored(half))
	t.holds(name, zeroed(one, half, end), end)
	t.mustPut(name, half, end, identical)
	t.mustPut(name, whole, 0, walcore.PutResult{Replaced: true, Bytes: int64(len(whole))})
	t.holds(name, whole, 0)
	t.mustPut(name, whole, 0, identical)
	t.mustPut(name, half, end, identical)
	t.holds(name, whole, 0)
}

func provisionalThenOther(t *tester) {
	name := walcore.FileName(one)
	half, _, end := halfway(one, 0)
	t.mustPut(name, half, end, stored(half))
	other := build(Segment{Name: one, Seed: 5})
	t.refused(name, other, 0, walcore.ReasonDifferent)
	t.holds(name, half, end)
}

func provisionalAfterWhole(t *tester) {
	name := walcore.FileName(one)
	half, whole, end := halfway(one, 0)
	t.mustPut(name, whole, 0, stored(whole))
	t.mustPut(name, half, end, identical)
	t.holds(name, whole, 0)
	other, otherEnd := Segment{Name: one, Ending: Shutdown, Seed: 5}.Build()
	t.refused(name, other, otherEnd, walcore.ReasonDifferent)
}

func provisionalThenMore(t *tester) {
	name := walcore.FileName(one)
	half, whole, end := halfway(one, 0)
	more, moreEnd := Continue(one, half, end, Shutdown)
	t.mustPut(name, half, end, stored(half))
	t.mustPut(name, more, moreEnd, walcore.PutResult{Replaced: true, Bytes: int64(len(more))})
	t.holds(name, more, moreEnd)
	t.mustPut(name, half, end, identical)
	t.holds(name, more, moreEnd)
	t.refused(name, whole, 0, walcore.ReasonDifferent)
}

func provisionalWrongEnd(t *tester) {
	name := walcore.FileName(one)
	half, _, end := halfway(one, 0)
	t.refused(name, half, end+64, walcore.ReasonCorrupt)
	t.refused(name, half, end-8, walcore.ReasonCorrupt)
	for _, outside := range []walcore.LSN{one.Start(Small), one.End(Small) + 8} {
		if _, err := t.put(name, half, outside); err == nil {
			t.Errorf("provisional up to %s, outside of the segment: got no error", outside)
		}
	}
	if _, err := t.put("00000002.history", []byte("1\t0/180000\tx\n"), end); err == nil {
		t.Error("a provisional history: got no error")
	}
	full := build(Segment{Name: two})
	t.mustPut(walcore.FileName(two), full, two.End(Small), stored(full))
	t.holds(walcore.FileName(two), full, 0)
}

func sameBytesBehindFence(t *tester) {
	data := build(Segment{Name: two})
	t.mustPut(walcore.FileName(two), data, 0, stored(data))
	if err := t.store.RaiseFence(t.Context(), walcore.Cut{Epoch: 1, Timeline: 1, LSN: two.Start(Small), By: "db2"}); err != nil {
		t.Fatal(err)
	}
	t.mustPut(walcore.FileName(two), data, 0, identical)
	t.refused(walcore.FileName(two), build(Segment{Name: two, Seed: 1}), 0, walcore.ReasonFenced)
}

func fence(t *tester) {
	half, whole, end := halfway(two, 0)
	if err := t.store.RaiseFence(t.Context(), walcore.Cut{Epoch: 4, Timeline: 1, LSN: end, By: "db2"}); err != nil {
		t.Fatal(err)
	}
	// Before the cut, up to it, across it, past it; and another timeline.
	first := build(Segment{Name: one})
	t.mustPut(walcore.FileName(one), first, 0, stored(first))
	refused := t.refused(walcore.FileName(two), whole, 0, walcore.ReasonFenced)
	for _, want := range []string{end.String(), "epoch 4", "db2", "0/300000"} {
		if !strings.Contains(refused.Detail, want) {
			t.Errorf("the refusal does not say %q: %s", want, refused.Detail)
		}
	}
	t.mustPut(walcore.FileName(two), half, end, stored(half))
	t.refused(walcore.FileName(two), whole, 0, walcore.ReasonFenced)
	t.refused(walcore.FileName(three), build(Segment{Name: three}), 0, walcore.ReasonFenced)
	newer := build(Segment{Name: three.OnTimeline(2)})
	t.mustPut(walcore.FileName(three.OnTimeline(2)), newer, 0, stored(newer))

	// Damage before the cut must not hide what lies behind it.
	if err := t.store.RaiseFence(t.Context(), walcore.Cut{Epoch: 5, Timeline: 2, LSN: two.End(Small) + walcore.LSN(2*Small) - 4096, By: "db1"}); err != nil {
		t.Fatal(err)
	}
	four := walcore.SegmentName("000000020000000000000004")
	damaged := build(Segment{Name: four})
	damaged[len(damaged)/4] ^= 1
	t.refused(walcore.FileName(four), damaged, 0, walcore.ReasonCorrupt)
}
