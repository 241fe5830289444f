package filesync

import (
	"fmt"
	"testing"
)

// TestLanes: each stream gets small files that follow one another, all are handed out
// once, and a stream that is slow keeps few from the others.
func TestLanes(t *testing.T) {
	t.Parallel()
	const files = 10_000
	source := newCatalog()
	source.add(Entry{Path: ".", Kind: Dir})
	for i := range files {
		source.add(Entry{Path: fmt.Sprintf("%05d", i), Kind: File, Size: 10})
	}
	plan := rules{}.compare(source, false).finish()
	q := newQueue(&plan, 2)
	slow, quick := q.lane(), q.lane()
	seen := map[string]bool{}
	ids := map[uint32]bool{}
	take := func(l *lane) bool {
		j, ok := l.take(10)
		if !ok {
			return false
		}
		if seen[j.entry.Path] || ids[j.id] {
			t.Fatalf("%s was handed out twice, or its number %d", j.entry.Path, j.id)
		}
		seen[j.entry.Path], ids[j.id] = true, true
		return true
	}
	if _, ok := slow.take(9); ok {
		t.Error("a file was handed out that there is no room for")
	}
	for range 10 {
		if !take(slow) || !take(quick) {
			t.Fatal("got nothing, want the next file")
		}
	}
	for _, at := range []int{0, 9, maxAhead, maxAhead + 9} {
		if name := fmt.Sprintf("%05d", at); !seen[name] {
			t.Errorf("%s was not among the first, which should follow one another", name)
		}
	}
	for take(quick) {
	}
	if left := files - len(seen); left != maxAhead-10 {
		t.Errorf("the slow stream keeps %d files, want the %d it was given", left, maxAhead-10)
	}
	for take(slow) {
	}
	if len(seen) != files {
		t.Errorf("%d files were handed out, want %d", len(seen), files)
	}
}

// TestLastLanes: towards the end a stream is given few files.
func TestLastLanes(t *testing.T) {
	t.Parallel()
	source := newCatalog()
	for _, e := range []Entry{{Path: ".", Kind: Dir}, {Path: "a", Kind: File}, {Path: "b", Kind: File}, {Path: "c", Kind: File}, {Path: "d", Kind: File}} {
		source.add(e)
	}
	plan := rules{}.compare(source, false).finish()
	q := newQueue(&plan, 2)
	one, other := q.lane(), q.lane()
	for i, l := range []*lane{one, other, one, other} {
		j, ok := l.take(1)
		if want := string(rune('a' + i)); !ok || j.entry.Path != want {
			t.Fatalf("got %v (%t), want %s", j.entry, ok, want)
		}
	}
	if _, ok := one.take(1); ok {
		t.Error("a fifth file was handed out")
	}
}

// TestLanesBySize: of small files that are not so small a stream is given fewer.
func TestLanesBySize(t *testing.T) {
	t.Parallel()
	const size = largeFile - 1
	source := newCatalog()
	source.add(Entry{Path: ".", Kind: Dir})
	for i := range 10_000 {
		source.add(Entry{Path: fmt.Sprintf("%05d", i), Kind: File, Size: size})
	}
	plan := rules{}.compare(source, false).finish()
	if share := newQueue(&plan, 2).share(); len(share) != mostAhead/size+1 {
		t.Errorf("a stream is given %d files, want %d", len(share), mostAhead/size+1)
	}
}
