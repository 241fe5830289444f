package filesync

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/klauspost/compress/s2"
)

// file sends one file.
func (s *sender) file(ctx context.Context, o *outgoing) (err error) {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	f, before, err := openRegular(s.root, o.entry.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.gone(ctx, o)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	o.inspect = s.inspector(o.entry)
	if o.basis < 0 && o.entry.Size <= putSize {
		return s.put(ctx, o, f, before)
	}
	if !o.begun {
		if err := s.announceFile(o); err != nil {
			return err
		}
	}
	end, err := s.content(ctx, o, f)
	if err != nil {
		return err
	}
	if err := o.inspect.Done(o.entry.Size); err != nil {
		return err
	}
	if err := s.settle(ctx, o); err != nil {
		return err
	}
	stamp, err := s.verdict(o, f, before, end)
	if err != nil {
		return err
	}
	return s.c.write(frameEnd, new(encoder).uint(uint64(o.id)).int(end).time(stamp).b)
}

// gone says that a file is no longer there.
func (s *sender) gone(ctx context.Context, o *outgoing) error {
	if err := s.changed(o.job, Vanished); err != nil {
		return err
	}
	if err := s.settle(ctx, o); err != nil {
		return err
	}
	if !o.begun {
		if err := s.announceFile(o); err != nil {
			return err
		}
	}
	return s.c.write(frameGone, new(encoder).uint(uint64(o.id)).b)
}

// put sends a small file in one frame.
func (s *sender) put(ctx context.Context, o *outgoing, f *os.File, before fs.FileInfo) error {
	n, err := readFull(f, s.buf[:o.entry.Size], 0)
	if err != nil {
		return err
	}
	clear(s.buf[n:o.entry.Size])
	if o.entry.Size > 0 {
		if err := o.inspect.Block(0, s.buf[:o.entry.Size], f); err != nil {
			return err
		}
	}
	if err := o.inspect.Done(o.entry.Size); err != nil {
		return err
	}
	if err := s.pace(ctx, n); err != nil {
		return err
	}
	stamp, err := s.verdict(o, f, before, int64(n))
	if err != nil {
		return err
	}
	o.literal = int64(n)
	s.handled(int(o.entry.Size), n)
	return s.c.write(framePut, s.intro(o).time(stamp).b, s.buf[:n])
}

// content sends the part of a file that differs from the basis and returns
// where the file ended, at most at its listed size.
func (s *sender) content(ctx context.Context, o *outgoing, f *os.File) (int64, error) {
	var hashes []byte
	for offset := int64(0); offset < o.entry.Size; {
		if offset%spanSize == 0 && offset < o.basis {
			var err error
			if hashes, err = s.await(ctx, o); err != nil {
				return 0, err
			}
			if err := s.ask(o); err != nil {
				return 0, err
			}
		}
		want := int(min(chunkSize, o.entry.Size-offset))
		n, err := readFull(f, s.buf[:want], offset)
		if err != nil {
			return 0, err
		}
		clear(s.buf[n:want])
		if err := o.inspect.Block(offset, s.buf[:want], f); err != nil {
			return 0, err
		}
		if err := s.chunk(ctx, o, offset, s.buf[:n], hashes); err != nil {
			return 0, err
		}
		hashes = hashes[min(len(hashes), hashesLength(int64(n))):]
		offset += int64(n)
		if n < want {
			return offset, inspectZeros(o.inspect, offset-int64(n)+int64(want), o.entry.Size, s.buf, f)
		}
	}
	return o.entry.Size, nil
}

// chunk sends the blocks of data that do not have the given hashes.
func (s *sender) chunk(ctx context.Context, o *outgoing, offset int64, data, hashes []byte) error {
	s.runs = differing(s.runs[:0], data, hashes)
	literal := 0
	for _, r := range s.runs {
		if err := s.pace(ctx, r.to-r.from); err != nil {
			return err
		}
		if err := s.data(o.id, offset+int64(r.from), data[r.from:r.to]); err != nil {
			return err
		}
		literal += r.to - r.from
	}
	o.literal += int64(literal)
	s.handled(len(data), literal)
	return ctx.Err()
}

// data sends one run of bytes, packed where that pays.
func (s *sender) data(id uint32, offset int64, data []byte) error {
	e := new(encoder).uint(uint64(id)).int(offset)
	if s.compress {
		if n := s2.MaxEncodedLen(len(data)); cap(s.packed) < n {
			s.packed = make([]byte, n)
		}
		packed := s2.Encode(s.packed[:cap(s.packed)], data)
		if len(packed) < len(data)-len(data)/8 {
			return s.c.write(framePacked, e.b, packed)
		}
	}
	return s.c.write(frameData, e.b, data)
}

// verdict compares a file that has been read with what it was, reports changes,
// and returns the modification time that the copy gets.
//
// A copy whose source may be written again without a visible change of its
// time gets a time that is one nanosecond off, so that the next copy compares
// its content.
func (s *sender) verdict(o *outgoing, f *os.File, before fs.FileInfo, end int64) (time.Time, error) {
	after, err := f.Stat()
	if err != nil {
		return time.Time{}, err
	}
	stamp := before.ModTime()
	written := !after.ModTime().Equal(stamp) || after.Size() != before.Size()
	switch {
	case end < o.entry.Size:
		err = s.changed(o.job, Shrunk)
	case after.Size() > o.entry.Size:
		err = s.changed(o.job, Grown)
	case written:
		err = s.changed(o.job, Modified)
	}
	if written || end != after.Size() || time.Since(stamp) < racy {
		stamp = stamp.Add(-time.Nanosecond)
	}
	return stamp, err
}

// readFull reads until buf is full or the file ends.
func readFull(f *os.File, buf []byte, offset int64) (int, error) {
	n, err := f.ReadAt(buf, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
