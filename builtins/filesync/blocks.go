package filesync

import (
	"bytes"
	"errors"

	"github.com/warmrun/warmrun/walcore/hint"
)

const (
	// blockSize is the unit of comparison: PostgreSQL's page size, because it
	// writes whole pages in place. Other files do well with it too.
	blockSize = 8 << 10
	// spanSize is how much of a basis is hashed at one request, so that the
	// hashes of a file of any size need little memory at a time.
	spanSize = 8 << 20
	// spansAhead is how many requests are under way at a time, so that a slow
	// link is kept busy.
	spansAhead = 4
)

// hashesLength is how many bytes of hashes stand for n bytes of file.
func hashesLength(n int64) int {
	return int((n + blockSize - 1) / blockSize * hashSize)
}

// errBasisChanged says that someone else writes into the target.
var errBasisChanged = hint.Wrap(errors.New("it was changed by another program while the copy compared it"),
	"find out what writes into the target and end it, then run the copy again; it goes on from what is there")

// run is a stretch of bytes within a buffer.
type run struct {
	from, to int
	zeros    bool
}

// differing finds the runs of data whose blocks do not have the given hashes.
// Blocks past the end of the hashes differ. Zeros are runs of their own.
func (h *hasher) differing(runs []run, data, hashes []byte) []run {
	for from := 0; from < len(data); from += blockSize {
		to := min(from+blockSize, len(data))
		zeros := isZero(data[from:to])
		if len(hashes) >= hashSize {
			sum := h.block(data[from:to], zeros)
			same := bytes.Equal(sum[:], hashes[:hashSize])
			hashes = hashes[hashSize:]
			if same {
				continue
			}
		}
		if n := len(runs); n > 0 && runs[n-1].to == from && runs[n-1].zeros == zeros {
			runs[n-1].to = to
		} else {
			runs = append(runs, run{from, to, zeros})
		}
	}
	return runs
}

var zeroBlock [blockSize]byte

// isZero reports whether a block holds nothing but zeros.
func isZero(block []byte) bool { return bytes.Equal(block, zeroBlock[:len(block)]) }
