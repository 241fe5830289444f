package filesync

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/warmrun/warmrun/walcore/hint"
)

// A frame on the wire is a header and a payload. The header has a checksum of
// its own: a damaged length would have both sides wait for each other.
//
//	4 bytes  length of the payload, big endian
//	1 byte   type
//	4 bytes  CRC-32C of the payload
//	4 bytes  CRC-32C of the nine bytes above
const (
	headerSize = 13
	// chunkSize is the most file content that one frame holds.
	chunkSize = 1 << 20
	// readSize is how much of a file is read at a time: what then looks at it, one
	// after the other, packs it and sends it finds it in the processor's own cache,
	// also where that is no more than a megabyte for each processor. With twice as
	// much a base copy takes a third more processor time.
	readSize = 128 << 10
	// maxPayload leaves room beside a chunk for the fields that describe it.
	maxPayload = chunkSize + 64<<10
	bufferSize = 256 << 10
)

type frameType uint8

// What the side that drives the copy sends.
const (
	frameHello   frameType = iota + 1 // greeting
	frameOpen                         // openRequest: which root, for what
	frameList                         // patterns: list the tree
	frameMkdir                        // Entry
	frameSymlink                      // Entry
	frameLink                         // path, and that of the file that gets it as a further name
	frameRemove                       // path
	frameMeta                         // Entry: set mode, owner and time
	frameBarrier                      // answer when all before has been done
	frameSync                         // answer when all before is on disk
	frameFetch                        // fetchRequest: send this file
	frameRead                         // readRequest: one small file
	frameWrite                        // writeRequest: one small file, durably
	frameFinish                       // finishRequest: all parts of a file have come
	frameProcess                      // number of a process to ask about

	// What the side that holds the source sends.
	frameBegin   // id, in a push also the job: a file, or a part of one, is about to come
	frameSums    // id, offset: hash what is there from there on
	frameData    // id, offset, content
	framePacked  // the same with the content packed
	frameZeros   // id, offset, number of zeros
	frameEnd     // id, modification time: all of it has come
	framePut     // a whole small file in one frame
	frameHanded  // id and job: it has been handed over within the process (in a push)
	frameGone    // id: the file is no longer there
	frameChanged // id, Change: it changed under way (in a pull)
	frameNote    // id, modification time, from, to: that much has come of a large file

	// What the side that serves, or holds the target, answers.
	frameWelcome // greeting
	frameOpened  // openReply
	frameEntries // some entries of the tree
	frameListed  // that was all
	frameNoted   // noted, before the entries
	frameDone    // to barrier, sync, write
	frameHashes  // id, offset, hashes of what is there
	framePart    // id, outcome: a part has been written (in a push)
	frameContent // of a small file
	frameState   // of a process
	frameFail    // code, message: the stream is at an end

	frameAlive // from the side that drives the copy: it is still there
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errProtocol marks what a correct peer never sends.
var errProtocol = hint.Wrap(errors.New("protocol error"),
	"run distrib to put the same warmrun on every node, then run the copy again; it goes on from what is there")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

// conn reads and writes frames. One goroutine may read while others write.
type conn struct {
	r       *bufio.Reader
	payload []byte // of the frame read last; grows up to maxPayload

	mu sync.Mutex // guards w
	w  *bufio.Writer

	sent, received atomic.Int64
}

func newConn(rw io.ReadWriter) *conn {
	return &conn{r: bufio.NewReaderSize(rw, bufferSize), w: bufio.NewWriterSize(rw, bufferSize)}
}

// read returns the next frame. Its payload is valid until the next read.
// io.EOF means that the stream ended between two frames.
func (c *conn) read() (frameType, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[:4])
	if checksum(header[:9]) != binary.BigEndian.Uint32(header[9:]) || size > maxPayload {
		return 0, nil, protocolError("this is no frame: %q", header[:])
	}
	if cap(c.payload) < int(size) {
		c.payload = make([]byte, size)
	}
	c.payload = c.payload[:size]
	if _, err := io.ReadFull(c.r, c.payload); err != nil {
		return 0, nil, notEOF(err)
	}
	if checksum(c.payload) != binary.BigEndian.Uint32(header[5:]) {
		return 0, nil, protocolError("a frame's checksum does not match: it was damaged on the way")
	}
	c.received.Add(int64(headerSize) + int64(size))
	return frameType(header[4]), c.payload, nil
}

// idle reports whether the next read would have to wait.
func (c *conn) idle() bool { return c.r.Buffered() < headerSize }

// write queues a frame whose payload is the parts one after another.
func (c *conn) write(t frameType, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size > maxPayload {
		return fmt.Errorf("a frame of %d bytes is too long to send", size)
	}
	var header [headerSize]byte
	binary.BigEndian.PutUint32(header[:4], uint32(size))
	header[4] = byte(t)
	binary.BigEndian.PutUint32(header[5:], checksum(parts...))
	binary.BigEndian.PutUint32(header[9:], checksum(header[:9]))
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.w.Write(header[:]); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := c.w.Write(p); err != nil {
			return err
		}
	}
	c.sent.Add(int64(headerSize) + int64(size))
	return nil
}

func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Flush()
}

// send is write and flush.
func (c *conn) send(t frameType, parts ...[]byte) error {
	if err := c.write(t, parts...); err != nil {
		return err
	}
	return c.flush()
}

func checksum(parts ...[]byte) uint32 {
	sum := uint32(0)
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// notEOF makes an end of the stream in the middle of something an unexpected
// one.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
