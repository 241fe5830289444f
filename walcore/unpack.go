package walcore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/packed"
)

// maxInMemory is the largest segment that is unpacked in memory.
const maxInMemory = 64 << 20

// unpacking is a packed segment that is being read.
type unpacking struct {
	stored *storedFile
	in     io.ReadCloser
	first  []byte // the first piece, which the page header is in
	ended  bool   // there is nothing behind it
	size   int64  // of the segment by its header, 0 where that gives none
}

// unpackBegin reads the first piece. The file stays open when the unpacking is
// closed.
func unpackBegin(stored *storedFile) (*unpacking, error) {
	in, err := packed.NewReader(stored.form, stored)
	if err != nil {
		return nil, err
	}
	u := &unpacking{stored: stored, in: in, first: make([]byte, packed.PieceSize)}
	n, err := Fill(in, u.first)
	u.first, u.ended = u.first[:n], errors.Is(err, io.EOF)
	if err != nil && !u.ended {
		return nil, errors.Join(u.explain(err), in.Close())
	}
	if header, err := readAnyHeader(bytes.NewReader(u.first)); err == nil {
		u.size = int64(header.SegmentSize)
	}
	return u, nil
}

// explain names the file in a complaint about its content.
func (u *unpacking) explain(err error) error {
	var damaged *packed.DamagedError
	if errors.As(err, &damaged) {
		return fmt.Errorf("%s: %w", u.stored.Name(), err)
	}
	return err
}

// to writes the whole segment to f, which is empty, and returns its length.
// What goes on beyond the segment's size is an error: no more than that is ever
// written. stop, unless nil, is asked before each piece.
func (u *unpacking) to(f *os.File, stop func() error) (int64, error) {
	most := u.size
	if most == 0 {
		most = maxInMemory
	}
	buf, at := u.first, int64(0)
	for ended := u.ended; ; {
		if stop != nil {
			if err := stop(); err != nil {
				return at, err
			}
		}
		if at+int64(len(buf)) > most {
			return at, u.explain(&packed.DamagedError{Form: u.stored.form, Cause: fmt.Errorf("they hold more than %d bytes", most)})
		}
		if _, err := f.Write(buf); err != nil {
			return at, err
		}
		at += int64(len(buf))
		if ended {
			return at, nil
		}
		buf = buf[:cap(buf)]
		n, err := Fill(u.in, buf)
		buf, ended = buf[:n], errors.Is(err, io.EOF)
		if err != nil && !ended {
			return at, u.explain(err)
		}
	}
}

func (u *unpacking) close() error { return u.in.Close() }

// plain is the file's content as a file: itself, or what it unpacks to. It
// closes the stored file, unless that is what it returns.
func (a *Archive) plain(stored *storedFile) (*os.File, error) {
	if !stored.form.Packs() {
		return stored.File, nil
	}
	f, err := a.unpack(stored)
	return f, errors.Join(err, stored.Close())
}

// unpack makes a file without a name that holds what stored unpacks to: in
// memory, or for a large segment in the archive's file system. It is called as
// the stored file is, for messages.
func (a *Archive) unpack(stored *storedFile) (*os.File, error) {
	u, err := unpackBegin(stored)
	if err != nil {
		return nil, err
	}
	f, err := a.scratch(u.size, stored.Name())
	if err == nil {
		_, err = u.to(f, nil)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err = errors.Join(err, u.close()); err == nil {
		return f, nil
	}
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return nil, err
}

// scratch is an empty file without a name in any directory.
func (a *Archive) scratch(size int64, called string) (*os.File, error) {
	if size <= maxInMemory {
		fd, err := unix.MemfdCreate("segment", unix.MFD_CLOEXEC)
		if err == nil {
			return os.NewFile(uintptr(fd), called), nil
		}
	}
	// Whoever only reads an archive may not be allowed to write there.
	var errs []error
	for _, dir := range []string{a.state("tmp"), os.TempDir()} {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return os.NewFile(uintptr(fd), called), nil
		}
		errs = append(errs, fmt.Errorf("a file without a name in %s: %w", dir, err))
	}
	return nil, errors.Join(errs...)
}
