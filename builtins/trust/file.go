package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Read is the content of a file of authorized keys; one that is not there is
// empty.
func Read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Edit changes a file of authorized keys in one step, durably, and reports
// whether there was anything to change. A symbolic link stays one: what it
// leads to is changed. Mode, owner and group are kept. The file must belong to
// this process's user; a directory that is missing is made with mode 0700, a
// file with 0600, which sshd insists on (StrictModes in sshd_config(5)).
func Edit(path string, change func([]byte) []byte) (changed bool, err error) {
	path, err = resolve(path)
	if err != nil {
		return false, err
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	mode, gid, err := look(path)
	if err != nil {
		return false, err
	}
	before, err := Read(path)
	if err != nil {
		return false, err
	}
	after := change(before)
	if bytes.Equal(before, after) {
		return false, nil
	}
	// Others edit such files without our lock.
	untouched := func(step string) error {
		if now, err := Read(path); step != "rename" || err == nil && bytes.Equal(now, before) {
			return err
		}
		return hint.Wrap(fmt.Errorf("%s was changed by somebody else at the same time", path), "run the command again")
	}
	return true, atomicfile.Write(path, atomicfile.Options{Perm: mode, Step: untouched}, func(w io.Writer) error {
		if f, ok := w.(*os.File); ok && gid >= 0 {
			// A group that this user is not in cannot be kept, and sshd does
			// not look at it.
			_ = f.Chown(-1, gid)
		}
		_, err := w.Write(after)
		return err
	})
}

// resolve follows symbolic links, and makes the directory where it is missing.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", hint.Wrap(fmt.Errorf("%s is a symbolic link that leads nowhere", path), "remove it, or create what it should lead to")
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// lockDir keeps two of us from editing at once.
func lockDir(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil && !errors.Is(err, syscall.ENOLCK) && !errors.Is(err, syscall.ENOTSUP) {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f.Close, nil
}

// look returns what the new file takes over from the old one; gid is -1 where
// there is none.
func look(path string) (mode fs.FileMode, gid int, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0o600, -1, nil
	}
	if err != nil {
		return 0, 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.Mode().IsRegular() || !ok {
		return 0, 0, fmt.Errorf("%s is not a regular file", path)
	}
	if int(stat.Uid) != os.Geteuid() {
		return 0, 0, fmt.Errorf("%s belongs to user %d, not to the account that it lets keys in for (user %d): %w", path, stat.Uid, os.Geteuid(), fs.ErrPermission)
	}
	return info.Mode().Perm(), int(stat.Gid), nil
}

// Complaints lists why sshd would pass over a file of authorized keys with
// StrictModes: something on the way from the home directory to it belongs to
// somebody else or can be written by others (safe_path in OpenSSH's misc.c).
func Complaints(path, home string) []string {
	var found []string
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if real, err := filepath.EvalSymlinks(home); err == nil {
		home = real
	}
	for ; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return append(found, err.Error())
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
			found = append(found, fmt.Sprintf("%s belongs to user %d", path, stat.Uid))
		}
		if info.Mode().Perm()&0o022 != 0 {
			found = append(found, fmt.Sprintf("%s can be written by others (mode %04o)", path, info.Mode().Perm()))
		}
		if path == home || path == filepath.Dir(path) {
			return found
		}
	}
}
