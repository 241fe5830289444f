package filesync

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// notekeeper writes notes, once it has flushed what they tell of, beside the
// receiver that takes the content in. Several may write to one file of notes.
type notekeeper struct {
	root    *os.Root
	queue   chan toNote
	working sync.WaitGroup
	pending sync.WaitGroup // notes handed over and not written

	mu  sync.Mutex
	err error // the first failure to flush
}

// toNote is a note whose content is not on disk yet.
type toNote struct {
	note
	name string // that the file has so far
}

// notesAhead is how many notes may wait. There is no harm in losing one.
const notesAhead = 256

func newNotekeeper(root *os.Root) *notekeeper {
	k := &notekeeper{root: root, queue: make(chan toNote, notesAhead)}
	k.working.Go(k.work)
	return k
}

// add hands a note over.
func (k *notekeeper) add(n toNote) {
	k.pending.Add(1)
	select {
	case k.queue <- n:
	default: // the disk is slower than what comes in
		k.pending.Done()
	}
}

// begin makes notes of another state of a file void before it is written to.
func (k *notekeeper) begin(n note) (err error) {
	k.pending.Wait()
	dir := lastDir{root: k.root}
	defer func() { err = errors.Join(err, dir.close()) }()
	f, err := dir.open(notesName, os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(n.encode())
	return errors.Join(err, f.Sync(), f.Close())
}

// wait returns when all notes have been written.
func (k *notekeeper) wait() error {
	k.pending.Wait()
	return k.failure()
}

// failure is why something could not be flushed.
func (k *notekeeper) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *notekeeper) close() error {
	close(k.queue)
	k.working.Wait()
	return k.err
}

func (k *notekeeper) work() {
	for first := range k.queue {
		some := []toNote{first}
		for n := len(k.queue); n > 0; n-- {
			some = append(some, <-k.queue)
		}
		if err := k.write(some); err != nil {
			k.mu.Lock()
			k.err = errors.Join(k.err, err)
			k.mu.Unlock()
		}
		k.pending.Add(-len(some))
	}
}

// write flushes files, and then notes what they hold. Only that they cannot be
// flushed is an error.
func (k *notekeeper) write(some []toNote) error {
	dir := lastDir{root: k.root}
	defer func() { _ = dir.close() }() // nothing was written through it
	flushed := map[string]bool{}
	var records []byte
	for _, n := range some {
		good, known := flushed[n.name]
		if !known {
			var err error
			if good, err = k.flush(&dir, n); err != nil {
				// What the kernel had in memory cannot be trusted any more.
				return errors.Join(fmt.Errorf("%s: %w: %w", n.path, errFlush, err), k.root.Remove(notesName))
			}
			flushed[n.name] = good
		}
		if good {
			records = append(records, n.encode()...)
		}
	}
	if len(records) == 0 {
		return nil
	}
	f, err := dir.open(notesName, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, _ = f.Write(records) // the next copy compares what was not noted
		_ = f.Close()
	}
	return nil
}

// flush brings to disk what a note tells of. It returns false for a file that has
// its final name by now, and needs no note.
func (k *notekeeper) flush(dir *lastDir, n toNote) (bool, error) {
	f, info, err := dir.regular(n.name)
	if err != nil {
		return false, nil
	}
	defer func() { _ = f.Close() }() // nothing was written through it
	if identityOf(info).Inode != n.inode {
		return false, nil
	}
	err = unix.Fdatasync(int(f.Fd()))
	if err != nil {
		_ = dropCached(f) // the copy fails anyway
	}
	return true, err
}

// note passes on what may be noted of a file.
func (r *receiver) note(d *decoder) error {
	_, in, err := r.job(d)
	if err != nil {
		return err
	}
	n := note{path: in.entry.Path, size: in.entry.Size, stamp: d.time(), from: d.int(), to: d.int()}
	if err := d.finish(); err != nil {
		return err
	}
	if n.from < in.from || n.from > n.to || n.to > in.to {
		return protocolError("%q is noted from %d to %d, of %d to %d", in.entry.Path, n.from, n.to, in.from, in.to)
	}
	switch {
	case r.notes == nil:
		return nil
	case n.from == n.to:
		return r.notes.begin(n)
	case in.out == nil:
		return nil // nothing of it differs from what was there
	}
	return in.fail(r.noteSpan(in, n))
}

// noteSpan has a note written of what a file has now.
func (r *receiver) noteSpan(in *incoming, n note) error {
	if in.at < n.to {
		if err := r.advance(in, n.to); err != nil {
			return err
		}
	}
	info, err := in.out.Stat()
	if err != nil {
		return err
	}
	n.inode = identityOf(info).Inode
	r.notes.add(toNote{note: n, name: cmp.Or(in.temp, n.path)})
	return nil
}
