package filesync

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
)

// hashSize bytes stand for a block.
const hashSize = aes.BlockSize

// hashKey is the secret that the hashes of one copy are made with. The side that
// drives the copy draws it, and tells the other one.
type hashKey [16]byte

func newHashKey() (k hashKey) {
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// hasher makes the hashes that stand for blocks. It is for one goroutine, and is
// copied for another.
//
// The hash of a block is a GMAC of its length and its NH, with keys that the key
// of the copy is the seed of. Two blocks that differ have the same one for at
// most five of 2^128 keys, whoever made the blocks, because they were there
// before the key was drawn: one for their NH, and four for the GMAC, which is a
// polynomial of a few numbers at a secret point, to which a constant is added
// (McGrew and Viega, The Security and Performance of the Galois/Counter Mode,
// 2004). So the promise is that of a cryptographic hash of this length, or
// better, at several times the speed of BLAKE3. The nonce is always the same:
// what is compared must be equal for equal blocks, and nobody sees the hashes who
// does not have the key.
type hasher struct {
	key   *nhKey
	mac   cipher.AEAD
	nonce [12]byte
	text  [8 * (nhPasses + 1)]byte // that the GMAC is of
	row   [nhRow]byte              // the last one, filled up with zeros
	sum   [hashSize]byte
	zero  [hashSize]byte // of a whole block of zeros
}

func newHasher(key hashKey) (h hasher, err error) {
	seed, err := aes.NewCipher(key[:])
	if err != nil {
		return h, err
	}
	var stream [aes.BlockSize + 4*len(nhKey{})]byte
	var counter [aes.BlockSize]byte
	cipher.NewCTR(seed, counter[:]).XORKeyStream(stream[:], stream[:])
	block, err := aes.NewCipher(stream[:aes.BlockSize])
	if err != nil {
		return h, err
	}
	if h.mac, err = cipher.NewGCM(block); err != nil {
		return h, err
	}
	h.key = new(nhKey)
	for i := range h.key {
		h.key[i] = binary.LittleEndian.Uint32(stream[aes.BlockSize+4*i:])
	}
	h.zero = h.of(zeroBlock[:])
	return h, nil
}

// of is the hash of some bytes, at most a block.
func (h *hasher) of(block []byte) [hashSize]byte {
	var sums nhSums
	whole := len(block) - len(block)%nhRow
	sums.add(h.key[:], block[:whole])
	if whole < len(block) {
		clear(h.row[copy(h.row[:], block[whole:]):])
		sums.add(h.key[whole/4:], h.row[:])
	}
	for i, s := range sums {
		binary.LittleEndian.PutUint64(h.text[8*i:], s)
	}
	binary.LittleEndian.PutUint64(h.text[8*nhPasses:], uint64(len(block)))
	h.mac.Seal(h.sum[:0], h.nonce[:], nil, h.text[:])
	return h.sum
}

// block is the hash of a block that is known to be zero or not.
func (h *hasher) block(block []byte, zeros bool) [hashSize]byte {
	if zeros && len(block) == blockSize {
		return h.zero
	}
	return h.of(block)
}

// append appends the hash of every block of data.
func (h *hasher) append(hashes, data []byte) []byte {
	for len(data) > 0 {
		n := min(blockSize, len(data))
		sum := h.block(data[:n], isZero(data[:n]))
		hashes = append(hashes, sum[:]...)
		data = data[n:]
	}
	return hashes
}

// span hashes a stretch of a file that the target has. buf is used for reading.
// A file that is shorter than it was is an error: nobody else should be writing
// there.
func (h *hasher) span(f io.ReaderAt, from, to int64, buf []byte) ([]byte, error) {
	hashes := make([]byte, 0, hashesLength(to-from))
	for from < to {
		n := min(int64(len(buf)), to-from)
		if _, err := f.ReadAt(buf[:n], from); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, errBasisChanged
			}
			return nil, err
		}
		hashes = h.append(hashes, buf[:n])
		from += n
	}
	return hashes, nil
}
