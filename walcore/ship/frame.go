package ship

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is a length, a type, a checksum of both and of the payload, and the
// payload.
const (
	frameHeader = 9
	maxPayload  = 1 << 20
	dataPayload = 128 << 10 // what is sent at a time of a file
)

// The types of frame.
const (
	frameHello   byte = 'H' // the versions of the sender; first, from both sides
	frameRequest byte = 'Q' // what the client wants
	frameReply   byte = 'R' // the agent's answer
	frameError   byte = 'E' // the agent's answer when it is no
	frameData    byte = 'D' // a piece of a file or list
	frameEnd     byte = 'Z' // its end, with a BLAKE3 hash of all pieces
	frameAbort   byte = 'X' // its sender cannot go on; the payload says why
)

// errProtocol marks what only a broken or foreign peer sends. The session ends
// with it.
var errProtocol = errors.New("the other side broke the protocol")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errProtocol)
}

// frames reads and writes frames. It holds one payload, whatever the peer says.
type frames struct {
	in      *bufio.Reader
	out     *bufio.Writer
	payload []byte
	alive   func() // called whenever bytes have moved
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

// read returns the next frame. The payload is good until the next read. io.EOF
// means that the peer has closed the stream between two frames.
func (f *frames) read() (kind byte, payload []byte, err error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(f.in, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the connection was cut in the middle of a message: %w", err)
		}
		return 0, nil, err
	}
	f.alive()
	length := binary.BigEndian.Uint32(header[0:])
	kind = header[4]
	if length > maxPayload {
		return 0, nil, protocolError("a frame of %d bytes, at most %d are allowed", length, maxPayload)
	}
	if int(length) > cap(f.payload) {
		f.payload = make([]byte, length)
	}
	payload = f.payload[:length]
	if _, err := io.ReadFull(f.in, payload); err != nil {
		return 0, nil, fmt.Errorf("the connection was cut in the middle of a message: %w", noEOF(err))
	}
	f.alive()
	if sum := checksum(header[:5], payload); sum != binary.BigEndian.Uint32(header[5:]) {
		return 0, nil, protocolError("a frame of %d bytes was damaged on the way (its checksum does not match)", length)
	}
	return kind, payload, nil
}

// write sends a frame; it is on its way after flush.
func (f *frames) write(kind byte, payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("%d bytes are too many for one frame, at most %d are allowed", len(payload), maxPayload)
	}
	var header [frameHeader]byte
	binary.BigEndian.PutUint32(header[0:], uint32(len(payload)))
	header[4] = kind
	binary.BigEndian.PutUint32(header[5:], checksum(header[:5], payload))
	if _, err := f.out.Write(header[:]); err != nil {
		return err
	}
	_, err := f.out.Write(payload)
	f.alive()
	return err
}

func (f *frames) flush() error {
	err := f.out.Flush()
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
