package ship

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// sender writes a stream as pieces and ends it with the hash of them all.
// Pieces of zeros, of which a segment that was switched early mostly consists,
// go as their length. The others are packed where that makes them smaller.
type sender struct {
	frames  *frames
	request uint32
	pack    packer
	hash    hash.Hash
}

func newSender(f *frames, request uint32, pack packer) *sender {
	return &sender{frames: f, request: request, pack: pack, hash: blake3.New()}
}

// Write sends b, at most maxPayload bytes, as one piece.
func (s *sender) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if allZeros(b) {
		length := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
		if _, err := s.hash.Write(length); err != nil {
			return 0, err
		}
		return len(b), s.frames.write(frameZeros, s.request, length)
	}
	if _, err := s.hash.Write(b); err != nil {
		return 0, err
	}
	kind, packed := s.pack(b)
	return len(b), s.frames.write(kind, s.request, packed)
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
		n, err := fillPiece(r, buf)
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

// fillPiece reads until the buffer is full or r says no.
func fillPiece(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var read int
		read, err = r.Read(buf[n:])
		n += read
	}
	return n, err
}

func allZeros(b []byte) bool {
	var zeros [4096]byte
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// packer makes a frame's payload of a piece. What it returns is good until it
// is called again.
type packer func(piece []byte) (kind byte, payload []byte)

func asIs(piece []byte) (byte, []byte) { return frameData, piece }

// newPacker is the packer of one file. Each holds memory for one piece.
func newPacker(c cluster.Compression) (packer, error) {
	switch c {
	case cluster.CompressNone:
		return asIs, nil
	case cluster.CompressS2, "":
		var buf []byte
		return func(piece []byte) (byte, []byte) {
			if need := s2.MaxEncodedLen(len(piece)); cap(buf) < need {
				buf = make([]byte, need)
			}
			return smaller(piece, frameS2, s2.Encode(buf[:cap(buf)], piece))
		}, nil
	case cluster.CompressZstd:
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(dataPayload))
		if err != nil {
			return nil, err
		}
		var buf []byte
		return func(piece []byte) (byte, []byte) {
			buf = encoder.EncodeAll(piece, buf[:0])
			return smaller(piece, frameZstd, buf)
		}, nil
	}
	return nil, fmt.Errorf("unknown compression %q (want none, s2 or zstd)", c)
}

// smaller is the packed piece where packing was worth while.
func smaller(piece []byte, kind byte, packed []byte) (byte, []byte) {
	if len(packed) > len(piece)-len(piece)/16 {
		return frameData, piece
	}
	return kind, packed
}

// unpacker undoes what packers do. No payload makes it take more memory than
// two pieces of the largest size.
type unpacker struct {
	buf  []byte
	zstd *zstd.Decoder
}

func (u *unpacker) s2(payload []byte) ([]byte, error) {
	length, err := s2.DecodedLen(payload)
	if err != nil || length > maxPayload {
		return nil, protocolError("a packed piece of %d bytes (%v)", length, err)
	}
	if cap(u.buf) < length {
		u.buf = make([]byte, max(length, dataPayload))
	}
	out, err := s2.Decode(u.buf[:cap(u.buf)], payload)
	if err != nil {
		return nil, protocolError("a packed piece that cannot be unpacked (%v)", err)
	}
	return out, nil
}

func (u *unpacker) unzstd(payload []byte) (out []byte, err error) {
	if u.zstd == nil {
		if u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload)); err != nil {
			return nil, err
		}
	}
	if u.buf, err = u.zstd.DecodeAll(payload, u.buf[:0]); err != nil || len(u.buf) > maxPayload {
		return nil, protocolError("a packed piece that cannot be unpacked (%v)", err)
	}
	return u.buf, nil
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
		u.zstd = nil
	}
}
