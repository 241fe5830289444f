package walcore

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// writebackStep is how much is written before the kernel is told to begin with
// bringing it to disk, so that little is left to do when it is flushed.
const writebackStep = 4 << 20

// copySparse writes the pieces that next returns to f, from f's offset on, and
// leaves a hole where there are only zeros up to the end: a segment that was
// switched early is mostly that. allocate is how long f will be, or 0: the
// space is then allocated when the first piece needs it, which costs the kernel
// less than to find some for each write. The last piece may come together with io.EOF. What is
// written is on its way to disk when this returns, and not more than that.
func copySparse(f *os.File, allocate int64, next func() ([]byte, error)) error {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	started, data := at, at // data is where the last piece that was no zeros ended
	for {
		piece, err := next()
		if len(piece) > 0 && !IsZero(piece) {
			if allocate > at {
				// Not every file system can, and the write says what is wrong.
				_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, at, allocate-at)
			}
			allocate = 0
			if _, err := f.WriteAt(piece, at); err != nil {
				return err
			}
			data = at + int64(len(piece))
		}
		at += int64(len(piece))
		if at-started >= writebackStep {
			startWriteback(f, started, at-started)
			started = at
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	startWriteback(f, started, at-started)
	if data == at {
		return nil
	}
	if err := f.Truncate(at); err != nil {
		return err
	}
	// Beyond the end of a file ext4 gives nothing back, hence in this order.
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, data, at-data)
	return nil
}

// Fill reads until the buffer is full or r says no. Unlike with io.ReadFull, a
// reader that was cut short cannot be taken for one that has ended.
func Fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var read int
		read, err = r.Read(buf[n:])
		n += read
	}
	return n, err
}

// startWriteback asks for what fsync will wait for. It promises nothing, and
// not every file system has it, so its failure is none.
func startWriteback(f *os.File, at, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, length, unix.SYNC_FILE_RANGE_WRITE)
}

// IsZero reports whether all bytes are zero.
func IsZero(b []byte) bool {
	var zeros [4096]byte
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
