package filesync

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// file sends one file, or its part of one.
func (s *sender) file(ctx context.Context, o *outgoing) (err error) {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	f, before, err := s.dir.regular(o.entry.Path)
	if errors.Is(err, fs.ErrNotExist) && o.kept {
		s.giveBack(o)
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return s.gone(ctx, o)
	}
	if err != nil {
		return err
	}
	given := false
	defer func() {
		if !given {
			err = errors.Join(err, f.Close())
		}
	}()
	o.file, o.before = f, before
	o.sparse = o.size() > putSize && knowsHoles(f)
	if o.split != nil {
		o.inspect = o.split.inspector(s.inspector)
	} else {
		o.inspect = s.inspector(*o.entry)
	}
	if o.kept {
		return s.look(ctx, o)
	}
	if s.mayHand(o) {
		given = true
		return s.hand(o)
	}
	if o.known() < 0 && o.entry.Size <= putSize {
		return s.put(ctx, o)
	}
	if err := s.announceFile(o); err != nil {
		return err
	}
	if err := s.content(ctx, o); err != nil {
		return err
	}
	if err := s.settle(ctx, o); err != nil {
		return err
	}
	stamp, err := s.verdict(o)
	if err != nil {
		return err
	}
	return s.c.write(frameEnd, new(encoder).uint(uint64(o.id)).time(stamp).b)
}

