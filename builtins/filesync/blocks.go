package filesync

import (
	"bytes"
	"errors"
	"io"

	"github.com/zeebo/blake3"
)

const (
	// blockSize is the unit of comparison: PostgreSQL's page size, because it
	// writes whole pages in place. Other files do well with it too.
	blockSize = 8 << 10
	// hashSize bytes of BLAKE3 stand for a block: enough that two different
	// blocks never share them, by chance or by intent.
	hashSize = 16
	// spanSize is how much of a basis is hashed at one request, so that the
	// hashes of a file of any size need little memory at a time.
	spanSize = 8 << 20
	// spansAhead is how many requests are under way at a time, so that a slow
	// link is kept busy.
	spansAhead = 4
)

// spanLength is how many bytes of a basis the span at offset covers.
func spanLength(basis, offset int64) int64 {
	return max(0, min(spanSize, basis-offset))
}

// hashesLength is how many bytes of hashes stand for n bytes of file.
func hashesLength(n int64) int {
	return int((n + blockSize - 1) / blockSize * hashSize)
}

// appendHashes appends the hash of every block of data.
func appendHashes(hashes, data []byte) []byte {
	for len(data) > 0 {
		n := min(blockSize, len(data))
		sum := blake3.Sum256(data[:n])
		hashes = append(hashes, sum[:hashSize]...)
		data = data[n:]
	}
	return hashes
}

// hashSpan hashes one span of a basis. buf is used for reading. A basis that
// is shorter than it was is an error: nobody else should be writing there.
func hashSpan(f io.ReaderAt, basis, offset int64, buf []byte) ([]byte, error) {
	hashes := make([]byte, 0, hashesLength(spanLength(basis, offset)))
	for end := offset + spanLength(basis, offset); offset < end; {
		n := min(int64(len(buf)), end-offset)
		if _, err := f.ReadAt(buf[:n], offset); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, errBasisChanged
			}
			return nil, err
		}
		hashes = appendHashes(hashes, buf[:n])
		offset += n
	}
	return hashes, nil
}

// errBasisChanged says that someone else writes into the target.
var errBasisChanged = errors.New("it was changed by another program while the copy compared it")

// run is a stretch of bytes within a buffer.
type run struct{ from, to int }

// differing finds the runs of data whose blocks do not have the given hashes.
// Blocks past the end of the hashes differ.
func differing(runs []run, data, hashes []byte) []run {
	for from := 0; from < len(data); from += blockSize {
		to := min(from+blockSize, len(data))
		if len(hashes) >= hashSize {
			sum := blake3.Sum256(data[from:to])
			same := bytes.Equal(sum[:hashSize], hashes[:hashSize])
			hashes = hashes[hashSize:]
			if same {
				continue
			}
		}
		if n := len(runs); n > 0 && runs[n-1].to == from {
			runs[n-1].to = to
		} else {
			runs = append(runs, run{from, to})
		}
	}
	return runs
}
