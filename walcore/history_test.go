package walcore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseHistory(t *testing.T) {
	tests := []struct {
		name string
		text string
		of   Timeline
		want History
		err  string
	}{
		{"first promotion", "1\t0/3000158\tno recovery target specified\n", 2,
			History{{1, 0x3000158, "no recovery target specified"}}, ""},
		{"three", "1\t0/3000158\tno recovery target specified\n\n2\tA/5000000\tbefore 2026-11-23 08:13:42.25+00\n\n4\tC/99000020\tat restore point \"x\ty\"", 5,
			History{{1, 0x3000158, "no recovery target specified"}, {2, 0xA_0500_0000, "before 2026-11-23 08:13:42.25+00"}, {4, 0xC_9900_0020, "at restore point \"x\ty\""}}, ""},
		{"comments", "# a comment\n  \n 1 0/10 \r\n", 7, History{{1, 0x10, ""}}, ""},
		{"empty", "", 2, nil, ""},
		{"not growing", "2\t0/1\tx\n1\t0/2\tx\n", 3, nil, "00000003.history line 2: timeline 1 after 2"},
		{"its own ancestor", "2\t0/1\tx\n", 2, nil, "timeline 2 cannot be an ancestor of 2"},
		{"no number", "one\t0/1\tx\n", 2, nil, `line 1: "one" is not a timeline number`},
		{"timeline 0", "0\t0/1\tx\n", 2, nil, `"0" is not a timeline number`},
		{"too large", "4294967296\t0/1\tx\n", 2, nil, "is not a timeline number"},
		{"no switch point", "1\n", 2, nil, "no switch point"},
		{"before 9.3", "1\t000000010000000000000003\tx\n", 2, nil, "is not an LSN"},
		{"too long", strings.Repeat("#\n", maxHistorySize), 2, nil, "longer than"},
	}
	for _, tt := range tests {
		got, err := ParseHistory(strings.NewReader(tt.text), tt.of)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got error %v, want %q", tt.name, err, tt.err)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestHistoryFork(t *testing.T) {
	h := History{{1, 0x100, ""}, {3, 0x200, ""}}
	for _, tt := range []struct {
		parent Timeline
		want   LSN
		ok     bool
	}{{1, 0x100, true}, {2, 0, false}, {3, 0x200, true}, {4, 0, false}} {
		if got, ok := h.Fork(tt.parent); got != tt.want || ok != tt.ok {
			t.Errorf("Fork(%d): got %s %v, want %s %v", uint32(tt.parent), got, ok, tt.want, tt.ok)
		}
	}
	if got := h.Begin(); got != 0x200 {
		t.Errorf("Begin: got %s, want 0/200", got)
	}
	if got := (History)(nil).Begin(); got != 0 {
		t.Errorf("Begin of timeline 1: got %s, want 0/0", got)
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add("1\t0/3000158\tno recovery target specified\n", uint32(2))
	f.Add("# x\n1 0/1\n2 0/2 y", uint32(9))
	f.Fuzz(func(t *testing.T, text string, of uint32) {
		h, err := ParseHistory(strings.NewReader(text), Timeline(of))
		if err != nil {
			return
		}
		var again strings.Builder
		for _, e := range h {
			fmt.Fprintf(&again, "%d\t%s\t%s\n", uint32(e.Timeline), e.End, e.Reason)
		}
		if got, err := ParseHistory(strings.NewReader(again.String()), Timeline(of)); err != nil || !slices.Equal(got, h) {
			t.Errorf("%q: got %+v, then %+v, %v", text, h, got, err)
		}
	})
}
