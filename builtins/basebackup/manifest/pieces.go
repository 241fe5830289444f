package manifest

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
)

// Pieces adds up the CRC-32C of a file whose pieces come in any order. Its
// methods may be called from several goroutines.
type Pieces struct {
	mu   sync.Mutex
	runs []run
}

// run is the CRC of a part of the file that has no gap.
type run struct {
	from, to int64
	crc      uint32
}

// Add takes the piece that begins at offset. It may not overlap another.
func (s *Pieces) Add(offset int64, p []byte) {
	r := s.endingAt(offset)
	r.crc = crc32.Update(r.crc, Castagnoli, p)
	r.to += int64(len(p))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, r)
}

// endingAt takes out the run that a piece continues; a new one begins there if
// there is none.
func (s *Pieces) endingAt(offset int64) run {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.runs {
		if r.to == offset {
			s.runs = slices.Delete(s.runs, i, i+1)
			return r
		}
	}
	return run{from: offset, to: offset}
}

// Sum is the checksum of the whole file, all of whose size bytes must have
// been added.
func (s *Pieces) Sum(size int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	var whole run
	for _, r := range s.runs {
		if r.from != whole.to {
			return nil, fmt.Errorf("bytes between %d and %d are missing, or came twice", min(r.from, whole.to), max(r.from, whole.to))
		}
		whole.crc = shift(whole.crc, r.to-r.from) ^ r.crc
		whole.to = r.to
	}
	if whole.to != size {
		return nil, fmt.Errorf("%d of %d bytes were added up", whole.to, size)
	}
	return CRCBytes(whole.crc), nil
}

// A CRC is a polynomial over two elements, the coefficient of x^0 in its
// highest bit. A CRC of what comes before n further bytes is multiplied by
// x^(8n), as crc32_combine of zlib does.
const (
	one    uint32 = 1 << 31
	toByte        = one >> 8 // x^8
)

// shift is the part that a CRC has in the CRC of n more bytes.
func shift(crc uint32, n int64) uint32 {
	for power := toByte; n > 0; n >>= 1 {
		if n&1 != 0 {
			crc = multiply(power, crc)
		}
		power = multiply(power, power)
	}
	return crc
}

// multiply multiplies two polynomials modulo that of CRC-32C.
func multiply(a, b uint32) uint32 {
	var product uint32
	for bit := one; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		odd := b & 1
		b >>= 1
		if odd != 0 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}
