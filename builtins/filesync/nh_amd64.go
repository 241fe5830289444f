package filesync

import "golang.org/x/sys/cpu"

// add adds a message of whole rows to the sums, beginning with the key's words.
func (s *nhSums) add(key []uint32, message []byte) {
	if !cpu.X86.HasAVX2 || len(message) < nhRow {
		s.addPairs(key, message)
		return
	}
	nhAVX2(s, &key[0], &message[0], len(message)/nhRow)
}

// nhAVX2 is addPairs for at least one row, four pairs at a time.
//
//go:noescape
func nhAVX2(sums *nhSums, key *uint32, message *byte, rows int)
