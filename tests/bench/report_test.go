package main

import (
	"slices"
	"strings"
	"testing"
)

func TestPercentile(t *testing.T) {
	for _, test := range []struct {
		values  []float64
		percent int
		want    float64
	}{
		{nil, 50, 0},
		{[]float64{3}, 50, 3},
		{[]float64{3}, 99, 3},
		{[]float64{4, 1}, 50, 2.5},
		{[]float64{9, 1, 5}, 50, 5},
		{[]float64{9, 1, 5}, 99, 9},
	} {
		if got := percentile(test.values, test.percent); got != test.want {
			t.Errorf("percentile %d of %v is %v, want %v", test.percent, test.values, got, test.want)
		}
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	if got := percentile(hundred, 99); got != 99 {
		t.Errorf("percentile 99 of 1 to 100 is %v, want 99", got)
	}
}

// TestRatio: above 1 warmrun is better, whether more is better or less; and a
// round that was slow for all changes nothing.
func TestRatio(t *testing.T) {
	for _, higher := range []bool{true, false} {
		rows := []row{
			{Who: us, Unit: "x", higher: higher, Values: []float64{10, 1, 10}},
			{Who: "peer", Unit: "x", higher: higher, Values: []float64{5, 0.5, 5}},
		}
		finish(rows)
		want := 2.0
		if !higher {
			want = 0.5
		}
		if got := rows[1].Ratio; got != want {
			t.Errorf("higher %v: ratio %v, want %v", higher, got, want)
		}
		if rows[0].Ratio != 0 {
			t.Errorf("warmrun has the ratio %v to itself", rows[0].Ratio)
		}
	}
}

// TestTurns: everyone has a turn in each round, and nobody is always first.
func TestTurns(t *testing.T) {
	first := map[int]bool{}
	for round := range 6 {
		order := turns(3, round)
		first[order[0]] = true
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int{0, 1, 2}) {
			t.Errorf("round %d is %v", round, order)
		}
	}
	if len(first) != 3 {
		t.Errorf("only %v ever begin a round", first)
	}
}

func TestTable(t *testing.T) {
	rows := []row{
		{Who: us, Cipher: "aes128-gcm", Unit: "ms", Values: []float64{1.5}},
		{Who: "cp, sync, mv, sync", Cipher: "-", Unit: "ms", Values: []float64{30}},
	}
	finish(rows)
	var out strings.Builder
	printTable(&out, rows)
	want := `                    cipher        ms  n  warmrun
warmrun             aes128-gcm  1.50  1
cp, sync, mv, sync  -           30.0  1   20.00x
`
	if out.String() != want {
		t.Errorf("table is\n%s\nwant\n%s", out.String(), want)
	}
}

func TestRestoredName(t *testing.T) {
	name, ok := restoredName(`LOG:  restored log file "00000001000000000000000A" from archive`)
	if !ok || name != "00000001000000000000000A" {
		t.Errorf("got %q, %v", name, ok)
	}
	for _, line := range []string{"", `LOG:  restored log file "00000002.history" from archive`, "LOG:  restored log file"} {
		if name, ok := restoredName(line); ok {
			t.Errorf("%q names the segment %q", line, name)
		}
	}
}
