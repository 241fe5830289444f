package page

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/warmrun/warmrun/walcore"
)

const size = 8192

// fill makes a page of a pattern.
func fill(f func(i int) int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(f(i))
	}
	return p
}

// TestChecksum compares with what page_checksum of PostgreSQL's pageinspect
// says of the same bytes.
func TestChecksum(t *testing.T) {
	t.Parallel()
	line := fill(func(i int) int { return i*7 + 3 })
	square := fill(func(i int) int { return i*i + i/256 })
	for _, c := range []struct {
		page  []byte
		block uint32
		want  uint16
	}{
		{line, 0, 43596},
		{line, 131072, 43594},
		{square, 4294967294, 15619},
	} {
		if got := Checksum(c.page, c.block); got != c.want {
			t.Errorf("block %d: got %d, want %d", c.block, got, c.want)
		}
	}
}

// TestChecksumSeesEveryByte: a flip anywhere but in the checksum itself shows.
func TestChecksumSeesEveryByte(t *testing.T) {
	t.Parallel()
	p := fill(func(i int) int { return i*7 + 3 })
	want := Checksum(p, 7)
	for i := range p {
		p[i] ^= 0x10
		same := Checksum(p, 7) == want
		if itself := i == checksumAt || i == checksumAt+1; same != itself {
			t.Errorf("byte %d flipped: same checksum %v", i, same)
		}
		p[i] ^= 0x10
	}
}

// written is a page as a server writes it.
func written(block uint32, lsn walcore.LSN) []byte {
	p := fill(func(i int) int { return i * 31 })
	binary.NativeEndian.PutUint32(p, uint32(lsn>>32))
	binary.NativeEndian.PutUint32(p[4:], uint32(lsn))
	binary.NativeEndian.PutUint16(p[checksumAt:], Checksum(p, block))
	return p
}

func TestGood(t *testing.T) {
	t.Parallel()
	const start = walcore.LSN(0x5_00000028)
	flipped := func(lsn walcore.LSN) []byte {
		p := written(9, lsn)
		p[5000] ^= 1
		return p
	}
	looksNew := make([]byte, size)
	looksNew[size-1] = 1
	for name, c := range map[string]struct {
		page []byte
		want bool
	}{
		"as written":                      {written(9, start-1), true},
		"at another block":                {written(10, start-1), false},
		"flipped":                         {flipped(start - 1), false},
		"flipped, long before the start":  {flipped(0x4_FFFFFFFF), false},
		"changed since the start":         {flipped(start), true},
		"changed long since the start":    {flipped(0x6_00000000), true},
		"new":                             {make([]byte, size), true},
		"new in its header, data follows": {looksNew, false},
	} {
		if got := Good(c.page, 9, start); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if got := LSN(written(9, start)); got != start {
		t.Errorf("got LSN %s, want %s", got, start)
	}
}

func BenchmarkChecksum(b *testing.B) {
	p := fill(func(i int) int { return i * 31 })
	b.SetBytes(size)
	for b.Loop() {
		Checksum(p, 1)
	}
}

// TestRowsAtOnceAndByStripes: where the processor can take all columns at once,
// the sums are the same.
func TestRowsAtOnceAndByStripes(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{7})
	for rows := range 65 {
		p := make([]byte, rows*rowSize)
		_, _ = random.Read(p) // never fails
		got, want := bases, bases
		mixRows(&got, p)
		mixStripes(&want, p)
		if got != want {
			t.Errorf("%d rows: got %v, want %v", rows, got, want)
		}
	}
}
