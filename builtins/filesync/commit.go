package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// finished is a file whose content is complete but not yet on disk.
type finished struct {
	file     *os.File
	temp     string // its name so far; empty where it has its final name
	path     string
	mode     fs.FileMode
	modTime  time.Time
	uid, gid int // -1: leave as it is
}

// commitWorkers flush in parallel, because the journal of a file system takes
// many flushes at once at little more than the price of one.
const commitWorkers = 8

// committer makes files durable and then visible. The order for each is:
// attributes, flush, rename; the directories are flushed by the receiver.
type committer struct {
	root    *os.Root
	queue   chan *finished
	workers sync.WaitGroup // running workers
	pending sync.WaitGroup // files added and not done

	mu  sync.Mutex
	err error // the first failure
}

func newCommitter(root *os.Root) *committer {
	c := &committer{root: root, queue: make(chan *finished, commitWorkers)}
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
	c.pending.Add(1)
	c.queue <- f
	return nil
}

// wait returns when every file that was added is durable.
func (c *committer) wait() error {
	c.pending.Wait()
	return c.failure()
}

// close waits for the files that were added and ends the workers.
func (c *committer) close() error {
	close(c.queue)
	c.workers.Wait()
	return nil
}

func (c *committer) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *committer) work() {
	for f := range c.queue {
		if err := f.commit(c.root); err != nil {
			c.mu.Lock()
			if c.err == nil {
				c.err = fmt.Errorf("%s: %w", f.path, err)
			}
			c.mu.Unlock()
		}
		c.pending.Done()
	}
}

func (f *finished) commit(root *os.Root) error {
	if err := f.attributes(root); err != nil {
		return errors.Join(err, f.discard(root))
	}
	if err := f.file.Sync(); err != nil {
		return errors.Join(err, f.discard(root))
	}
	if f.temp == "" {
		// Only now: a crash must not leave old bytes under the new time,
		// which would make the next copy believe that they are the new ones.
		return errors.Join(root.Chtimes(f.path, f.modTime, f.modTime), f.file.Close())
	}
	if err := f.file.Close(); err != nil {
		return errors.Join(err, root.Remove(f.temp))
	}
	if err := root.Rename(f.temp, f.path); err != nil {
		return errors.Join(err, root.Remove(f.temp))
	}
	return nil
}

func (f *finished) attributes(root *os.Root) error {
	if f.uid >= 0 {
		if err := f.file.Chown(f.uid, f.gid); err != nil {
			return err
		}
	}
	if err := f.file.Chmod(f.mode); err != nil {
		return err
	}
	if f.temp == "" {
		return nil
	}
	return root.Chtimes(f.temp, f.modTime, f.modTime)
}

// discard closes a file that will not be committed and removes it if it has
// only its temporary name.
func (f *finished) discard(root *os.Root) error {
	err := f.file.Close()
	if f.temp != "" {
		err = errors.Join(err, root.Remove(f.temp))
	}
	return err
}
