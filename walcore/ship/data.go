package ship

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/zeebo/blake3"
)

// sender writes a stream as data frames and ends it with its hash.
type sender struct {
	*bufio.Writer
	out *dataWriter
}

func newSender(f *frames) *sender {
	out := &dataWriter{frames: f, hash: blake3.New()}
	return &sender{bufio.NewWriterSize(out, dataPayload), out}
}

// end sends what is left, and the hash.
func (s *sender) end() error {
	if err := s.Flush(); err != nil {
		return err
	}
	if err := s.out.frames.write(frameEnd, s.out.hash.Sum(nil)); err != nil {
		return err
	}
	return s.out.frames.flush()
}

type dataWriter struct {
	frames *frames
	hash   hash.Hash
}

func (d *dataWriter) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		piece := rest[:min(len(rest), dataPayload)]
		rest = rest[len(piece):]
		if _, err := d.hash.Write(piece); err != nil {
			return 0, err
		}
		if err := d.frames.write(frameData, piece); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// send streams all of r. A failing read is told to the other side, which then
// waits for the next request; only an error of the stream itself is returned
// with errStream.
func (f *frames) send(ctx context.Context, r io.Reader) error {
	out := newSender(f)
	buf := make([]byte, dataPayload)
	for {
		n, err := r.Read(buf)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return out.end()
		}
		if err != nil {
			return f.abort(err)
		}
	}
}

// because is why the other side hung up while this one was sending, if it
// said so before it did, else err.
func (f *frames) because(err error) error {
	kind, payload, readErr := f.read()
	var said failure
	if readErr != nil || kind != frameError || decode(payload, &said) != nil {
		return err
	}
	return said.err()
}

// abort tells the other side that no more data will come.
func (f *frames) abort(why error) error {
	if err := f.write(frameAbort, truncate(why.Error())); err != nil {
		return err
	}
	return f.flush()
}

func truncate(s string) []byte { return []byte(s)[:min(len(s), maxText)] }

// body reads a stream of data frames. It ends with io.EOF only when the hash of
// all of it has been found right.
type body struct {
	frames *frames
	want   digest // the hash that was promised; zero to trust the one at the end
	left   int64  // how many bytes may still come; a sender that goes on has no end
	hash   hash.Hash
	rest   []byte // of the frame read last
	ended  error  // io.EOF, or why it ended early
	broken error  // the session cannot go on
}

func (b *body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if err := b.errors(); err != nil {
			return 0, err
		}
		b.next()
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *body) errors() error {
	if b.broken != nil {
		return b.broken
	}
	return b.ended
}

// next reads a frame.
func (b *body) next() {
	if b.hash == nil {
		b.hash = blake3.New()
	}
	kind, payload, err := b.frames.read()
	switch {
	case err != nil:
		b.broken = noEOF(err)
	case kind == frameData && int64(len(payload)) > b.left:
		b.broken = protocolError("more bytes of a file than were announced")
	case kind == frameData:
		b.left -= int64(len(payload))
		_, b.broken = b.hash.Write(payload)
		b.rest = payload
	case kind == frameEnd:
		b.ended = b.verify(payload)
	case kind == frameAbort:
		b.ended = &remoteError{message: fmt.Sprintf("its sender gave up: %s", clean(string(payload), maxText))}
	case kind == frameError:
		var f failure
		if b.broken = decode(payload, &f); b.broken == nil {
			b.broken = f.err()
		}
	default:
		b.broken = protocolError("a frame of type %q in the middle of a file", kind)
	}
}

// verify compares what has come with what was sent and what was promised.
func (b *body) verify(sent []byte) error {
	sum := b.hash.Sum(nil)
	if !bytes.Equal(sum, sent) {
		return errors.New("it was damaged on the way: its hash does not match")
	}
	if b.want != (digest{}) && !bytes.Equal(sum, b.want[:]) {
		return errors.New("it changed while it was sent: its hash is not the one that was offered")
	}
	return io.EOF
}

// drain reads on to the end of the stream, so that the next request can be
// read. It returns an error when there can be no next one.
func (b *body) drain() error {
	for b.broken == nil && b.ended == nil {
		b.rest = nil
		b.next()
	}
	return b.broken
}
