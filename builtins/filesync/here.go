package filesync

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Here is a Dialer whose other side runs in this process, for a copy within one
// machine. What need not be looked at on its way is handed over as open files
// then: the target gets it by reflink, or within the kernel, where the file
// systems can (ioctl_ficlone(2), copy_file_range(2)).
func Here(ctx context.Context) (io.ReadWriteCloser, error) {
	near, far := net.Pipe()
	end := &hereEnd{Conn: near, files: newHandover()}
	end.serving.Go(func() {
		end.err = serve(ctx, far, ServeConfig{}, end.files)
		_ = far.Close() // the other half is closed, too
	})
	return end, nil
}

// hereEnd is a stream to a far end in this process.
type hereEnd struct {
	net.Conn
	files   *handover
	serving sync.WaitGroup
	err     error
}

// Close waits for the far end.
func (e *hereEnd) Close() error {
	err := e.Conn.Close()
	e.serving.Wait()
	return errors.Join(err, e.err, e.files.close())
}

// handover holds open files on their way from a sender to its receiver.
type handover struct {
	mu    sync.Mutex
	files map[uint32]handed // by the id of the job
}

// handed is an open file of the source.
type handed struct {
	file *os.File
	// done says, once the file has been copied, which modification time the copy
	// gets, and closes it.
	done func() (time.Time, error)
}

func newHandover() *handover { return &handover{files: map[uint32]handed{}} }

func (h *handover) give(id uint32, f handed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files[id] = f
}

func (h *handover) take(id uint32) (handed, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, there := h.files[id]
	delete(h.files, id)
	return f, there
}

// close closes what was not taken.
func (h *handover) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	for _, f := range h.files {
		err = errors.Join(err, f.file.Close())
	}
	clear(h.files)
	return err
}

// hand gives a file away that need not be looked at.
func (s *sender) hand(o *outgoing) error {
	s.files.give(o.id, handed{file: o.file, done: func() (time.Time, error) {
		stamp, err := s.verdict(o)
		s.handled(int(o.size()), 0)
		return stamp, errors.Join(err, o.file.Close())
	}})
	return s.c.write(frameHanded, s.intro(o).b)
}

// mayHand reports whether nobody looks at a file on its way, and the target has
// nothing that it would be compared with.
func (s *sender) mayHand(o *outgoing) bool {
	_, nobody := o.inspect.(noInspector)
	return s.files != nil && nobody && o.known() < 0 && o.entry.Size > putSize
}

// handed copies a file that was handed over.
func (r *receiver) handed(d *decoder) error {
	id, in, err := r.begin(d)
	if err = errors.Join(err, d.finish()); err != nil {
		return err
	}
	if r.files == nil {
		return protocolError("%q is handed over by another process", in.entry.Path)
	}
	f, there := r.files.take(id)
	if !there {
		return protocolError("%q is not handed over", in.entry.Path)
	}
	if err = r.openOut(in); err == nil {
		err = takeOver(in.out, f.file, in.from, in.to)
	}
	stamp, doneErr := f.done()
	if err = errors.Join(err, doneErr); err != nil {
		return in.fail(err)
	}
	in.at, in.wrote = in.to, in.size()
	if in.shared {
		return r.completePart(id, in, stamp)
	}
	return r.complete(id, in, stamp)
}

// takeOver copies a stretch of a file of the source. What that has no more of
// stays zeros.
func takeOver(to, from *os.File, offset, end int64) error {
	stretch := unix.FileCloneRange{Src_fd: int64(from.Fd()), Src_offset: uint64(offset), Src_length: uint64(end - offset), Dest_offset: uint64(offset)}
	if unix.IoctlFileCloneRange(int(to.Fd()), &stretch) == nil {
		return nil
	}
	for {
		info, err := from.Stat()
		if err != nil {
			return err
		}
		// It may become shorter meanwhile, more than once.
		if err := copyRange(to, from, offset, min(end, info.Size())); !errors.Is(err, errBasisChanged) {
			return err
		}
	}
}
