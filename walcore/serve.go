package walcore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/fault"
)

// unfitError says that a file is in the archive but is not, or not yet, what
// its name promises.
type unfitError struct {
	path   string
	fault  string // what is wrong, in one word
	detail error
}

func (e *unfitError) Error() string {
	return fmt.Sprintf("%s is not fit to be restored: %v", e.path, e.detail)
}

func (e *unfitError) Unwrap() error { return e.detail }

// key tells one complaint from another, so that a growing file is one.
func (e *unfitError) key() string { return e.path + " " + e.fault }

// serve copies the archived file to the target if it is fit for the server.
func (r *restoring) serve(ctx context.Context) error {
	archive, err := OpenArchive(r.Archive)
	if err != nil {
		return err
	}
	f, err := archive.find(r.Name)
	if errors.Is(err, ErrNotArchived) {
		return fmt.Errorf("%s: %w", r.Name, ErrNotThere)
	}
	if err != nil {
		return err
	}
	if f.form.Packs() {
		fault.At(fault.RestoreCopy)
		err = r.unpackOut(ctx, f)
	} else if err = r.inspect(f.File); err == nil {
		fault.At(fault.RestoreCopy)
		err = r.copyOut(ctx, f.File)
	}
	return errors.Join(err, f.Close())
}

// inspect checks that the file is complete and what its name says.
func (r *restoring) inspect(f *os.File) error {
	switch r.Name.Kind() {
	case KindSegment, KindPartial:
		return r.inspectSegment(f)
	case KindHistory:
		history, err := ParseHistory(io.NewSectionReader(f, 0, 1<<62), r.Name.Timeline())
		if err == nil && len(history) == 0 {
			err = errors.New("it names no timeline that it came from")
		}
		return r.unfit(f, "history", err)
	}
	return nil
}

func (r *restoring) inspectSegment(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return r.inspectContent(f, f, info.Size())
}

// inspectContent checks a segment of size bytes. The file is for messages.
func (r *restoring) inspectContent(f *os.File, content io.ReaderAt, bytes int64) error {
	known := r.cluster()
	header, err := readAnyHeader(content)
	if err == nil {
		err = header.Check(r.Name.Segment(), known)
	}
	size := known.SegmentSize
	if size == 0 {
		size = header.SegmentSize
	}
	// The size comes first: a file that is still being copied is short, and
	// says nothing yet.
	if size != 0 && bytes != int64(size) {
		return r.wrongSize(f, bytes, size)
	}
	if errors.Is(err, ErrZeroPage) {
		return r.unfit(f, "zeros", err)
	}
	if err != nil {
		return r.unfit(f, "header", err)
	}
	r.segment = size
	return nil
}

func (r *restoring) wrongSize(f *os.File, bytes int64, want SegmentSize) error {
	return r.unfit(f, "size", fmt.Errorf("it has %d bytes, the segments of this cluster have %d", bytes, want))
}

// unfit makes err a complaint about the file, unless reading it failed.
func (r *restoring) unfit(f *os.File, fault string, err error) error {
	var failed *fs.PathError
	if err == nil || errors.As(err, &failed) {
		return err
	}
	return &unfitError{f.Name(), fault, err}
}

// cluster is what the data directory says of the cluster, else the archive's
// stamp. What neither knows is not compared.
func (r *restoring) cluster() Identity {
	if r.identity != nil {
		return *r.identity
	}
	var known Identity
	if control, err := ReadControlFile(r.PGData); err == nil {
		known = control.Identity()
	} else if stamp, found, err := (&Archive{dir: r.Archive}).Stamp(); err == nil && found {
		known = stamp.Identity()
	}
	r.identity = &known
	return known
}

// readAnyHeader is ReadPageHeader that also knows the page header of servers
// before 9.3, which such a server's standby must be served too: the address in
// two halves, and system identifier and segment size eight bytes further up
// (XLogLongPageHeaderData in access/xlog_internal.h of 8.2 to 9.2).
func readAnyHeader(f io.ReaderAt) (PageHeader, error) {
	header, err := ReadPageHeader(f)
	if !errors.Is(err, ErrOldFormat) {
		return header, err
	}
	var b [32]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return PageHeader{}, err
	}
	header.Address = LSN(binary.LittleEndian.Uint32(b[8:]))<<32 | LSN(binary.LittleEndian.Uint32(b[12:]))
	header.SystemID = binary.LittleEndian.Uint64(b[16:])
	header.SegmentSize = SegmentSize(binary.LittleEndian.Uint32(b[24:]))
	if !header.SegmentSize.Valid() {
		return PageHeader{}, fmt.Errorf("the page header gives a segment size of %d bytes, which no server accepts", header.SegmentSize)
	}
	return header, nil
}

// copyOut makes the target a copy of src: a reflink where the file system has
// them, else a real copy. Never a hard link: the server recycles the file and
// writes over it.
func (r *restoring) copyOut(ctx context.Context, src *os.File) error {
	return r.writeTarget(src, func(dst *os.File, size int64) error {
		if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
			return nil
		}
		if err := copyBytes(ctx, dst, src, size); err != nil {
			return fmt.Errorf("copy %s to %s: %w", src.Name(), r.Target, err)
		}
		return nil
	})
}

// writeTarget makes the target new and has it written. An error leaves none. src
// is what it comes from, and size how long that is.
func (r *restoring) writeTarget(src *os.File, write func(dst *os.File, size int64) error) (err error) {
	info, err := src.Stat()
	if err != nil {
		return err
	}
	if old, err := os.Lstat(r.Target); err == nil {
		if os.SameFile(old, info) {
			return fmt.Errorf("the target %s is the archived file itself", r.Target)
		}
		// A link that somebody left there must not be written through.
		if err := syscall.Unlink(r.Target); err != nil {
			return fmt.Errorf("remove what is at the target: %w", &fs.PathError{Op: "unlink", Path: r.Target, Err: err})
		}
	}
	dst, err := os.OpenFile(r.Target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, dst.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(r.Target))
		}
	}()
	return write(dst, info.Size())
}

// inodeOf is the inode number of a file.
func inodeOf(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}
