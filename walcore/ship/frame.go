package ship

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/warmrun/warmrun/walcore/packed"
)

// A frame is a length, a type, the number of the request that it belongs to, a
// checksum of all three and of the payload, and the payload.
const (
	frameHeader = 13
	maxPayload  = packed.MaxPiece
	dataPayload = packed.PieceSize // what is sent at a time of a file
)

// The types of frame. Frames of several requests may come mixed; those of one
// request come in order.
const (
	frameHello   byte = 'H' // the versions of the sender; first, from both sides
	frameRequest byte = 'Q' // what the client wants
	frameReply   byte = 'R' // the agent's answer
	frameError   byte = 'E' // the agent's answer when it is no
	frameData    byte = 'D' // a piece of a file or list
	frameS2      byte = 'S' // the same, compressed with S2
	frameZstd    byte = 'T' // the same, as a Zstandard frame
	frameLZ4     byte = 'L' // the same, as an lz4 frame
	frameZeros   byte = 'O' // a piece that is all zeros: its length
	frameEnd     byte = 'Z' // the end of the pieces, with their seal
	frameAbort   byte = 'X' // its sender cannot go on; the payload says why
)

// errProtocol marks what only a broken or foreign peer sends. The session ends
// with it.
var errProtocol = errors.New("the other side broke the protocol")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errProtocol)
}

// frame is one frame as it was read.
type frame struct {
	kind    byte
	request uint32
	payload []byte
}

// frames reads and writes frames. One goroutine may read; any number may
// write.
type frames struct {
	in    *bufio.Reader
	alive func() // called whenever bytes have moved

	mu  sync.Mutex // held while a frame is written
	out *bufio.Writer
}

func newFrames(rw io.ReadWriter) *frames {
	return &frames{
		in:    bufio.NewReaderSize(rw, 64<<10),
		out:   bufio.NewWriterSize(rw, 64<<10),
		alive: func() {},
	}
}

// castagnoli is crc32.Castagnoli as a table; the hardware has it built in.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// read returns the next frame, whose payload is in memory that take gives for a
// length; nil means new memory. io.EOF means that the peer has closed the stream between
// two frames.
func (f *frames) read(take func(length int) []byte) (frame, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(f.in, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the connection was cut in the middle of a message: %w", err)
		}
		return frame{}, err
	}
	f.alive()
	length := int(binary.BigEndian.Uint32(header[0:]))
	got := frame{kind: header[4], request: binary.BigEndian.Uint32(header[5:])}
	if length > maxPayload {
		return frame{}, protocolError("a frame of %d bytes, at most %d are allowed", length, maxPayload)
	}
	if take != nil {
		got.payload = take(length)[:length]
	} else {
		got.payload = make([]byte, length)
	}
	if _, err := io.ReadFull(f.in, got.payload); err != nil {
		return frame{}, fmt.Errorf("the connection was cut in the middle of a message: %w", noEOF(err))
	}
	f.alive()
	if sum := checksum(header[:9], got.payload); sum != binary.BigEndian.Uint32(header[9:]) {
		return frame{}, protocolError("a frame of %d bytes was damaged on the way (its checksum does not match)", length)
	}
	return got, nil
}

// write sends a frame; it is on its way after flush.
func (f *frames) write(kind byte, request uint32, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.put(kind, request, payload)
}

// send is write and flush.
func (f *frames) send(kind byte, request uint32, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.put(kind, request, payload); err != nil {
		return err
	}
	err := f.out.Flush()
	f.alive()
	return err
}

// put writes a frame into the buffer; f.mu is held.
func (f *frames) put(kind byte, request uint32, payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("%d bytes are too many for one frame, at most %d are allowed", len(payload), maxPayload)
	}
	var header [frameHeader]byte
	binary.BigEndian.PutUint32(header[0:], uint32(len(payload)))
	header[4] = kind
	binary.BigEndian.PutUint32(header[5:], request)
	binary.BigEndian.PutUint32(header[9:], checksum(header[:9], payload))
	if _, err := f.out.Write(header[:]); err != nil {
		return err
	}
	_, err := f.out.Write(payload)
	f.alive()
	return err
}

func checksum(header, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(header, castagnoli()), castagnoli(), payload)
}

// noEOF makes the end of a stream in the middle of something an error that
// cannot be taken for a proper end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
