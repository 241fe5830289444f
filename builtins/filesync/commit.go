package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// finished is a file whose content is complete but not yet on disk.
type finished struct {
	file     *os.File // nil once it has been closed to be flushed with others
	temp     string   // its name so far; empty where it has its final name
	path     string
	mode     fs.FileMode
	modTime  time.Time
	size     int64
	uid, gid int // -1: leave as it is
}

const (
	// commitWorkers flush in parallel, because the journal of a file system
	// takes many flushes at once at little more than the price of one.
	commitWorkers = 8
	// So many small files are flushed together, by one flush of their file
	// system (syncfs), which costs about as much as that of a few files.
	// Fewer are flushed one by one, so that a small copy does not have to wait
	// for what others write on the same file system.
	batchSize = 4096
	batchFrom = 64
)

// committer makes files durable and then visible. The order for each is:
// attributes, flush, rename; the directories are flushed by the receiver. All
// methods are for one goroutine.
type committer struct {
	root    *os.Root
	system  *system // nil where files are flushed one by one only
	batch   []*finished
	queue   chan []*finished
	workers sync.WaitGroup // running workers
	pending sync.WaitGroup // batches handed over and not done

	mu  sync.Mutex
	err error // the first failure
}

func newCommitter(root *os.Root) *committer {
	c := &committer{root: root, system: openSystem(root), queue: make(chan []*finished, commitWorkers)}
	for range commitWorkers {
		c.workers.Go(c.work)
	}
	return c
}

// add hands a file over. It returns the failure of any file before.
func (c *committer) add(f *finished) error {
	if err := c.failure(); err != nil {
		return errors.Join(err, f.discard(c.root))
	}
	info, err := f.file.Stat()
	if err == nil {
		err = f.attributes(c.root, info)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.path, err), f.discard(c.root))
	}
	if f.size > largeFile || !c.together(info) {
		c.hand([]*finished{f})
		return nil
	}
	c.batch = append(c.batch, f)
	if n := len(c.batch); n >= batchFrom {
		// Now it is certain that they are flushed together, which needs no
		// open files.
		first := n - 1
		if n == batchFrom {
			first = 0
		}
		for _, f := range c.batch[first:] {
			err = errors.Join(err, f.close())
		}
	}
	if len(c.batch) == batchSize {
		c.flush()
	}
	return err
}

// together reports whether a file is flushed with its file system.
func (c *committer) together(info fs.FileInfo) bool { return c.system != nil && c.system.holds(info) }

func (c *committer) hand(batch []*finished) {
	c.pending.Add(1)
	c.queue <- batch
}

// flush hands over what has been collected.
func (c *committer) flush() {
	if len(c.batch) >= batchFrom {
		c.hand(c.batch)
	} else {
		for _, f := range c.batch {
			c.hand([]*finished{f})
		}
	}
	c.batch = nil
}

// wait returns when every file that was added is durable.
func (c *committer) wait() error {
	c.flush()
	c.pending.Wait()
	return c.failure()
}

// close waits for the files that were added, which are complete even where the
// copy is not, and ends the workers.
func (c *committer) close() error {
	c.flush()
	close(c.queue)
	c.workers.Wait()
	if c.system == nil {
		return nil
	}
	return c.system.dir.Close()
}

func (c *committer) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *committer) work() {
	for batch := range c.queue {
		if err := c.commit(batch); err != nil {
			c.mu.Lock()
			if c.err == nil {
				c.err = err
			}
			c.mu.Unlock()
		}
		c.pending.Done()
	}
}

// commit makes files durable and then visible.
func (c *committer) commit(batch []*finished) (err error) {
	err = c.sync(batch)
	dir := lastDir{root: c.root}
	defer func() { err = errors.Join(err, dir.close()) }()
	for i, f := range batch {
		if err != nil {
			for _, rest := range batch[i:] {
				err = errors.Join(err, rest.discard(c.root))
			}
			return err
		}
		if err = f.show(&dir); err != nil {
			err = fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return err
}

// sync makes files durable.
func (c *committer) sync(batch []*finished) (err error) {
	if len(batch) >= batchFrom {
		err = c.system.sync()
	} else {
		for _, f := range batch {
			if syncErr := f.file.Sync(); syncErr != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w: %w", f.path, errFlush, syncErr))
			}
		}
	}
	if err != nil {
		for _, f := range batch {
			_ = f.forget(c.root) // the copy fails anyway
		}
	}
	return err
}

// show gives a file that is durable its name.
func (f *finished) show(dir *lastDir) error {
	root := dir.root
	if f.temp == "" {
		// Only now: a crash must not leave old bytes under the new time,
		// which would make the next copy believe that they are the new ones.
		return errors.Join(root.Chtimes(f.path, f.modTime, f.modTime), f.close())
	}
	if err := f.close(); err != nil {
		return errors.Join(err, root.Remove(f.temp))
	}
	if err := dir.rename(f.temp, f.path); err != nil {
		return errors.Join(err, root.Remove(f.temp))
	}
	f.temp = ""
	return nil
}

// attributes sets those that differ from what the file has.
func (f *finished) attributes(root *os.Root, has fs.FileInfo) error {
	if f.uid >= 0 {
		if err := f.file.Chown(f.uid, f.gid); err != nil {
			return err
		}
	}
	if f.uid >= 0 || f.mode != has.Mode() { // another owner has cost it its setuid bit
		if err := f.file.Chmod(f.mode); err != nil {
			return err
		}
	}
	if f.temp == "" {
		return nil
	}
	return setTime(f.file, func() error { return root.Chtimes(f.temp, f.modTime, f.modTime) }, f.modTime)
}

// setTime sets the times of an open file, which Linux can do without its name
// since 5.8 (utimensat(2), AT_EMPTY_PATH).
func setTime(f *os.File, byName func() error, to time.Time) error {
	ts, err := unix.TimeToTimespec(to)
	if err != nil {
		return err
	}
	if unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH) == nil {
		return nil
	}
	return byName()
}

func (f *finished) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// discard closes a file that will not be committed and removes it if it has
// only its temporary name.
func (f *finished) discard(root *os.Root) error {
	err := f.close()
	if f.temp != "" {
		err = errors.Join(err, root.Remove(f.temp))
		f.temp = ""
	}
	return err
}
