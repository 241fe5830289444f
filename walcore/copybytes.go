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
// write.
func copyBytes(ctx context.Context, dst, src *os.File, size int64) error {
	// Not every file system can: the copy itself says what is really wrong.
	_ = unix.Fallocate(int(dst.Fd()), 0, 0, size)
	done, err := spliceBytes(ctx, int(dst.Fd()), int(src.Fd()), size)
	if err != nil && ctx.Err() == nil {
		// Nor can every file system splice. From where it ended the ordinary way
		// goes on, or fails for a better reason.
		err = copyRest(ctx, dst, src, done, size)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrTerminated, context.Cause(ctx))
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
