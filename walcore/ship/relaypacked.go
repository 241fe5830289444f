package ship

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/fault"
	"github.com/warmrun/warmrun/walcore/packed"
)

// relayPacked sends on a segment that lies here in the form in which it is to be
// stored there, frame by frame. It is unpacked beside, so that no damage is
// passed on, and not packed again. The error is packed.ErrForeign, and nothing
// has been stored, where it cannot be done so.
func (c *Client) relayPacked(ctx context.Context, from *walcore.Archive, name walcore.FileName, offered func()) (result walcore.PutResult, err error) {
	if _, provisional, err := from.Provisional(name.Segment()); err != nil || provisional {
		return result, errors.Join(err, packed.ErrForeign)
	}
	f, form, err := from.OpenStored(name)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if form != c.store {
		return result, packed.ErrForeign
	}
	size, err := sizeOfPacked(form, f)
	if err != nil {
		return result, err
	}
	err = c.call(ctx, func(x *exchange) error {
		plain, err := packed.NewReader(form, io.NewSectionReader(f, 0, 1<<62))
		if err != nil {
			return &answerError{err}
		}
		defer plain.Close() //nolint:errcheck // only read from
		offer, err := x.offer(request{Op: opPut, Name: name, Size: size, Form: form}, func() io.Reader { return plain }, offered)
		if err != nil {
			return err
		}
		if offer.Send {
			if err := newSender(c.frames, x.id, nil).sendFrames(ctx, form, f, x.refused); err != nil {
				return err
			}
		}
		fault.At(fault.ShipperWait)
		return x.reply(&result)
	})
	return result, err
}

// sizeOfPacked is what a packed segment holds by its page header. One without a
// header is for the plain way to judge.
func sizeOfPacked(form packed.Form, f *os.File) (int64, error) {
	frames := packed.NewFrames(form, io.NewSectionReader(f, 0, 1<<62))
	defer frames.Close()
	piece, _, err := frames.Next()
	if err != nil {
		return 0, packed.ErrForeign
	}
	header, err := walcore.ReadPageHeader(bytes.NewReader(piece))
	if err != nil {
		return 0, packed.ErrForeign
	}
	return int64(header.SegmentSize), nil
}

// sendFrames is sendAll of a file's frames as they are.
func (s *sender) sendFrames(ctx context.Context, form packed.Form, f *os.File, stop func() error) error {
	frames := packed.NewFrames(form, io.NewSectionReader(f, 0, 1<<62))
	defer frames.Close()
	kind := frameOfForm(form)
	for {
		piece, frame, err := frames.Next()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if told := stop(); told != nil {
			err = told
		}
		switch {
		case errors.Is(err, io.EOF):
			return s.end()
		case err != nil:
			return errors.Join(s.abort(err), &answerError{err})
		}
		if err := s.send(kind, frame, piece); err != nil {
			return err
		}
	}
}
