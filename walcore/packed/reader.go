package packed

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxWindow is how far back a frame may reach: as far as those that the zstd
// program makes without --ultra or --long.
const maxWindow = 8 << 20

// NewReader unpacks a file of any standard frames, also those that other
// programs have made. It holds a fixed amount of memory. What is damaged, and a
// file that ends in the middle of a frame, are a *DamagedError; a failing read of
// r is told as it is. Close gives the memory back and leaves r open.
func NewReader(form Form, r io.Reader) (io.ReadCloser, error) {
	source := &source{r: r}
	u := &reader{form: form, source: source}
	switch form {
	case Zstd:
		decoder, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		u.Reader, u.close = decoder, decoder.Close
	case LZ4:
		u.Reader, u.close = lz4.NewReader(bufio.NewReaderSize(source, 64<<10)), func() {}
	default:
		return nil, fmt.Errorf("%q is no form that is packed", form)
	}
	return u, nil
}

// DamagedError says that a packed file cannot be unpacked.
type DamagedError struct {
	Form  Form
	Cause error
}

// Error is one line.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("its %s frames are damaged or cut off: %v", e.Form, e.Cause)
}

// Unwrap is what the unpacker said.
func (e *DamagedError) Unwrap() error { return e.Cause }

// source remembers that the file itself could not be read.
type source struct {
	r      io.Reader
	failed error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

type reader struct {
	io.Reader
	form   Form
	source *source
	close  func()
}

func (r *reader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case r.source.failed != nil:
		return n, r.source.failed
	}
	return n, &DamagedError{r.form, err}
}

func (r *reader) Close() error {
	r.close()
	return nil
}
