package walcore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/warmrun/warmrun/walcore/packed"
)

// PieceBody is a Body that comes in pieces, which need not be copied, and which
// may be packed already, so that they can be stored as they came.
type PieceBody interface {
	io.Reader
	// Piece is the next piece and, of a form that packs, its frame; both are
	// good until the next call. io.EOF comes with the end alone.
	Piece(form packed.Form) (piece, frame []byte, err error)
}

// headSize is how much of a packed segment's content is kept to be looked at.
const headSize = 8 << 10

// packs reports whether the file is to be stored packed. What replaces another
// copy, or is not yet whole, is not.
func (p *put) packs() bool {
	return cmp.Or(p.Form, p.archive.form).Packs() && p.Name.Kind() == KindSegment && p.Provisional == 0 && p.stored == nil
}

// receivePacked writes the frames of the body, which must hold Size bytes.
func (p *put) receivePacked(ctx context.Context) error {
	p.form = cmp.Or(p.Form, p.archive.form)
	body, ok := p.Body.(PieceBody)
	if !ok {
		own, err := newPackingBody(p.Body, p.form)
		if err != nil {
			return err
		}
		body = own
	}
	if err := p.begin(); err != nil {
		return err
	}
	left, room := p.Size, packed.MaxStored(p.Size)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		piece, frame, err := body.Piece(p.form)
		switch {
		case errors.Is(err, io.EOF) && left == 0:
			startWriteback(p.tmp, 0, packed.MaxStored(p.Size)-room)
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("it ended %d bytes early", left)
		case err != nil:
			return err
		}
		left, room = left-int64(len(piece)), room-int64(len(frame))
		if left < 0 {
			return errors.New("it is longer than was announced")
		}
		if room < 0 {
			return fmt.Errorf("its frames take more than %d bytes", packed.MaxStored(p.Size))
		}
		p.head = append(p.head, piece[:min(len(piece), headSize-len(p.head))]...)
		if _, err := p.tmp.Write(frame); err != nil {
			return err
		}
	}
}

// content is what was received, to be read whole. A packed segment is unpacked
// for it.
func (p *put) content() (*os.File, error) {
	if !p.form.Packs() {
		return p.tmp, nil
	}
	if p.plain != nil {
		return p.plain, nil
	}
	if _, err := p.tmp.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	plain, err := p.archive.unpack(&storedFile{p.tmp, p.form})
	p.plain = plain
	return plain, err
}

// packingBody packs what a plain body holds.
type packingBody struct {
	io.Reader
	packer *packed.Packer
	buf    []byte
	ended  error
}

func newPackingBody(r io.Reader, form packed.Form) (*packingBody, error) {
	packer, err := packed.NewPacker(form)
	return &packingBody{Reader: r, packer: packer, buf: make([]byte, packed.PieceSize)}, err
}

// Piece reads and packs one piece; the form is the one that it was made for.
func (b *packingBody) Piece(packed.Form) (piece, frame []byte, err error) {
	if b.ended != nil {
		return nil, nil, b.ended
	}
	n, err := Fill(b.Reader, b.buf)
	b.ended = err
	switch {
	case n == 0:
		return nil, nil, err
	case IsZero(b.buf[:n]):
		return b.buf[:n], b.packer.PackZeros(n), nil
	}
	return b.buf[:n], b.packer.Pack(b.buf[:n]), nil
}
