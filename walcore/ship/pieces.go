package ship

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/zeebo/blake3"

	"github.com/warmrun/warmrun/walcore"
)

// seal ends a stream of pieces. It is the hash of all payloads, in order, as
// they travelled, and a checksum of what the pieces that came in S2 unpack to:
// the other forms of frame carry one of their own. Hashing what is sent, and
// not what it holds, costs a quarter for ordinary WAL.
type seal struct {
	hash *blake3.Hasher
	s2   uint32
}

func newSeal() *seal { return &seal{hash: blake3.New()} }

// add takes in a piece and the payload that it travels as.
func (s *seal) add(kind byte, payload, piece []byte) {
	_, _ = s.hash.Write(payload) // never fails
	if kind == frameS2 {
		s.s2 = crc32.Update(s.s2, castagnoli(), piece)
	}
}

func (s *seal) sum() []byte { return binary.BigEndian.AppendUint32(s.hash.Sum(nil), s.s2) }

// sender writes a stream as pieces and ends it with the seal of them all.
// Pieces of zeros, of which a segment that was switched early mostly consists,
// go as their length. The others are packed where that makes them smaller.
type sender struct {
	frames  *frames
	request uint32
	pack    packer
	seal    *seal
}

func newSender(f *frames, request uint32, pack packer) *sender {
	return &sender{frames: f, request: request, pack: pack, seal: newSeal()}
}

// Write sends b, at most maxPayload bytes, as one piece.
func (s *sender) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if walcore.IsZero(b) {
		return len(b), s.send(frameZeros, binary.BigEndian.AppendUint32(nil, uint32(len(b))), b)
	}
	kind, payload := s.pack(b)
	return len(b), s.send(kind, payload, b)
}

// send sends a piece as the payload that was made of it.
func (s *sender) send(kind byte, payload, piece []byte) error {
	s.seal.add(kind, payload, piece)
	return s.frames.write(kind, s.request, payload)
}

// end sends the seal of all pieces.
func (s *sender) end() error { return s.frames.send(frameEnd, s.request, s.seal.sum()) }

// abort tells the other side that no more pieces will come.
func (s *sender) abort(why error) error {
	return s.frames.send(frameAbort, s.request, truncate(why.Error()))
}

func truncate(s string) []byte { return []byte(s)[:min(len(s), maxText)] }

// sendAll streams all of r. A failing read, and an error of stop, which is
// asked before each piece, are told to the other side and returned as
// *answerError: the connection is as good as before.
func (s *sender) sendAll(ctx context.Context, r io.Reader, stop func() error) error {
	buf := make([]byte, dataPayload)
	for {
		n, err := walcore.Fill(r, buf)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if told := stop(); told != nil {
			err = told
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(s.abort(err), &answerError{err})
		}
		if _, writeErr := s.Write(buf[:n]); writeErr != nil {
			return writeErr
		}
		if err != nil {
			return s.end()
		}
	}
}
