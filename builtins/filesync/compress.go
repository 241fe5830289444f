package filesync

import (
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/warmrun/warmrun/walcore/hint"
)

// Compression is how file content is packed on the wire. Content that does not
// get smaller by it goes as it is.
type Compression string

// The ways to pack. The empty Compression is S2: on a database it costs less
// than the encryption of what it saves.
const (
	CompressNone Compression = "none"
	CompressS2   Compression = "s2"
	CompressZstd Compression = "zstd" // for links slower than about 50 MB a second
)

// Check refuses a Compression that is none of them.
func (c Compression) Check() error {
	switch c {
	case "", CompressNone, CompressS2, CompressZstd:
		return nil
	}
	return hint.Wrap(fmt.Errorf("there is no compression %q", string(c)), "it must be none, s2 or zstd")
}

// packer packs content for the wire. It is for one goroutine.
type packer struct {
	how  Compression
	buf  []byte
	zstd *zstd.Encoder
}

// pack returns the content packed, and false where that does not pay. What it
// returns is valid until the next call.
func (p *packer) pack(content []byte) ([]byte, bool) {
	switch p.how {
	case CompressNone:
		return nil, false
	case CompressZstd:
		if p.zstd == nil {
			// Options that are constant cannot fail.
			p.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
				zstd.WithWindowSize(chunkSize), zstd.WithEncoderCRC(false))
		}
		p.buf = p.zstd.EncodeAll(content, p.buf[:0])
	default:
		if n := s2.MaxEncodedLen(len(content)); cap(p.buf) < n {
			p.buf = make([]byte, n)
		}
		p.buf = s2.Encode(p.buf[:cap(p.buf)], content)
	}
	return p.buf, len(p.buf) < len(content)-len(content)/8
}

// patience is how readily content of one file is packed. What does not get smaller
// mostly comes in long stretches, of values that the server or its user packed or
// ciphered: the longer one lasts, the rarer it is tried. Every file begins anew, so
// that one small file of noise does not cost those that follow it.
type patience struct {
	skip   int // pieces that are not tried
	inVain int // how many that were the last time
}

// maxSkip is how many pieces in a row are not tried at most, 4 MB.
const maxSkip = 31

// passOver reports whether the next piece goes as it is.
func (p *patience) passOver() bool {
	if p.skip == 0 {
		return false
	}
	p.skip--
	return true
}

// tried takes note of whether a piece got smaller.
func (p *patience) tried(pays bool) {
	p.inVain = min(2*p.inVain+1, maxSkip)
	if pays {
		p.inVain = 0
	}
	p.skip = p.inVain
}

// unpacker unpacks content that a peer sent. It is for one goroutine.
type unpacker struct {
	how  Compression
	buf  []byte
	zstd *zstd.Decoder
}

// unpack returns the content of a packed frame, of at most a chunk. It is valid
// until the next call.
func (u *unpacker) unpack(packed []byte) ([]byte, error) {
	if u.buf == nil {
		u.buf = make([]byte, chunkSize)
	}
	switch u.how {
	case CompressNone:
		return nil, protocolError("a packed frame on a stream without compression")
	case CompressZstd:
		if u.zstd == nil {
			u.zstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(chunkSize))
		}
		content, err := u.zstd.DecodeAll(packed, u.buf[:0])
		if err != nil || len(content) > chunkSize {
			return nil, protocolError("a packed frame that cannot be unpacked")
		}
		return content, nil
	}
	if n, err := s2.DecodedLen(packed); err != nil || n > chunkSize {
		return nil, protocolError("a packed frame that unpacks to %d bytes", n)
	}
	content, err := s2.Decode(u.buf, packed)
	if err != nil {
		return nil, protocolError("a packed frame that cannot be unpacked")
	}
	return content, nil
}
