package packed

import (
	"encoding/binary"

	"github.com/klauspost/compress/s2"
)

// How an lz4 block must end (lz4_Block_format.md): the last match begins twelve
// bytes before the end at the latest, and the last five bytes are literals.
const (
	lz4LastMatch    = 12
	lz4LastLiterals = 5
	lz4MinMatch     = 4
)

// sequences is an lz4 block under way: literals, then a match, again and again.
type sequences struct {
	out  []byte
	src  []byte
	done int // what of src is in out
}

// match adds what lies between done and at as literals, and length bytes from
// offset before at. False means that the room in out is used up.
func (s *sequences) match(at, offset, length int) bool {
	literals := s.src[s.done:at]
	if len(s.out)+len(literals)+(len(literals)+length)/255+16 > cap(s.out) {
		return false
	}
	s.literals(literals, min(length-lz4MinMatch, 15))
	s.out = append(s.out, byte(offset), byte(offset>>8))
	if length -= lz4MinMatch; length >= 15 {
		s.out = appendLength(s.out, length-15)
	}
	s.done = at + length + lz4MinMatch
	return true
}

// literals adds a token and its literals.
func (s *sequences) literals(literals []byte, match int) {
	n := len(literals)
	if n < 15 {
		s.out = append(s.out, byte(n<<4|match))
	} else {
		s.out = appendLength(append(s.out, byte(15<<4|match)), n-15)
	}
	s.out = append(s.out, literals...)
}

func appendLength(out []byte, n int) []byte {
	for ; n >= 255; n -= 255 {
		out = append(out, 255)
	}
	return append(out, byte(n))
}

// appendLZ4Block appends src as an lz4 block, or nothing where that would not
// be smaller. scratch is memory to work in, which comes back.
//
// The matches are found by the Snappy encoder, which is written in assembly and
// three times as fast as an lz4 encoder in Go: both formats are literals and
// copies from at most 64 kB before, and only written down differently.
func appendLZ4Block(out, src, scratch []byte) (packed, again []byte) {
	if need := s2.MaxEncodedLen(len(src)); cap(scratch) < need {
		scratch = make([]byte, need)
	}
	start := len(out)
	if need := start + len(src); cap(out) < need {
		out = append(make([]byte, 0, need), out...)
	}
	s := sequences{out: out[: start : start+len(src)], src: src}
	if !s.translate(s2.EncodeSnappy(scratch[:cap(scratch)], src)) {
		return out[:start], scratch
	}
	return s.out, scratch
}

// translate goes through the elements of a Snappy block
// (format_description.txt), joins copies that follow each other from the same
// offset, and leaves what lz4 wants as literals at the end.
func (s *sequences) translate(snappy []byte) bool {
	_, n := binary.Uvarint(snappy)
	at, matched, offset, length := 0, 0, 0, 0 // matched is where the copy begins
	last := len(s.src) - lz4LastMatch
	for snappy = snappy[n:]; len(snappy) > 0; {
		tag := snappy[0]
		o, l, size := 0, 0, 0
		switch tag & 3 {
		case 0:
			l, size = int(tag>>2), 1
			if l >= 60 {
				extra := l - 59
				l, size = 0, 1+extra
				for i := extra; i > 0; i-- {
					l = l<<8 | int(snappy[i])
				}
			}
			at += l + 1
			snappy = snappy[size+l+1:]
			continue
		case 1:
			o, l, size = int(tag&0xe0)<<3|int(snappy[1]), int(tag>>2&7)+4, 2
		case 2:
			o, l, size = int(binary.LittleEndian.Uint16(snappy[1:])), int(tag>>2)+1, 3
		default: // from further away than lz4 can reach: literals, then
			at += int(tag>>2) + 1
			snappy = snappy[5:]
			continue
		}
		snappy = snappy[size:]
		if length > 0 && o == offset && matched+length == at {
			length += l
		} else {
			if !s.flush(matched, offset, length, last) {
				return false
			}
			matched, offset, length = at, o, l
		}
		at += l
	}
	if !s.flush(matched, offset, length, last) {
		return false
	}
	rest := s.src[s.done:]
	if len(s.out)+len(rest)+len(rest)/255+16 > cap(s.out) {
		return false
	}
	s.literals(rest, 0)
	return true
}

// flush adds a match, cut so that the block may end. What is too short for a
// match becomes literals.
func (s *sequences) flush(at, offset, length, last int) bool {
	length = min(length, len(s.src)-lz4LastLiterals-at)
	if length < lz4MinMatch || at > last {
		return true
	}
	return s.match(at, offset, length)
}
