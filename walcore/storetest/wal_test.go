package storetest

import (
	"bytes"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

func TestBuild(t *testing.T) {
	name := walcore.SegmentName("000000020000000A00000003")
	tests := []struct {
		segment  Segment
		kind     walcore.RecordKind
		complete bool
	}{
		{Segment{Name: name}, walcore.RecordOther, true},
		{Segment{Name: name, Size: 16 << 20, Seed: 200}, walcore.RecordOther, true},
		{Segment{Name: name, Ending: Switch, Tail: 0xFF}, walcore.RecordSwitch, true},
		{Segment{Name: name, Ending: Shutdown, Until: 8000}, walcore.RecordShutdownCheckpoint, false},
		{Segment{Name: name, Ending: Cut, Until: 40000, SameUntil: 20000, Seed: 3}, walcore.RecordOther, false},
	}
	for _, tt := range tests {
		data, end := tt.segment.Build()
		got, err := walcore.ScanSegment(bytes.NewReader(data), name, walcore.Identity{SystemID: SystemID})
		if err != nil {
			t.Errorf("%+v: %v", tt.segment, err)
			continue
		}
		if got.End != end || got.LastKind != tt.kind || got.Complete != tt.complete {
			t.Errorf("%+v: got %+v, want end %s, %s, complete=%v", tt.segment, got, end, tt.kind, tt.complete)
		}
	}
}

func TestContinue(t *testing.T) {
	name := walcore.SegmentName("000000010000000000000007")
	half, end := Segment{Name: name, Ending: Shutdown, Tail: 0xEE}.Build()
	for _, ending := range []Ending{Full, Switch, Shutdown} {
		data, want := Continue(name, half, end, ending)
		got, err := walcore.ScanSegment(bytes.NewReader(data), name, walcore.Identity{})
		if err != nil || got.End != want || got.End <= end {
			t.Errorf("ending %d: got %+v, %v, want WAL up to %s, past %s", ending, got, err, want, end)
		}
		if !bytes.Equal(data[:end-name.Start(Small)], half[:end-name.Start(Small)]) {
			t.Errorf("ending %d: the beginning has changed", ending)
		}
	}
}
