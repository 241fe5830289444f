package packed

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrForeign says that a file is not made of the frames that a Packer makes. It
// may be good all the same: see NewReader.
var ErrForeign = errors.New("it is not made of frames of one piece each")

// Frames reads a file frame by frame, to pass the frames on as they are.
type Frames struct {
	form   Form
	in     *bufio.Reader
	frame  []byte
	unpack Unpacker
}

// NewFrames reads from r, which stays open.
func NewFrames(form Form, r io.Reader) *Frames {
	return &Frames{form: form, in: bufio.NewReaderSize(r, 64<<10)}
}

// Next is the next frame and the piece in it, which is whole and undamaged; both
// are good until the next call. io.EOF comes at the end of the file, ErrForeign
// where it holds another kind of frame, and a *DamagedError as from NewReader.
func (f *Frames) Next() (piece, frame []byte, err error) {
	f.frame = f.frame[:0]
	if _, err := f.in.Peek(1); err != nil {
		return nil, nil, err // io.EOF between two frames is the end
	}
	if f.form == LZ4 {
		err = f.readLZ4()
	} else {
		err = f.readZstd()
	}
	if err == nil {
		piece, err = f.unpack.Unpack(f.form, f.frame)
	}
	switch {
	case err == nil:
		return piece, f.frame, nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case errors.Is(err, ErrForeign), errors.Is(err, errNotOurs):
		return nil, nil, ErrForeign
	}
	return nil, nil, &DamagedError{f.form, err}
}

// Close gives the memory back.
func (f *Frames) Close() { f.unpack.Close() }

// take reads n more bytes of the frame and returns them.
func (f *Frames) take(n int) ([]byte, error) {
	at := len(f.frame)
	if n < 0 || at+n > MaxPiece {
		return nil, ErrForeign
	}
	if cap(f.frame) < at+n {
		f.frame = append(make([]byte, 0, max(at+n, 2*at, PieceSize)), f.frame...)
	}
	f.frame = f.frame[:at+n]
	_, err := io.ReadFull(f.in, f.frame[at:])
	return f.frame[at:], err
}

func (f *Frames) readLZ4() error {
	if _, err := f.take(lz4Header); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(f.frame) != lz4Magic || f.frame[4] != lz4Flags {
		return ErrForeign
	}
	for {
		size, err := f.take(4)
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(size) == 0 {
			_, err := f.take(4) // the checksum
			return err
		}
		if _, err := f.take(int(binary.LittleEndian.Uint32(size) &^ lz4Raw)); err != nil {
			return err
		}
	}
}

// Parts of a zstd frame (RFC 8878, section 3.1.1).
const (
	zstdMagic     = 0xFD2FB528
	zstdSingle    = 1 << 5 // no window but the content, whose size is given
	zstdChecksum  = 1 << 2
	zstdDict      = 3
	zstdLastBlock = 1
)

func (f *Frames) readZstd() error {
	start, err := f.take(5)
	if err != nil {
		return err
	}
	flags := start[4]
	if binary.LittleEndian.Uint32(start) != zstdMagic || flags&zstdSingle == 0 || flags&zstdDict != 0 {
		return ErrForeign
	}
	if _, err := f.take([]int{1, 2, 4, 8}[flags>>6]); err != nil {
		return err
	}
	for {
		head, err := f.take(3)
		if err != nil {
			return err
		}
		block := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
		size := block >> 3
		switch block >> 1 & 3 {
		case 1: // one byte, many times
			size = 1
		case 3:
			return fmt.Errorf("a block of a kind that does not exist")
		}
		if _, err := f.take(size); err != nil {
			return err
		}
		if block&zstdLastBlock == 0 {
			continue
		}
		if flags&zstdChecksum != 0 {
			_, err = f.take(4)
		}
		return err
	}
}
