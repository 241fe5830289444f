package walcore

import (
	"slices"
	"testing"
	"time"
)

// How long a server was busy with a segment is the time from its getting it to
// its first question for one further on.
func TestReplayed(t *testing.T) {
	const six, seven = SegmentName("000000010000000000000006"), SegmentName("000000010000000000000007")
	served := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		state Wanted
		asks  FileName
		want  []time.Duration
	}{
		{"the next one", Wanted{LastServed: six, ServedAt: served}, FileName(seven), []time.Duration{time.Second}},
		{"the next one on a new timeline", Wanted{LastServed: six, ServedAt: served}, "000000020000000000000007", []time.Duration{time.Second}},
		{"asked for before", Wanted{LastServed: six, ServedAt: served, Names: []FileName{FileName(seven)}}, FileName(seven), nil},
		{"the same again", Wanted{LastServed: six, ServedAt: served}, FileName(six), nil},
		{"a history", Wanted{LastServed: six, ServedAt: served}, "00000002.history", nil},
		{"nothing was served", Wanted{}, FileName(seven), nil},
		{"served to an earlier run", Wanted{LastServed: six, ServedAt: served, stopped: true}, FileName(seven), nil},
		{"a clock that was set back", Wanted{LastServed: six, ServedAt: served.Add(time.Hour)}, FileName(seven), nil},
	} {
		test.state.replayed(test.asks, served.Add(time.Second))
		if !slices.Equal(test.state.Replays, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, test.state.Replays, test.want)
		}
	}
	w := Wanted{LastServed: six, ServedAt: served}
	for i := range 3 * maxReplays {
		w.replayed(FileName(seven), served.Add(time.Duration(i)*time.Second))
	}
	if len(w.Replays) != maxReplays || w.Replays[maxReplays-1] != (3*maxReplays-1)*time.Second {
		t.Errorf("got %v, want the newest %d", w.Replays, maxReplays)
	}
}
