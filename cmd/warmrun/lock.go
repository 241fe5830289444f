package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// clusterLockName is the lock that all runbooks with lock = "cluster" share.
const clusterLockName = "cluster"

// lockHolder is the run that holds a lock, for whoever finds it locked.
type lockHolder struct {
	Run     string           `json:"run"` // the outermost run's ID
	Driver  string           `json:"driver,omitempty"`
	Runbook string           `json:"runbook"`
	User    string           `json:"user"`
	Node    cluster.NodeName `json:"node"` // where it was started
	PID     int              `json:"pid"`
	Since   time.Time        `json:"since"`
}

// holderOf is this process as the holder of a lock.
func holderOf(s *session, book string) lockHolder {
	who, err := ownName()
	if err != nil {
		who = fmt.Sprintf("user %d", os.Geteuid())
	}
	return lockHolder{Run: s.run, Driver: s.driver, Runbook: book, User: who, Node: s.site.Self.Name, PID: os.Getpid(), Since: time.Now()}
}

// same reports whether two holders are the same process driving the same run.
func (h lockHolder) same(other lockHolder) bool {
	return h.Run == other.Run && h.Driver == other.Driver
}

func (h lockHolder) String() string {
	if h.Run == "" {
		return "a run that is not known"
	}
	return fmt.Sprintf("%s (%s), started by %s on %s as process %d, since %s", h.Runbook, h.Run, h.User, h.Node, h.PID, h.Since.Format("2006-01-02 15:04:05 MST"))
}

// lockedError is a run that found another one in its way.
type lockedError struct{ error }

func (e lockedError) Unwrap() error { return e.error }

// heldBy is the error of a lock on a node that another run holds. Whoever finds
// it so has done nothing.
func heldBy(h lockHolder, on cluster.NodeName) error {
	err := hint.Wrap(fmt.Errorf("another run is under way and holds %s: %s", on, h), "wait until it has ended")
	if h.PID != 0 {
		err = hint.Wrap(err, "wait until it has ended; should it hang, end process %d on %s: its locks go with it, or within %s where that host is dead", h.PID, h.Node, lockSilence)
	}
	return engine.NotBegun(lockedError{err})
}

// heldError says that a lock is another's.
type heldError struct{ holder lockHolder }

func (e *heldError) Error() string { return "locked: " + e.holder.String() }

// lockFile is a lock of this node, held.
type lockFile struct {
	f *os.File
	// before is who held it last.
	before lockHolder
}

// Close releases the lock. The kernel does it too when the process ends, so no
// stale lock can remain.
func (l *lockFile) Close() error { return l.f.Close() }

// takeLock takes a lock of this node for a run. When another run holds it the
// error is a *heldError. The lock holds also where the disk is too full to
// write down who has it.
func takeLock(site *cluster.Site, name string, holder lockHolder) (*lockFile, error) {
	dir := site.Local("runs")
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = &heldError{readHolder(f)}
		}
		return nil, errors.Join(err, f.Close())
	}
	l := &lockFile{f: f, before: readHolder(f)}
	l.note(holder)
	return l, nil
}

func (l *lockFile) note(holder lockHolder) {
	if text, err := json.Marshal(holder); err == nil && l.f.Truncate(0) == nil {
		_, _ = l.f.WriteAt(append(text, '\n'), 0)
	}
}

// giveBack releases the lock as if it had not been taken: who held it before is
// what a run goes by that has lost it.
func (l *lockFile) giveBack() {
	l.note(l.before)
	_ = l.Close() // nothing was written that must last
}

// readHolder reads who has a lock, or had it; the zero holder is nobody known.
func readHolder(f *os.File) lockHolder {
	var h lockHolder
	text := make([]byte, 4096)
	n, _ := f.ReadAt(text, 0)
	if json.Unmarshal(text[:n], &h) != nil {
		return lockHolder{}
	}
	return h
}

// lockHere takes this node's part of the cluster lock for the run that s
// belongs to, or finds that the run around this one holds it. The lock it gives
// is nil then. What a driver asks for after another has taken its run over finds
// the lock held. A part of the run may go on to its end: the new driver waits for
// it.
func lockHere(s *session, book string) (*lockFile, error) {
	lock, err := takeLock(s.site, clusterLockName, holderOf(s, book))
	var held *heldError
	if errors.As(err, &held) && held.holder.Run == s.run && (s.part || held.holder.Driver == s.driver) && s.run != "" {
		return nil, nil
	}
	return lock, lockedHere(s, err)
}

// lockedHere is why this node's part of the cluster lock cannot be had.
func lockedHere(s *session, err error) error {
	var held *heldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &held):
		return heldBy(held.holder, s.site.Self.Name)
	}
	return engine.NotBegun(fmt.Errorf("lock %s: %w", s.site.Self.Name, err))
}

// withLockHere does something under this node's part of the cluster lock.
func withLockHere(s *session, what string, do func() error) error {
	lock, err := lockHere(s, what)
	if err != nil {
		return err
	}
	err = do()
	if lock != nil {
		err = errors.Join(err, lock.Close())
	}
	return err
}
