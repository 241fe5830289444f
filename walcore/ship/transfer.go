package ship

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/fault"
	"github.com/warmrun/warmrun/walcore/packed"
)

// PutOptions bend one Put.
type PutOptions struct {
	// Provisional is that of walcore.PutRequest.
	Provisional walcore.LSN

	// offered, unless nil, is called when the offer is on its way: what is
	// offered afterwards comes after it.
	offered func()
}

// Put stores the file at path under name in the agent's archive. What is there
// already is not sent: it is compared by its hash. It returns when the file is
// on disk there. A file that changes while it is read is not stored.
func (c *Client) Put(ctx context.Context, name walcore.FileName, path string, opt PutOptions) (walcore.PutResult, error) {
	f, err := os.Open(path)
	if err != nil {
		return walcore.PutResult{}, err
	}
	result, err := c.putFile(ctx, name, f, opt)
	return result, errors.Join(err, f.Close())
}

func (c *Client) putFile(ctx context.Context, name walcore.FileName, f *os.File, opt PutOptions) (walcore.PutResult, error) {
	before, err := identify(f)
	if err != nil {
		return walcore.PutResult{}, err
	}
	return c.put(ctx, name, f, before.size, opt, func() error {
		if now, err := identify(f); err != nil || now != before {
			return errors.Join(fmt.Errorf("%s was written to while it was read", name), err)
		}
		return nil
	})
}

// PutFrom is Put of the size bytes that r holds.
func (c *Client) PutFrom(ctx context.Context, name walcore.FileName, r io.ReaderAt, size int64, opt PutOptions) (walcore.PutResult, error) {
	return c.put(ctx, name, r, size, opt, func() error { return nil })
}

// put reads r once, and twice where the archive has a file of that name and
// size already. unchanged is asked when all has been read.
func (c *Client) put(ctx context.Context, name walcore.FileName, r io.ReaderAt, size int64, opt PutOptions, unchanged func() error) (walcore.PutResult, error) {
	if err := checkSource(name, r, size); err != nil {
		return walcore.PutResult{}, err
	}
	form := c.formOf(name, opt)
	pack, err := c.packers.take(c.compress, form)
	if err != nil {
		return walcore.PutResult{}, err
	}
	defer c.packers.give(form, pack)
	source := func() io.Reader {
		return &wholeReader{validPart(name, r, size, opt.Provisional), name, size, unchanged}
	}
	var result walcore.PutResult
	err = c.call(ctx, func(x *exchange) error {
		offer, err := x.offer(request{Op: opPut, Name: name, Size: size, Provisional: opt.Provisional, Form: form}, source, opt.offered)
		if err != nil {
			return err
		}
		if offer.Send {
			if err := newSender(c.frames, x.id, pack).sendAll(ctx, source(), x.refused); err != nil {
				return err
			}
		}
		fault.At(fault.ShipperWait)
		return x.reply(&result)
	})
	return result, err
}

// formOf is how a file is to be stored: only whole segments are packed.
func (c *Client) formOf(name walcore.FileName, opt PutOptions) packed.Form {
	if name.Kind() == walcore.KindSegment && opt.Provisional == 0 && c.store.Packs() {
		return c.store
	}
	return ""
}

// offer asks whether the agent needs a file; source is its bytes. Only where
// there is one of that name they are hashed first.
func (x *exchange) offer(r request, source func() io.Reader, offered func()) (offerReply, error) {
	var offer offerReply
	fault.At(fault.ShipperOffer)
	err := x.say(r)
	if err == nil && offered != nil {
		offered()
	}
	if err == nil {
		err = x.reply(&offer)
	}
	if err != nil || !offer.Known {
		return offer, err
	}
	if r.Digest, _, err = walcore.DigestOf(source()); err != nil {
		return offer, &answerError{err}
	}
	offer = offerReply{}
	if err := x.ask(r, &offer); err != nil {
		return offer, err
	}
	if offer.Known {
		return offer, protocolError("a digest was asked for twice")
	}
	return offer, nil
}

// wholeReader is a file that must be as long as it was, and unchanged when it
// ends.
type wholeReader struct {
	r         io.Reader
	name      walcore.FileName
	left      int64
	unchanged func() error
}

func (w *wholeReader) Read(b []byte) (int, error) {
	fault.At(fault.ShipperSend)
	n, err := w.r.Read(b)
	w.left -= int64(n)
	switch {
	case !errors.Is(err, io.EOF):
		return n, err
	case w.left != 0:
		return n, fmt.Errorf("%s is %d bytes shorter than it was: it was cut while it was read", w.name, w.left)
	}
	if changed := w.unchanged(); changed != nil {
		return n, changed
	}
	return n, io.EOF
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

// Relay stores a file of one archive in the agent's, a provisional segment as
// a provisional one.
func (c *Client) Relay(ctx context.Context, from *walcore.Archive, name walcore.FileName) error {
	_, err := c.relay(ctx, from, name, nil)
	return err
}

func (c *Client) relay(ctx context.Context, from *walcore.Archive, name walcore.FileName, offered func()) (walcore.PutResult, error) {
	if c.formOf(name, PutOptions{}).Packs() {
		result, err := c.relayPacked(ctx, from, name, offered)
		if !errors.Is(err, packed.ErrForeign) {
			return result, err
		}
	}
	f, end, err := from.OpenWithEnd(name)
	if err != nil {
		return walcore.PutResult{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return walcore.PutResult{}, errors.Join(err, f.Close())
	}
	result, err := c.PutFrom(ctx, name, f, info.Size(), PutOptions{Provisional: end, offered: offered})
	return result, errors.Join(err, f.Close())
}

// Get writes a file of the agent's archive to w. It returns the end of a
// provisional segment, 0 for every other file, and walcore.ErrNotArchived for
// one that is not there. On an error w may have got a part of the file; nil
// means that all of it came and its hash was right.
func (c *Client) Get(ctx context.Context, name walcore.FileName, w io.Writer) (provisional walcore.LSN, err error) {
	var file fileReply
	err = c.call(ctx, func(x *exchange) error {
		if err := x.ask(request{Op: opGet, Name: name}, &file); err != nil {
			return err
		}
		if file.Size < 0 || file.Size > maxFile {
			return protocolError("a file of %d bytes", file.Size)
		}
		in := &body{next: x.next, left: file.Size}
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
	err := c.call(ctx, func(x *exchange) error {
		if err := x.ask(request{Op: opList}, &struct{}{}); err != nil {
			return err
		}
		in := &body{next: x.next, left: maxList}
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
