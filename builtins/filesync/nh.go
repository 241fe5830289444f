package filesync

import "encoding/binary"

// NH is the first layer of UMAC: each pair of 32-bit words of a message is added
// to a pair of the key, the two are multiplied, and the products are added up
// (Black, Halevi, Krawczyk, Krovetz and Rogaway, UMAC: Fast and Secure Message
// Authentication, 1999). It is done nhPasses times, each with the key moved on by
// one more pair. Two messages of one length that differ have the same sums for
// one key out of 2^(32*nhPasses).
const (
	nhPasses = 4
	nhPair   = 8  // bytes
	nhRow    = 32 // bytes that are taken at a time; a message has whole ones
)

// nhKey is a key for messages of up to a block, in words.
type nhKey [blockSize/4 + 2*(nhPasses-1)]uint32

// nhSums are the sums of the passes.
type nhSums [nhPasses]uint64

// addPairs adds a message to the sums, beginning with the key's words.
func (s *nhSums) addPairs(key []uint32, message []byte) {
	for ; len(message) >= nhPair; key, message = key[2:], message[nhPair:] {
		a, b := binary.LittleEndian.Uint32(message), binary.LittleEndian.Uint32(message[4:])
		k := (*[2 * nhPasses]uint32)(key)
		s[0] += uint64(a+k[0]) * uint64(b+k[1])
		s[1] += uint64(a+k[2]) * uint64(b+k[3])
		s[2] += uint64(a+k[4]) * uint64(b+k[5])
		s[3] += uint64(a+k[6]) * uint64(b+k[7])
	}
}
