package packed

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Unpacker undoes what a Packer did, one piece at a time. Whatever it is given,
// it takes no more memory than two pieces of the largest size. It is used by one
// goroutine at a time.
type Unpacker struct {
	buf  []byte
	zstd *zstd.Decoder
}

// Unpack is the piece in a frame, at most MaxPiece bytes, good until the next
// call. What is not a whole and undamaged frame is an error. Of the lz4 frames
// only the kind that a Packer makes is taken: one block.
func (u *Unpacker) Unpack(form Form, frame []byte) (piece []byte, err error) {
	switch form {
	case LZ4:
		return u.unlz4(frame)
	case Zstd:
		return u.unzstd(frame)
	}
	return nil, fmt.Errorf("%q is no form that is packed", form)
}

func (u *Unpacker) unzstd(frame []byte) (piece []byte, err error) {
	if u.zstd == nil {
		if u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxPiece)); err != nil {
			return nil, err
		}
	}
	if u.buf, err = u.zstd.DecodeAll(frame, u.buf[:0]); err != nil {
		return nil, err
	}
	if len(u.buf) > MaxPiece {
		return nil, zstd.ErrDecoderSizeExceeded
	}
	return u.buf, nil
}

var (
	errNotOurs  = errors.New("it is no lz4 frame of one block")
	errChecksum = errors.New("lz4: the content does not match its checksum")
)

func (u *Unpacker) unlz4(frame []byte) ([]byte, error) {
	if len(frame) < lz4Around || binary.LittleEndian.Uint32(frame) != lz4Magic || frame[4] != lz4Flags || byte(xxh32(frame[4:6])>>8) != frame[6] {
		return nil, errNotOurs
	}
	most := PieceSize
	if frame[5] == lz4BlockSize(MaxPiece) {
		most = MaxPiece
	} else if frame[5] != lz4BlockSize(PieceSize) {
		return nil, errNotOurs
	}
	body, end := frame[lz4Header:len(frame)-8], frame[len(frame)-8:]
	if binary.LittleEndian.Uint32(end) != 0 {
		return nil, errNotOurs
	}
	piece, err := u.block(body, most)
	if err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(end[4:]) != xxh32(piece) {
		return nil, errChecksum
	}
	return piece, nil
}

// block unpacks the block that body is, or the nothing in an empty frame.
func (u *Unpacker) block(body []byte, most int) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	if len(body) < 4 {
		return nil, errNotOurs
	}
	size, block := binary.LittleEndian.Uint32(body), body[4:]
	if int(size&^lz4Raw) != len(block) || len(block) == 0 || len(block) > most {
		return nil, errNotOurs
	}
	if size&lz4Raw != 0 {
		return block, nil
	}
	if cap(u.buf) < most {
		u.buf = make([]byte, most)
	}
	n, err := lz4.UncompressBlock(block, u.buf[:most])
	if err != nil {
		return nil, err
	}
	return u.buf[:n], nil
}

// Close gives the memory back.
func (u *Unpacker) Close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
	*u = Unpacker{}
}
