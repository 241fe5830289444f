package cluster

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// place is a mount and host name namespace: the part of a machine of its own
// that a node of a 2warm site needs. A nil place is where the test itself is.
type place struct {
	mnt, uts *os.File // keep the namespaces
}

// newPlace makes a place whose host name is name, and where the directory from
// lies at to as well.
func newPlace(t testing.TB, name, from, to string) *place {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("nodes with the same paths need mount namespaces, and those need root: run the tests with sudo")
	}
	p := &place{}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := unix.Sethostname([]byte(name)); err != nil {
			return err
		}
		var errMnt, errUTS error
		p.mnt, errMnt = os.Open("/proc/thread-self/ns/mnt")
		p.uts, errUTS = os.Open("/proc/thread-self/ns/uts")
		return errors.Join(errMnt, errUTS)
	})
	if err != nil {
		t.Fatalf("make a namespace for %s: %v", name, err)
	}
	return p
}

// do calls fn in the place. Processes that fn starts are there for good; fn
// itself must not count on goroutines that it starts being there.
func (p *place) do(t testing.TB, fn func()) {
	t.Helper()
	if p == nil {
		fn()
		return
	}
	finished := false
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Setns(int(p.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Setns(int(p.uts.Fd()), unix.CLONE_NEWUTS); err != nil {
			return err
		}
		fn()
		finished = true
		return nil
	})
	if err != nil {
		t.Fatalf("enter a namespace: %v", err)
	}
	if !finished {
		t.FailNow() // fn has failed the test, on its own goroutine
	}
}

func (p *place) close() {
	if p == nil {
		return
	}
	// Nothing is written through these.
	_ = p.mnt.Close()
	_ = p.uts.Close()
}

// onThread runs fn on a thread that is thrown away afterwards, because its
// namespaces are not those of the others.
func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		var err error
		defer func() { result <- err }()
		err = fn()
	}()
	return <-result
}
