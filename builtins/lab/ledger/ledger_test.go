package ledger

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSetString(t *testing.T) {
	for _, test := range []struct {
		set  Set
		want string
	}{
		{nil, "none"},
		{SetOf(Span{3, 3}), "3 (1 ids)"},
		{SetOf(Span{5, 9}, Span{1, 2}, Span{3, 4}), "1-9 (9 ids)"},
		{SetOf(Span{5, 4}), "none"},
		{SetOf(Span{1, 1}, Span{3, 3}, Span{5, 5}, Span{7, 7}, Span{9, 9}, Span{11, 20}), "1, 3, 5, 7, 9 and 1 more (15 ids)"},
	} {
		if got := test.set.String(); got != test.want {
			t.Errorf("%v prints %q, want %q", []Span(test.set), got, test.want)
		}
	}
}

// TestSetsAgainstMaps compares the arithmetic with plain maps of ids.
func TestSetsAgainstMaps(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func() ([]Span, map[int64]bool) {
		var spans []Span
		ids := map[int64]bool{}
		for range random.IntN(12) {
			first := random.Int64N(60)
			span := Span{first, first + random.Int64N(8) - 1}
			spans = append(spans, span)
			for id := span.First; id <= span.Last; id++ {
				ids[id] = true
			}
		}
		return spans, ids
	}
	for range 5000 {
		spansA, idsA := draw()
		spansB, idsB := draw()
		limit := random.Int64N(70)
		a, b := SetOf(spansA...), SetOf(spansB...)
		check(t, "set", a, func(id int64) bool { return idsA[id] })
		check(t, "union", a.Union(b), func(id int64) bool { return idsA[id] || idsB[id] })
		check(t, "minus", a.Minus(b), func(id int64) bool { return idsA[id] && !idsB[id] })
		check(t, "below", a.Below(limit), func(id int64) bool { return idsA[id] && id < limit })
		if t.Failed() {
			t.Fatalf("a %v b %v limit %d", spansA, spansB, limit)
		}
	}
}

func check(t *testing.T, what string, got Set, want func(int64) bool) {
	t.Helper()
	ids := map[int64]bool{}
	for i, span := range got {
		if span.Last < span.First || i > 0 && span.First <= got[i-1].Last+1 {
			t.Errorf("%s: %v is not in order", what, []Span(got))
		}
		for id := span.First; id <= span.Last; id++ {
			ids[id] = true
		}
	}
	for id := int64(-1); id < 80; id++ {
		if ids[id] != want(id) {
			t.Errorf("%s: id %d is %v, want %v", what, id, ids[id], want(id))
		}
	}
	if got.Len() != int64(len(ids)) {
		t.Errorf("%s: Len is %d, want %d", what, got.Len(), len(ids))
	}
}

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var spans []Span
	for range 4 {
		span, err := l.send(10)
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, span)
	}
	start := time.Now()
	for i, at := range []time.Duration{0, 300 * time.Millisecond, 200 * time.Millisecond} {
		if err := l.acknowledge(spans[i], start.Add(at), []string{"0/1000", "0/2000", "0/3000"}[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := l.Snapshot()
	if got, want := s.Acknowledged.String(), "1-30 (30 ids)"; got != want {
		t.Errorf("acknowledged %s, want %s", got, want)
	}
	if got, want := s.InDoubt.String(), "31-40 (10 ids)"; got != want {
		t.Errorf("in doubt %s, want %s", got, want)
	}
	if got, want := s.AcknowledgedIf(func(lsn string) bool { return lsn <= "0/2000" }).String(), "1-20 (20 ids)"; got != want {
		t.Errorf("acknowledged up to 0/2000: %s, want %s", got, want)
	}
	if got := l.LongestGap(); got < 300*time.Millisecond {
		t.Errorf("longest gap %s, want at least 300ms", got)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(string(data)), "\n"); len(lines) != 7 || !strings.HasPrefix(lines[6], "acked 21 30 ") {
		t.Errorf("the file holds %q, want 4 lines sent and 3 acked", lines)
	}
}

func TestCompare(t *testing.T) {
	s := Snapshot{Acknowledged: SetOf(Span{1, 20}), InDoubt: SetOf(Span{21, 30}), Next: 41}
	v := s.Compare(SetOf(Span{1, 9}, Span{11, 25}, Span{35, 35}, Span{50, 60}))
	for _, test := range []struct {
		name string
		got  Set
		want Set
	}{
		{"missing", v.Missing, Set{{10, 10}}},
		{"strange", v.Strange, Set{{35, 35}}},
		{"doubtful", v.Doubtful, Set{{21, 25}}},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	if v.Found != 19 {
		t.Errorf("found %d, want 19", v.Found)
	}
}
