package ship

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/warmrun/warmrun/walcore"
)

// PutOptions bend one Put.
type PutOptions struct {
	// Provisional is that of walcore.PutRequest.
	Provisional walcore.LSN
}

// Put stores the file at path under name in the agent's archive. The file is
// offered by its hash first, so what is there already is not sent. It returns
// when the file is on disk there.
func (c *Client) Put(ctx context.Context, name walcore.FileName, path string, opt PutOptions) (walcore.PutResult, error) {
	f, err := os.Open(path)
	if err != nil {
		return walcore.PutResult{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return walcore.PutResult{}, errors.Join(err, f.Close())
	}
	result, err := c.PutFrom(ctx, name, f, info.Size(), opt)
	return result, errors.Join(err, f.Close())
}

// PutFrom is Put of the size bytes that r holds. It reads them twice.
func (c *Client) PutFrom(ctx context.Context, name walcore.FileName, r io.ReaderAt, size int64, opt PutOptions) (walcore.PutResult, error) {
	if err := checkSource(name, r, size); err != nil {
		return walcore.PutResult{}, err
	}
	source := func() io.Reader {
		return validPart(name, r, size, opt.Provisional)
	}
	sum, read, err := walcore.DigestOf(&contextReader{ctx, source()})
	if err == nil && read != size {
		err = fmt.Errorf("%s has %d bytes instead of %d: it was cut while it was read", name, read, size)
	}
	if err != nil {
		return walcore.PutResult{}, err
	}
	var result walcore.PutResult
	err = c.call(ctx, func() error {
		var offer offerReply
		err := c.ask(request{Op: opPut, Name: name, Size: size, Digest: sum, Provisional: opt.Provisional}, &offer)
		if err != nil {
			return err
		}
		if offer.Send {
			if err := c.frames.send(ctx, source()); err != nil {
				return c.frames.because(err)
			}
		}
		return c.reply(&result)
	})
	return result, err
}

// checkSource refuses what is no whole segment before anything is sent.
func checkSource(name walcore.FileName, r io.ReaderAt, size int64) error {
	if n, err := r.ReadAt(make([]byte, 1), size); n > 0 || err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%s is longer than the %d bytes it had", name, size), err)
	}
	if kind := name.Kind(); kind != walcore.KindSegment && kind != walcore.KindPartial {
		return nil
	}
	header, err := walcore.ReadPageHeader(r)
	if err != nil || int64(header.SegmentSize) == size {
		return nil // a header that is none is for the archive to judge
	}
	return (&walcore.RefusedError{
		Name: name, Reason: walcore.ReasonSize,
		Detail: fmt.Sprintf("it has %d bytes, its header says segments of %d", size, header.SegmentSize),
		Remedy: "only whole segments are shipped: the file was cut, or is still being written",
	}).Hinted()
}

// validPart is what r holds, with zeros beyond the end of a provisional
// segment.
func validPart(name walcore.FileName, r io.ReaderAt, size int64, end walcore.LSN) io.Reader {
	whole := io.NewSectionReader(r, 0, size)
	segmentSize := walcore.SegmentSize(size)
	if end == 0 || name.Kind() != walcore.KindSegment || size > 1<<30 || !segmentSize.Valid() {
		return whole
	}
	keep := int64(end - name.Segment().Start(segmentSize))
	if keep < 0 || keep > size {
		return whole // refused by the archive
	}
	return io.MultiReader(io.NewSectionReader(r, 0, keep), io.LimitReader(zeros{}, size-keep))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// Relay stores a file of one archive in the agent's, a provisional segment as
// a provisional one.
func (c *Client) Relay(ctx context.Context, from *walcore.Archive, name walcore.FileName) error {
	_, err := c.relay(ctx, from, name)
	return err
}

func (c *Client) relay(ctx context.Context, from *walcore.Archive, name walcore.FileName) (walcore.PutResult, error) {
	f, end, err := from.OpenWithEnd(name)
	if err != nil {
		return walcore.PutResult{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return walcore.PutResult{}, errors.Join(err, f.Close())
	}
	result, err := c.PutFrom(ctx, name, f, info.Size(), PutOptions{Provisional: end})
	return result, errors.Join(err, f.Close())
}

// Get writes a file of the agent's archive to w. It returns the end of a
// provisional segment, 0 for every other file, and walcore.ErrNotArchived for
// one that is not there. On an error w may have got a part of the file; nil
// means that all of it came and its hash was right.
func (c *Client) Get(ctx context.Context, name walcore.FileName, w io.Writer) (provisional walcore.LSN, err error) {
	var file fileReply
	err = c.call(ctx, func() error {
		if err := c.ask(request{Op: opGet, Name: name}, &file); err != nil {
			return err
		}
		if file.Size < 0 || file.Size > maxFile {
			return protocolError("a file of %d bytes", file.Size)
		}
		in := &body{frames: c.frames, left: file.Size}
		n, err := io.Copy(w, in)
		if broken := in.drain(); broken != nil {
			return broken
		}
		if err == nil && n != file.Size {
			err = fmt.Errorf("%d bytes of %s came, %d were announced", n, name, file.Size)
		}
		if err != nil {
			return &answerError{err}
		}
		return nil
	})
	return file.Provisional, err
}

// List is Archive.List at the destination.
func (c *Client) List(ctx context.Context) ([]walcore.FileName, error) {
	var names []walcore.FileName
	err := c.call(ctx, func() error {
		if err := c.ask(request{Op: opList}, &struct{}{}); err != nil {
			return err
		}
		in := &body{frames: c.frames, left: maxList}
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			name, err := walcore.ParseFileName(lines.Text())
			if err != nil {
				return protocolError("a list with %v", err)
			}
			names = append(names, name)
		}
		if err := errors.Join(lines.Err(), in.drain()); err != nil {
			return err
		}
		return nil
	})
	return names, err
}
