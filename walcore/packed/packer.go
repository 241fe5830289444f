package packed

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Packer makes frames. It is used by one goroutine at a time, and worth keeping:
// it holds memory for one piece and its tables.
type Packer struct {
	zstd    *zstd.Encoder
	form    Form
	buf     []byte
	scratch []byte // of appendLZ4Block
	// zeros is the frame of zerosOf zeros.
	zeros   []byte
	zerosOf int
}

// NewPacker is a packer of a form that packs.
func NewPacker(form Form) (*Packer, error) {
	p := &Packer{form: form}
	var err error
	switch form {
	case LZ4:
	case Zstd:
		p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(PieceSize))
	default:
		err = fmt.Errorf("%q is no form to pack in", form)
	}
	return p, err
}

// Pack makes one frame of a piece of at most MaxPiece bytes, with a checksum of
// its content. The frame is good until the next call.
func (p *Packer) Pack(piece []byte) []byte {
	if p.form == LZ4 {
		p.buf = p.appendLZ4(p.buf[:0], piece)
	} else {
		p.buf = p.zstd.EncodeAll(piece, p.buf[:0])
	}
	return p.buf
}

// PackZeros is Pack of a piece of zeros. Of such a piece one mostly needs many.
func (p *Packer) PackZeros(length int) []byte {
	if p.zerosOf != length {
		p.zeros, p.zerosOf = append(p.zeros[:0], p.Pack(make([]byte, length))...), length
	}
	return p.zeros
}

// Parts of an lz4 frame.
const (
	lz4Magic = 0x184D2204
	// lz4Flags: version 1, blocks that stand alone, a checksum of the content.
	lz4Flags = 1<<6 | 1<<5 | 1<<2
	// lz4Raw marks a block that is stored as it is.
	lz4Raw    = 1 << 31
	lz4Header = 7  // magic, flags, block size, checksum of the two
	lz4Around = 15 // header, end mark and checksum of the content
)

// lz4BlockSize is the code of the smallest block size that a piece fits in
// (256 kB, 1 MB), as its byte in the header.
func lz4BlockSize(piece int) byte {
	if piece <= PieceSize {
		return 5 << 4
	}
	return 6 << 4
}

// appendLZ4 appends the frame of one block. A frame made here rather than by
// lz4.Writer costs no copies and no goroutines.
func (p *Packer) appendLZ4(out, piece []byte) []byte {
	out = binary.LittleEndian.AppendUint32(out, lz4Magic)
	out = append(out, lz4Flags, lz4BlockSize(len(piece)))
	out = append(out, byte(xxh32(out[4:6])>>8))
	if len(piece) > 0 {
		out = p.appendBlock(out, piece)
	}
	out = binary.LittleEndian.AppendUint32(out, 0)
	return binary.LittleEndian.AppendUint32(out, xxh32(piece))
}

func (p *Packer) appendBlock(out, piece []byte) []byte {
	at := len(out)
	out = append(out, 0, 0, 0, 0) // the block's size
	out, p.scratch = appendLZ4Block(out, piece, p.scratch)
	size := uint32(len(out) - at - 4)
	if size == 0 {
		out = append(out, piece...)
		size = uint32(len(piece)) | lz4Raw
	}
	binary.LittleEndian.PutUint32(out[at:], size)
	return out
}
