package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyStep is how much is copied between two looks at the context, and the
// size of the pipe between the two files: the largest that every user may have
// (pipe(7)).
const copyStep = 1 << 20

// copyBytes copies all of src, which is that long, into the new file dst. The
// space is allocated in one piece first, which is cheaper than a piece for each
// write, and reads as zeros: what is a hole in src, as most of a segment that
// was switched early is, need not be copied.
func copyBytes(ctx context.Context, dst, src *os.File, size int64) error {
	// Not every file system can: the copy itself says what is really wrong.
	allocated := unix.Fallocate(int(dst.Fd()), 0, 0, size) == nil
	sure := knowsHoles(src)
	var err error
	for at := int64(0); at < size && err == nil && ctx.Err() == nil; {
		start, end := at, size
		if sure {
			start, end = nextData(src, at, size)
		}
		err = copyStretch(ctx, dst, src, start, end)
		at = end
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrTerminated, context.Cause(ctx))
	}
	if err != nil || allocated {
		return err
	}
	return dst.Truncate(size) // what ends with a hole is still short
}

// knowsHoles reports whether the file system can be believed when it says where
// a file has holes. OpenZFS before 2.2.2 took data for one that was on its way
// to the disk.
func knowsHoles(f *os.File) bool {
	var stat unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &stat) != nil {
		return false
	}
	switch int64(stat.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		return true
	}
	return false
}

// nextData is the first stretch of data at or after an offset (lseek(2)): an
// empty one at size where only a hole comes, and all the rest where nothing
// is said.
func nextData(f *os.File, at, size int64) (start, end int64) {
	start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		if info, err := f.Stat(); err == nil && info.Size() >= size {
			return size, size
		}
	}
	if err != nil {
		return at, size
	}
	if end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE); err != nil {
		return at, size
	}
	return min(start, size), min(end, size)
}

// copyStretch copies the bytes from start to end to the same place.
func copyStretch(ctx context.Context, dst, src *os.File, start, end int64) error {
	for _, f := range []*os.File{dst, src} {
		if _, err := f.Seek(start, io.SeekStart); err != nil {
			return err
		}
	}
	done, err := spliceBytes(ctx, int(dst.Fd()), int(src.Fd()), end-start)
	if err != nil && ctx.Err() == nil {
		// Nor can every file system splice. From where it ended the ordinary way
		// goes on, or fails for a better reason.
		err = copyRest(ctx, dst, src, start+done, end)
	}
	return err
}

// spliceBytes moves pages of one file through a pipe into another (splice(2)).
// copy_file_range(2) does that inside the kernel where blocks cannot be shared,
// through a pipe of 16 pages and in writes as small as that; a pipe of a
// megabyte saves a tenth of the time. done is how much has arrived.
func spliceBytes(ctx context.Context, dst, src int, size int64) (done int64, err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Close(pipe[0]), unix.Close(pipe[1])) }()
	if _, err := unix.FcntlInt(uintptr(pipe[0]), unix.F_SETPIPE_SZ, copyStep); err != nil {
		return 0, err
	}
	for done < size {
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		in, err := splice(src, pipe[1], int(min(size-done, copyStep)))
		if err != nil {
			return done, err
		}
		for in > 0 {
			out, err := splice(pipe[0], dst, int(in))
			if err != nil {
				return done, err
			}
			in, done = in-out, done+out
		}
	}
	return done, nil
}

// splice is splice(2), once more where a signal came in between.
func splice(from, to, most int) (int64, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
}

// copyRest copies what lies from done on.
func copyRest(ctx context.Context, dst, src *os.File, done, size int64) error {
	for _, f := range []*os.File{dst, src} {
		if _, err := f.Seek(done, io.SeekStart); err != nil {
			return err
		}
	}
	for done < size && ctx.Err() == nil {
		n, err := io.CopyN(dst, src, min(size-done, copyStep))
		if err != nil {
			return err
		}
		done += n
	}
	return nil
}
