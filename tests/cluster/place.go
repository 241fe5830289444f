package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// place is a machine of its own as far as a node needs one: its mounts, its
// host name and its processes, each a namespace, and its network where it is
// plugged into one. A nil place is where the test itself is.
type place struct {
	mnt, uts, pid *os.File // keep the namespaces
	net           *os.File // the network's; nil for the test's own
	first         *exec.Cmd
	disks         []string // where file systems are mounted that only the place has
}

// firstProcess mounts the machine's own /proc and then reaps orphans until its
// input ends, which the test holds: even a test that is killed leaves nothing
// behind. When it ends, so does everything on the machine.
const firstProcess = `mount -t proc proc /proc && echo ready && exec 3<&0 >/dev/null && { cat <&3 & wait; }`

// newPlace makes a place whose host name is name, with the network given, and
// where the directory from lies at each of to as well.
func newPlace(t testing.TB, name string, net *os.File, from string, to ...string) *place {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("nodes that are machines of their own need namespaces, and those need root: run the tests with sudo")
	}
	p := &place{net: net, first: exec.Command("/bin/sh", "-c", firstProcess)}
	err := onThread(func() error {
		if err := p.enterNetwork(); err != nil {
			return err
		}
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		for _, dir := range to {
			if err := unix.Mount(from, dir, "", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("mount on %s: %w", dir, err)
			}
		}
		if err := unix.Sethostname([]byte(name)); err != nil {
			return err
		}
		// Before the first process covers /proc with its own.
		var errMnt, errUTS error
		p.mnt, errMnt = os.Open("/proc/thread-self/ns/mnt")
		p.uts, errUTS = os.Open("/proc/thread-self/ns/uts")
		errFirst := p.startFirst()
		return errors.Join(errMnt, errUTS, errFirst)
	})
	if err == nil {
		p.pid, err = os.Open(fmt.Sprintf("/proc/%d/ns/pid", p.first.Process.Pid))
	}
	if err != nil {
		t.Fatalf("make a place for %s: %v", name, err)
	}
	return p
}

// startFirst returns when the place can be used.
func (p *place) startFirst() error {
	var complaints strings.Builder
	p.first.Stderr = &complaints
	p.first.Dir = "/"
	// The input ends with this process, or when the first one is waited for.
	_, errIn := p.first.StdinPipe()
	out, err := p.first.StdoutPipe()
	if err := errors.Join(errIn, err); err != nil {
		return err
	}
	if err := p.first.Start(); err != nil {
		return err
	}
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		return errors.Join(err, p.first.Wait(), errors.New(complaints.String()))
	}
	return nil
}

func (p *place) enterNetwork() error {
	if p.net == nil {
		return nil
	}
	return unix.Setns(int(p.net.Fd()), unix.CLONE_NEWNET)
}

// do calls fn in the place. Processes that fn starts are there for good; fn
// itself must not count on goroutines that it starts being there, nor on /proc.
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
		if err := p.enterNetwork(); err != nil {
			return err
		}
		for _, ns := range []struct {
			file *os.File
			kind int
		}{{p.pid, unix.CLONE_NEWPID}, {p.uts, unix.CLONE_NEWUTS}, {p.mnt, unix.CLONE_NEWNS}} {
			if err := unix.Setns(int(ns.file.Fd()), ns.kind); err != nil {
				return err
			}
		}
		fn()
		finished = true
		return nil
	})
	if err != nil {
		t.Fatalf("enter a place: %v", err)
	}
	if !finished {
		t.FailNow() // fn has failed the test, on its own goroutine
	}
}

// end kills everything in the place at once, as pulling the plug does.
func (p *place) end() {
	if p == nil {
		return
	}
	// It may have been killed before; how it ended says nothing.
	_ = p.first.Process.Signal(syscall.SIGKILL)
	_ = p.first.Wait()
	for _, f := range []*os.File{p.mnt, p.uts, p.pid} {
		_ = f.Close() // nothing is written through it
	}
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
