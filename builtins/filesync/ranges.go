package filesync

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyRange copies a stretch of one file to the same place in another, where
// nothing has been written yet: by reflink or within the kernel where the file
// systems can, and without the holes.
func copyRange(to, from *os.File, offset, end int64) error {
	for offset < end {
		data, hole, err := nextData(from, offset, end)
		if err != nil {
			return err
		}
		if err := copyData(to, from, data, hole); err != nil {
			return err
		}
		offset = hole
	}
	return nil
}

// nextData finds the next stretch of data of a file in a range. It is empty,
// at the range's end, where only a hole is left.
func nextData(f *os.File, offset, end int64) (data, hole int64, err error) {
	if !knowsHoles(f) {
		return offset, end, nil
	}
	fd := int(f.Fd())
	data, err = unix.Seek(fd, offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return end, end, checkLength(f, end)
	case err != nil: // the file system has no notion of holes
		return offset, end, nil
	case data >= end:
		return end, end, nil
	}
	hole, err = unix.Seek(fd, data, unix.SEEK_HOLE)
	if err != nil {
		return data, end, nil
	}
	if hole < end {
		err = checkLength(f, end)
	}
	return data, min(hole, end), err
}

// knowsHoles reports whether the file system can be believed when it says where a
// file has holes. OpenZFS before 2.2.2 took data for one that was on its way to
// the disk, as what a running server writes always is.
func knowsHoles(f *os.File) bool {
	var stat unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &stat) != nil {
		return false
	}
	switch int64(stat.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}

// checkLength tells a hole at the end of a file from a file that has become
// shorter.
func checkLength(f *os.File, size int64) error {
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		return errBasisChanged
	}
	return err
}

func copyData(to, from *os.File, offset, end int64) error {
	for offset < end {
		in, out := offset, offset
		n, err := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, int(min(end-offset, 1<<30)), 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			// Across file systems before Linux 5.3, and on some network ones.
			return copyByHand(to, from, offset, end)
		case n == 0:
			return errBasisChanged
		}
		offset += int64(n)
	}
	return nil
}

func copyByHand(to, from *os.File, offset, end int64) error {
	n, err := io.Copy(io.NewOffsetWriter(to, offset), io.NewSectionReader(from, offset, end-offset))
	if err == nil && n < end-offset {
		err = errBasisChanged
	}
	return err
}

// clearRange makes a stretch of a file read as zeros. What lies past the end of
// the file does so already once it is given its length.
func clearRange(f *os.File, offset, n int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if n = min(n, info.Size()-offset); n <= 0 {
		return nil
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n)
	if err == nil {
		return nil
	}
	for n > 0 { // a file system without holes
		step := min(n, blockSize)
		if _, err := f.WriteAt(zeroBlock[:step], offset); err != nil {
			return err
		}
		offset, n = offset+step, n-step
	}
	return nil
}

// setLength makes a file size bytes long; what is new reads as zeros.
func setLength(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	return f.Truncate(size)
}

// startFlush has the kernel begin to write a stretch of a file to disk, so that
// the flush at the file's end finds little left to do. It promises nothing.
func startFlush(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
