//go:build !amd64

package filesync

// add adds a message of whole rows to the sums, beginning with the key's words.
func (s *nhSums) add(key []uint32, message []byte) { s.addPairs(key, message) }
