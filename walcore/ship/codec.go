package ship

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"

	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/packed"
)

// packer makes a frame's payload of a piece. What it returns is good until it
// is called again.
type packer func(piece []byte) (kind byte, payload []byte)

func asIs(piece []byte) (byte, []byte) { return frameData, piece }

// newPacker is a packer for the wire alone.
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
		p, err := packed.NewPacker(packed.Zstd)
		return func(piece []byte) (byte, []byte) { return smaller(piece, frameZstd, p.Pack(piece)) }, err
	}
	return nil, fmt.Errorf("unknown compression %q (want none, s2 or zstd)", c)
}

// newStoringPacker is a packer for pieces that are stored as they are sent. It
// packs what cannot be made smaller, too.
func newStoringPacker(form packed.Form) (packer, error) {
	kind := frameOfForm(form)
	p, err := packed.NewPacker(form)
	return func(piece []byte) (byte, []byte) { return kind, p.Pack(piece) }, err
}

// frameOfForm is the type of frame that takes a piece of a form.
func frameOfForm(form packed.Form) byte {
	if form == packed.LZ4 {
		return frameLZ4
	}
	return frameZstd
}

// smaller is the packed piece where packing was worth while.
func smaller(piece []byte, kind byte, payload []byte) (byte, []byte) {
	if len(payload) > len(piece)-len(piece)/16 {
		return frameData, piece
	}
	return kind, payload
}

// packers keeps the packers of a connection: their tables cost more to make
// than a piece costs to pack.
type packers struct {
	mu   sync.Mutex
	free map[packed.Form][]packer
}

// take is a packer of a form; give it back when the file has been sent.
func (l *packers) take(c cluster.Compression, form packed.Form) (packer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free[form]); n > 0 {
		pack := l.free[form][n-1]
		l.free[form] = l.free[form][:n-1]
		return pack, nil
	}
	if form.Packs() {
		return newStoringPacker(form)
	}
	return newPacker(c)
}

func (l *packers) give(form packed.Form, pack packer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == nil {
		l.free = map[packed.Form][]packer{}
	}
	if len(l.free[form]) < lookAhead {
		l.free[form] = append(l.free[form], pack)
	}
}

// codec undoes what packers do, and packs what came otherwise than it is to be
// stored. No payload makes it take more memory than a few pieces of the largest
// size.
type codec struct {
	buf     []byte // of s2
	unpack  packed.Unpacker
	packers map[packed.Form]*packed.Packer
	blank   []byte
}

func (c *codec) s2(payload []byte) ([]byte, error) {
	length, err := s2.DecodedLen(payload)
	if err != nil || length > maxPayload {
		return nil, protocolError("a packed piece of %d bytes (%v)", length, err)
	}
	if cap(c.buf) < length {
		c.buf = make([]byte, max(length, dataPayload))
	}
	out, err := s2.Decode(c.buf[:cap(c.buf)], payload)
	if err != nil {
		return nil, protocolError("a packed piece that cannot be unpacked (%v)", err)
	}
	return out, nil
}

// packer is one of a form.
func (c *codec) packer(form packed.Form) (*packed.Packer, error) {
	if p := c.packers[form]; p != nil {
		return p, nil
	}
	p, err := packed.NewPacker(form)
	if err != nil {
		return nil, err
	}
	if c.packers == nil {
		c.packers = map[packed.Form]*packed.Packer{}
	}
	c.packers[form] = p
	return p, nil
}

// zeros are n zeros, dataPayload at most, which nobody may write to.
func (c *codec) zeros(n int) []byte {
	if c.blank == nil {
		c.blank = make([]byte, dataPayload)
	}
	return c.blank[:n]
}

func (c *codec) close() { c.unpack.Close() }

// codecs keeps those of a session for its next files.
type codecs struct {
	mu   sync.Mutex
	free []*codec
}

func (l *codecs) take() *codec {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return &codec{}
	}
	c := l.free[n-1]
	l.free = l.free[:n-1]
	return c
}

func (l *codecs) give(c *codec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, c)
}

func (l *codecs) close() {
	for _, c := range l.free {
		c.close()
	}
}
