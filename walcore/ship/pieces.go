package ship

import (
	"context"
	"encoding/binary"
	"errors"
	"hash"
	"io"

	"github.com/zeebo/blake3"

	"github.com/warmrun/warmrun/walcore"
)

// sender writes a stream as pieces and ends it with the hash of them all.
// Pieces of zeros, of which a segment that was switched early mostly consists,
// go as their length. The others are packed where that makes them smaller.
type sender struct {
	frames  *frames
	request uint32
	pack    packer
	hash    hash.Hash
	// stored: the pieces are stored as they are sent, and the hash is that of the
	// payloads. What they hold, each frame has a checksum of.
	stored bool
}

func newSender(f *frames, request uint32, pack packer) *sender {
	return &sender{frames: f, request: request, pack: pack, hash: blake3.New()}
}

// Write sends b, at most maxPayload bytes, as one piece.
func (s *sender) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if walcore.IsZero(b) {
		length := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
		if _, err := s.hash.Write(length); err != nil {
			return 0, err
		}
		return len(b), s.frames.write(frameZeros, s.request, length)
	}
	kind, payload := s.pack(b)
	hashed := b
	if s.stored {
		hashed = payload
	}
	if _, err := s.hash.Write(hashed); err != nil {
		return 0, err
	}
	return len(b), s.frames.write(kind, s.request, payload)
}

// end sends the hash of all pieces.
func (s *sender) end() error { return s.frames.send(frameEnd, s.request, s.hash.Sum(nil)) }

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
