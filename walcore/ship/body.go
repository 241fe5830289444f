package ship

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/warmrun/warmrun/walcore/packed"
)

// body reads a stream of pieces. It ends with io.EOF only when the seal of all
// of them has been found right.
type body struct {
	// next yields the frames of the request; its error ends the session.
	next func() (frame, error)
	// done gives the memory of a payload back; nil where nobody wants it.
	done func(payload []byte)
	left int64 // how many bytes may still come; a sender that goes on has no end

	seal   *seal
	unpack *codec      // the caller's; nil for one of its own
	own    codec       // closed with the stream
	held   []byte      // the payload that rest is part of
	form   packed.Form // of held
	whole  int         // the length of the piece in held
	rest   []byte      // of the piece read last
	zeros  int         // that are left of a piece of zeros
	ended  error       // io.EOF, or why it ended early
	broken error       // the session cannot go on
}

func (b *body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 && b.zeros == 0 {
		if err := b.err(); err != nil {
			return 0, err
		}
		b.step()
	}
	if b.zeros > 0 {
		n := min(len(p), b.zeros)
		clear(p[:n])
		b.zeros -= n
		return n, nil
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Piece makes a body a walcore.PieceBody. A piece that came in the form is not
// packed again.
func (b *body) Piece(form packed.Form) (piece, frame []byte, err error) {
	for len(b.rest) == 0 && b.zeros == 0 {
		if err := b.err(); err != nil {
			return nil, nil, err
		}
		b.step()
	}
	piece, blank := b.takeRest()
	switch {
	case !form.Packs():
		return piece, nil, nil
	case b.form == form && len(piece) == b.whole:
		return piece, b.held, nil
	}
	packer, err := b.codec().packer(form)
	switch {
	case err != nil:
		return nil, nil, err
	case blank:
		return piece, packer.PackZeros(len(piece)), nil
	}
	return piece, packer.Pack(piece), nil
}

// takeRest is what has come and was not read yet, or some of the zeros.
func (b *body) takeRest() (piece []byte, blank bool) {
	if b.zeros > 0 {
		piece = b.codec().zeros(min(b.zeros, dataPayload))
		b.zeros -= len(piece)
		return piece, true
	}
	piece, b.rest = b.rest, nil
	return piece, false
}

func (b *body) codec() *codec {
	if b.unpack == nil {
		return &b.own
	}
	return b.unpack
}

func (b *body) err() error {
	if b.broken != nil {
		return b.broken
	}
	return b.ended
}

// step takes in one frame.
func (b *body) step() {
	if b.seal == nil {
		b.seal = newSeal()
	}
	b.release()
	f, err := b.next()
	if err != nil {
		b.broken = noEOF(err)
		return
	}
	b.held = f.payload
	switch f.kind {
	case frameData:
		b.take(f, f.payload, nil)
	case frameS2:
		piece, err := b.codec().s2(f.payload)
		b.take(f, piece, err)
	case frameZstd:
		b.takePacked(packed.Zstd, f)
	case frameLZ4:
		b.takePacked(packed.LZ4, f)
	case frameZeros:
		b.takeZeros(f)
	case frameEnd:
		b.ended = b.verify(f.payload)
	case frameAbort:
		b.ended = &remoteError{message: fmt.Sprintf("its sender gave up: %s", clean(string(f.payload), maxText))}
	case frameError:
		var said failure
		if b.broken = decode(f.payload, &said); b.broken == nil {
			b.ended = &answerError{said.err()}
		}
	default:
		b.broken = protocolError("a frame of type %q in the middle of a file", f.kind)
	}
}

// take makes a piece that came in a frame the next one to be read.
func (b *body) take(f frame, piece []byte, err error) {
	if err == nil {
		err = b.count(int64(len(piece)))
	}
	if err != nil {
		b.broken = err
		return
	}
	b.rest = piece
	b.seal.add(f.kind, f.payload, piece)
}

func (b *body) takePacked(form packed.Form, f frame) {
	piece, err := b.codec().unpack.Unpack(form, f.payload)
	if err != nil {
		err = protocolError("a packed piece that cannot be unpacked (%v)", err)
	}
	b.form, b.whole = form, len(piece)
	b.take(f, piece, err)
}

func (b *body) takeZeros(f frame) {
	if len(f.payload) != 4 || binary.BigEndian.Uint32(f.payload) > maxPayload {
		b.broken = protocolError("a piece of zeros of %x bytes", f.payload)
		return
	}
	b.zeros = int(binary.BigEndian.Uint32(f.payload))
	if b.broken = b.count(int64(b.zeros)); b.broken == nil {
		b.seal.add(f.kind, f.payload, nil)
	}
}

func (b *body) count(bytes int64) error {
	if b.left -= bytes; b.left < 0 {
		return protocolError("more bytes of a file than were announced")
	}
	return nil
}

func (b *body) release() {
	if b.held != nil && b.done != nil {
		b.done(b.held)
	}
	b.held, b.rest, b.form = nil, nil, ""
}

// verify compares what has come with what was sent.
func (b *body) verify(sent []byte) error {
	if !bytes.Equal(b.seal.sum(), sent) {
		return errors.New("it was damaged on the way: its hash does not match")
	}
	return io.EOF
}

// drain reads on to the end of the stream, so that the next one can be read.
// It returns an error when there can be no next one.
func (b *body) drain() error {
	for b.broken == nil && b.ended == nil {
		b.zeros = 0
		b.step()
	}
	b.release()
	b.own.close()
	return b.broken
}