// look lets the inspector see a file that the target has already. One that
// is no longer as it was listed, or is written to meanwhile, must be copied.
func (s *sender) look(ctx context.Context, o *outgoing) error {
	same := func(info fs.FileInfo) bool {
		return info.Size() == o.entry.Size && info.ModTime().Equal(o.entry.ModTime)
	}
	for offset := int64(0); offset < o.entry.Size && same(o.before); offset += readSize {
		if err := s.read(o, s.buf[:min(readSize, o.entry.Size-offset)], offset); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	after, err := o.file.Stat()
	if err != nil {
		return err
	}
	if !same(o.before) || !same(after) {
		s.giveBack(o)
		return nil
	}
	s.handled(int(o.entry.Size), 0)
	return o.inspect.Done(o.entry.Size)
}

// giveBack has a file copied that was only to be looked at.
func (s *sender) giveBack(o *outgoing) {
	o.returned = true
	j := o.job
	j.kept = false
	s.again(j)
}

// gone says that a file is no longer there.
func (s *sender) gone(ctx context.Context, o *outgoing) error {
	if err := s.change(o, Vanished); err != nil {
		return err
	}
	if err := s.settle(ctx, o); err != nil {
		return err
	}
	if err := s.announceFile(o); err != nil {
		return err
	}
	return s.c.write(frameGone, new(encoder).uint(uint64(o.id)).b)
}

// put sends a small file in one frame.
func (s *sender) put(ctx context.Context, o *outgoing) error {
	buf := s.buf[:o.entry.Size]
	if err := s.read(o, buf, 0); err != nil {
		return err
	}
	stamp, err := s.verdict(o)
	if err != nil {
		return err
	}
	o.literal = o.entry.Size
	s.handled(len(buf), len(buf))
	packed, pays := s.pack.pack(buf)
	if pays {
		buf = packed
	}
	if err := s.pace(ctx, len(buf)); err != nil {
		return err
	}
	return s.c.write(framePut, s.intro(o).time(stamp).bool(pays).b, buf)
}

// content sends the part of a file that differs from what the target has.
func (s *sender) content(ctx context.Context, o *outgoing) error {
	if err := s.vouch(o); err != nil {
		return err
	}
	for at := o.from; at < o.to; {
		next := min(o.to, at+spanSize)
		var err error
		if o.listed && o.isSure(at) {
			err = s.pass(ctx, o, at, next)
		} else {
			err = s.span(ctx, o, at, next)
		}
		if err != nil {
			return err
		}
		at = next
	}
	return nil
}

// span sends what differs in one span of a file.
func (s *sender) span(ctx context.Context, o *outgoing, from, to int64) error {
	var hashes []byte
	if from < o.known() && !o.isSure(from) {
		var err error
		if hashes, err = s.await(ctx, o); err != nil {
			return err
		}
		if err := s.ask(o); err != nil {
			return err
		}
	}
	for at := from; at < to; {
		buf := s.buf[:min(readSize, to-at)]
		if err := s.read(o, buf, at); err != nil {
			return err
		}
		if err := s.chunk(ctx, o, at, buf, hashes); err != nil {
			return err
		}
		hashes = hashes[min(len(hashes), hashesLength(int64(len(buf)))):]
		at += int64(len(buf))
	}
	if !o.listed {
		return nil
	}
	return s.note(o, o.entry.ModTime, from, to)
}

// read reads a stretch of a file and lets the inspector look at it. What the
// file does not have any more reads as zeros.
func (s *sender) read(o *outgoing, buf []byte, offset int64) error {
	if len(buf) == 0 {
		return nil
	}
	if o.sparse && len(buf) > putSize && inHole(o.file, offset, int64(len(buf))) {
		clear(buf)
	} else {
		n, err := o.file.ReadAt(buf, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		o.short = o.short || n < len(buf)
		clear(buf[n:])
	}
	return o.inspect.Block(offset, buf, o.file)
}

// inHole reports whether a stretch of a file is in a hole, where the file system
// knows them. One that cannot tell has none (lseek(2)).
func inHole(f *os.File, offset, n int64) bool {
	data, err := unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // no more data up to the end, or beyond it
		return true
	}
	return err == nil && data >= offset+n
}

// chunk sends the blocks of data that do not have the given hashes, zeros as
// their number.
func (s *sender) chunk(ctx context.Context, o *outgoing, offset int64, data, hashes []byte) error {
	s.runs = s.hash.differing(s.runs[:0], data, hashes)
	literal := 0
	for _, r := range s.runs {
		at := new(encoder).uint(uint64(o.id)).int(offset + int64(r.from))
		if r.zeros {
			if err := s.c.write(frameZeros, at.int(int64(r.to-r.from)).b); err != nil {
				return err
			}
			o.literal++ // so that the file counts as one that differed
			continue
		}
		if err := s.data(ctx, o, at, data[r.from:r.to]); err != nil {
			return err
		}
		literal += r.to - r.from
	}
	o.literal += int64(literal)
	s.handled(len(data), literal)
	return ctx.Err()
}

// data sends one run of bytes, packed where that pays.
func (s *sender) data(ctx context.Context, o *outgoing, at *encoder, data []byte) error {
	t := frameData
	if !o.patience.passOver() {
		packed, pays := s.pack.pack(data)
		if pays {
			t, data = framePacked, packed
		}
		o.patience.tried(pays)
	}
	if err := s.pace(ctx, len(data)); err != nil {
		return err
	}
	return s.c.write(t, at.b, data)
}

// verdict compares a file that has been read with what it was, reports changes,
// and returns the modification time that the copy gets.
//
// A copy whose source may be written again without a visible change of its
// time gets a time that is one nanosecond off, so that the next copy compares
// its content.
func (s *sender) verdict(o *outgoing) (time.Time, error) {
	if err := s.inspected(o); err != nil {
		return time.Time{}, err
	}
	after, err := o.file.Stat()
	if err != nil {
		return time.Time{}, err
	}
	stamp := o.before.ModTime()
	written := !after.ModTime().Equal(stamp) || after.Size() != o.before.Size()
	switch {
	case o.short || after.Size() < o.entry.Size:
		err = s.change(o, Shrunk)
	case after.Size() > o.entry.Size:
		err = s.change(o, Grown)
	case written:
		err = s.change(o, Modified)
	}
	if written || after.Size() != o.entry.Size || time.Since(stamp) < racy {
		stamp = stamp.Add(-time.Nanosecond)
	}
	return stamp, err
}

// inspected tells the inspector when the whole file has been read.
func (s *sender) inspected(o *outgoing) error {
	if o.split != nil {
		return o.split.read()
	}
	return o.inspect.Done(o.entry.Size)
}

// change tells once of what happened to a file.
func (s *sender) change(o *outgoing, c Change) error {
	if o.split != nil && !o.split.changed(c) {
		return nil
	}
	return s.changed(o.job, c)
}
