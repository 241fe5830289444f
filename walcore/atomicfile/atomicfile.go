// Package atomicfile is the one durable write of this program. A file appears
// under its final name whole or not at all, and when a function here returns
// nil both the file's bytes and its directory entry have been flushed.
//
// The order is fixed: temporary file in the same directory tree, write, fsync
// the file, rename, fsync the directory.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Options bend one write. The zero value is a private file whose temporary
// sibling lives in the directory of the target.
type Options struct {
	// Perm is the file's mode; 0 means 0600.
	Perm fs.FileMode
	// TempDir holds the temporary file; it must be on the target's file
	// system. Empty means the target's own directory.
	TempDir string
	// Step, when set, is called before each step with its name: "write",
	// "fsync", "rename", "fsync-dir". An error it returns fails the write at
	// that step; tests use it.
	Step func(step string) error
}

// Write makes path hold what fill writes. On any error the old file is
// untouched and no temporary file is left behind, except after a crash.
func Write(path string, opts Options, fill func(io.Writer) error) (err error) {
	step := opts.Step
	if step == nil {
		step = func(string) error { return nil }
	}
	tmp, err := create(path, opts)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTemp(tmp.Name()))
		}
	}()
	if err := fillAndSync(tmp, step, fill); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := step("rename"); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	if err := step("fsync-dir"); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// WriteFile is Write with the content at hand.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Write(path, Options{Perm: perm}, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Remove deletes path and flushes the directory, so that the file cannot come
// back after a crash. A file that is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Rename moves a file within one file system and flushes both directories.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

// MkdirAll creates a directory and flushes every directory it had to make.
func MkdirAll(path string, perm fs.FileMode) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", path)
		}
		return nil
	}
	parent := filepath.Dir(path)
	if err := MkdirAll(parent, perm); err != nil {
		return err
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// SyncDir flushes a directory's entries.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func create(path string, opts Options) (*os.File, error) {
	dir := opts.TempDir
	if dir == "" {
		dir = filepath.Dir(path)
	}
	perm := opts.Perm
	if perm == 0 {
		perm = 0o600
	}
	// A name of its own for each try: a leftover of a crash must never stand
	// in the way of the next one.
	tmp, err := os.CreateTemp(dir, ".warmrun-*.tmp")
	if err != nil {
		return nil, err
	}
	if err := tmp.Chmod(perm); err != nil {
		return nil, errors.Join(err, tmp.Close(), removeTemp(tmp.Name()))
	}
	return tmp, nil
}

func fillAndSync(tmp *os.File, step func(string) error, fill func(io.Writer) error) error {
	err := step("write")
	if err == nil {
		err = fill(tmp)
	}
	if err == nil {
		err = step("fsync")
	}
	if err == nil {
		err = tmp.Sync()
	}
	return errors.Join(err, tmp.Close())
}

func removeTemp(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
