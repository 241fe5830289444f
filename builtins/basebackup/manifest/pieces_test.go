package manifest

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestPieces adds a file up in many orders, some of them at the same time.
func TestPieces(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 4096, 100_000, 1_000_003} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(random.Uint32())
		}
		want := CRCBytes(crc32.Checksum(content, Castagnoli))
		for range 20 {
			var s Pieces
			var ranges sync.WaitGroup
			for _, from := range cuts(random, size) {
				ranges.Go(func() {
					for part := content[from.at:from.to]; len(part) > 0; {
						n := min(1000, len(part))
						s.Add(int64(from.to-len(part)), part[:n])
						part = part[n:]
					}
				})
			}
			ranges.Wait()
			if got, err := s.Sum(int64(size)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes: got %x, %v, want %x", size, got, err, want)
			}
		}
	}
}

type cut struct{ at, to int }

// cuts divides a file into ranges, and shuffles them.
func cuts(random *rand.Rand, size int) []cut {
	var all []cut
	for at := 0; at < size; {
		to := min(size, at+1+random.IntN(size/3+1))
		all = append(all, cut{at, to})
		at = to
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// TestPiecesMissing: a file of which a part was not seen has no checksum.
func TestPiecesMissing(t *testing.T) {
	t.Parallel()
	var s Pieces
	s.Add(0, make([]byte, 10))
	s.Add(20, make([]byte, 10))
	if sum, err := s.Sum(30); err == nil {
		t.Errorf("got %x for a file with a hole", sum)
	}
	s.Add(10, make([]byte, 10))
	if sum, err := s.Sum(31); err == nil {
		t.Errorf("got %x for a file without its end", sum)
	}
	if _, err := s.Sum(30); err != nil {
		t.Errorf("got %v for a whole file", err)
	}
	s.Add(5, make([]byte, 1))
	if sum, err := s.Sum(30); err == nil {
		t.Errorf("got %x for a file of which a part was added twice", sum)
	}
}
