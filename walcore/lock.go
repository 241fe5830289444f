package walcore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/hint"
)

// stateLockWait bounds the wait of calls that have no context. The lock is
// held for milliseconds; who waits longer waits for a process that hangs.
const stateLockWait = 30 * time.Second

// lock takes the archive's lock, which is held only while it is decided what
// a file may do and the file gets its name. The kernel drops it with the
// process that held it. Each caller opens the lock file anew, so it keeps
// goroutines of one process apart as well.
func (a *Archive) lock(ctx context.Context) (unlock func() error, err error) {
	return a.waitLock(ctx.Done(), func() error {
		return fmt.Errorf("wait for the lock of archive %s: %w", a.dir, context.Cause(ctx))
	})
}

func (a *Archive) lockWithin(limit time.Duration) (unlock func() error, err error) {
	done := make(chan struct{})
	timer := time.AfterFunc(limit, func() { close(done) })
	defer timer.Stop()
	return a.waitLock(done, func() error {
		return hint.Wrap(fmt.Errorf("archive %s was locked by another process for %s", a.dir, limit),
			"fuser %s shows which", a.state("lock"))
	})
}

func (a *Archive) waitLock(done <-chan struct{}, giveUp func() error) (unlock func() error, err error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		f, err := a.tryLock()
		if err != nil {
			return nil, fmt.Errorf("lock archive %s: %w", a.dir, err)
		}
		if f != nil {
			return f.Close, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-done:
			timer.Stop()
			return nil, giveUp()
		case <-timer.C:
		}
	}
}

// tryLock is the locked file, or nil when somebody else has it.
func (a *Archive) tryLock() (*os.File, error) {
	path := a.state("lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, a.missing(err)
	}
	if err := flock(f); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
		}
		return nil, errors.Join(err, f.Close())
	}
	// The archive may have been moved aside while we waited (Retire).
	held, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(held, now) {
		return nil, f.Close()
	}
	return f, nil
}

// flock takes the exclusive kernel lock on f, or fails with EWOULDBLOCK.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
