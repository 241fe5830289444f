package ship

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Place is where the shipper of one data directory has its socket, its lock
// and its log: a directory that nobody but the server's user may enter. Servers
// on one machine have different places even in one home directory, and so has a
// server whose data directory was moved.
type Place struct {
	// Dir is the directory, in the home directory's local part.
	Dir string
	// DataDir is the data directory's real path.
	DataDir string
}

// PlaceOf is the place of the shipper of a data directory.
func PlaceOf(dir, pgdata string) (Place, error) {
	data, err := filepath.EvalSymlinks(pgdata)
	if err == nil {
		data, err = filepath.Abs(data)
	}
	return Place{Dir: dir, DataDir: data}, err
}

// Places are those of all shippers that ever ran from a directory.
func Places(dir string) ([]Place, error) {
	locks, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil {
		return nil, err
	}
	var places []Place
	for _, lock := range locks {
		data, err := os.ReadFile(lock)
		if err != nil {
			return nil, err
		}
		if p := (Place{Dir: dir, DataDir: string(data)}); p.path(".lock") == lock {
			places = append(places, p)
		}
	}
	return places, nil
}

// path is that of a file of the place.
func (p Place) path(suffix string) string {
	sum := sha256.Sum256([]byte(p.DataDir))
	return filepath.Join(p.Dir, hex.EncodeToString(sum[:6])+suffix)
}

// LogFile is where a shipper writes what it has to say.
func (p Place) LogFile() string { return p.path(".log") }

// prepare makes the directory, and sees that it is this user's alone.
func (p Place) prepare() error {
	if err := atomicfile.MkdirAll(p.Dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(p.Dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || ok && int(stat.Uid) != os.Geteuid() {
		return hint.Wrap(fmt.Errorf("%s is not a directory of this user's alone", p.Dir), "remove it, or: chmod 700 %s", p.Dir)
	}
	return nil
}

// take makes the caller the only shipper here, as long as the file stays open.
// The kernel lets go of the lock when a process dies, however it does.
func (p Place) take() (*os.File, error) {
	if err := p.prepare(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.path(".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrShipperRuns
		}
		return nil, errors.Join(err, f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(p.DataDir), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Wait returns when no shipper is left here.
func (p Place) Wait(ctx context.Context) error {
	for {
		hold, err := p.take()
		if err == nil {
			return hold.Close()
		}
		if !errors.Is(err, ErrShipperRuns) {
			return err
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// wait waits, but no longer than ctx.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// listen makes the socket; the place is taken, so one that is there is a dead
// shipper's.
func (p Place) listen() (*net.UnixListener, error) {
	if err := os.Remove(p.path(".sock")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	address, done, err := p.address()
	if err != nil {
		return nil, err
	}
	defer done()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // the address may be a short one; the next shipper removes it
	return listener, os.Chmod(p.path(".sock"), 0o600)
}

// dial calls the shipper.
func (p Place) dial(ctx context.Context) (*net.UnixConn, error) {
	address, done, err := p.address()
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// dialPatience is how long a shipper may take to accept a call.
const dialPatience = 2 * time.Second

// longestAddress is what fits into a socket's address (unix(7)), without the
// zero at its end.
const longestAddress = 107

// address is the socket's, through an open directory where its path is too long
// for one. done closes that.
func (p Place) address() (address string, done func(), err error) {
	path := p.path(".sock")
	if len(path) <= longestAddress {
		return path, func() {}, nil
	}
	dir, err := os.Open(p.Dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { _ = dir.Close() }, nil
}
