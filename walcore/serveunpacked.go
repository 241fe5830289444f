package walcore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/packed"
)

// unpackOut unpacks a segment straight into the target, if it is fit for the
// server. What is unfit is found at the latest when all of it has been unpacked,
// and the target is removed again.
func (r *restoring) unpackOut(ctx context.Context, stored *storedFile) error {
	u, err := unpackBegin(stored)
	if err != nil {
		return r.unpackable(stored, err)
	}
	if err = r.inspectContent(stored.File, bytes.NewReader(u.first), r.expected(u)); err == nil {
		err = r.writeTarget(stored.File, func(dst *os.File, _ int64) error { return r.unpackTo(ctx, u, dst) })
	}
	return errors.Join(err, u.close())
}

// expected is the size that a packed segment must unpack to.
func (r *restoring) expected(u *unpacking) int64 {
	if known := r.cluster().SegmentSize; known != 0 && !u.ended {
		return int64(known)
	}
	if u.ended {
		return int64(len(u.first)) // all there is
	}
	return u.size
}

func (r *restoring) unpackTo(ctx context.Context, u *unpacking, dst *os.File) error {
	_ = unix.Fallocate(int(dst.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, u.size) // see copyBytes
	size, err := u.to(dst, func() error { return context.Cause(ctx) })
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrTerminated, context.Cause(ctx))
	}
	if err == nil && size != int64(r.segment) {
		return r.wrongSize(u.stored.File, size, r.segment)
	}
	return r.unpackable(u.stored, err)
}

// unpackable makes damage a complaint about the file.
func (r *restoring) unpackable(stored *storedFile, err error) error {
	var damaged *packed.DamagedError
	if errors.As(err, &damaged) {
		return &unfitError{stored.Name(), "frames", damaged}
	}
	return err
}
