package filesync

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/zeebo/blake3"
)

// openOut opens what a job writes to, if it is not open yet: the file itself
// where it may be written in place, else a temporary one, which may hold what
// an earlier copy, or another stream, has written.
func (r *receiver) openOut(in *incoming) error {
	if in.out != nil {
		return nil
	}
	if r.inPlace {
		done, err := r.openInPlace(in)
		if done || err != nil {
			return err
		}
	}
	if err := r.openTemp(in); err != nil || !in.resumes() {
		return err
	}
	for _, s := range in.sure {
		for at := s.from; at < s.to; at += spanSize {
			in.keep(at)
		}
	}
	return nil
}

// openInPlace opens the final name for writing. It returns false where the
// file must be replaced instead: other links share it, its mode forbids
// writing, or there is a symbolic link or special file in its place.
func (r *receiver) openInPlace(in *incoming) (bool, error) {
	if in.basis < 0 {
		f, err := r.dir.open(in.entry.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			in.out, in.fresh = f, !in.shared
			return true, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		if !in.shared {
			return false, nil
		}
	}
	if info, err := r.tree.root.Lstat(in.entry.Path); err == nil && !info.Mode().IsRegular() {
		return false, nil
	}
	f, info, err := openExisting(r.tree.root, in.entry.Path, os.O_RDWR)
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Nlink > 1 {
		return false, f.Close()
	}
	if in.oldInfo != nil && !in.shared && !sameState(info, in.oldInfo) {
		return false, errors.Join(errBasisChanged, f.Close())
	}
	in.out = f
	return true, nil
}

// openTemp opens the temporary file of a job.
func (r *receiver) openTemp(in *incoming) error {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	temp := tempName(in.entry.Path)
	f, err := r.dir.open(temp, flags, 0o600)
	if err == nil && in.resumes() { // what was there is gone
		return errors.Join(errBasisChanged, f.Close(), r.tree.root.Remove(temp))
	}
	in.fresh = err == nil && !in.shared
	if errors.Is(err, fs.ErrExist) {
		if in.shared || in.partial >= 0 {
			f, err = r.openLeftover(temp)
		} else if err = r.clearTemp(temp); err == nil {
			f, err = r.dir.open(temp, flags, 0o600)
		}
	}
	if err != nil {
		return err
	}
	in.out, in.temp = f, temp
	return nil
}

// clearTemp removes what has a temporary name that is needed.
func (r *receiver) clearTemp(temp string) error {
	if err := r.tree.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openLeftover opens a temporary file that is there already.
func (r *receiver) openLeftover(temp string) (*os.File, error) {
	f, info, err := openExisting(r.tree.root, temp, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if info.Size() > 0 && !resumable(info) {
		return nil, errors.Join(fmt.Errorf("%s was put there by another program", temp), f.Close())
	}
	return f, nil
}

// advance makes a file right up to an offset: what a temporary one lacks before
// it is the same in the file that is there already.
func (r *receiver) advance(in *incoming, offset int64) error {
	if err := r.openOut(in); err != nil {
		return err
	}
	for in.temp != "" && in.at < offset {
		next := min(offset, in.at-in.at%spanSize+spanSize)
		if in.kept == nil || !in.kept[(in.at-in.from)/spanSize] {
			if err := r.fromOld(in, in.at, next); err != nil {
				return err
			}
		}
		in.at = next
	}
	in.at = offset
	return nil
}

// fromOld copies a stretch of the file that is there already.
func (r *receiver) fromOld(in *incoming, from, to int64) error {
	if to = min(to, in.basis); from >= to {
		return nil
	}
	if err := r.openOld(in); err != nil {
		return err
	}
	return copyRange(in.out, in.old, from, to)
}

// sameState reports whether a file has not been written to in between.
func sameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// tempName is where a file is put together. It follows from the file's own
// name, so that the next copy finds what one that was cut has left.
func tempName(name string) string {
	sum := blake3.Sum256([]byte(name))
	dir, _ := cutPath(name)
	return joinPath(dir, tempPrefix+hex.EncodeToString(sum[:hashSize])+tempSuffix)
}

// mkdir makes a directory that this process can fill; meta gives it its own
// mode when all is in it.
func (r *receiver) mkdir(e Entry) error {
	if e.Path == "." {
		return nil
	}
	if err := r.room(); err != nil {
		return err
	}
	r.dirs[path.Dir(e.Path)], r.dirs[e.Path] = true, true
	err := r.tree.root.Mkdir(e.Path, e.Mode.Perm()|0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := r.tree.root.Lstat(e.Path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: there is something else in place of a directory", e.Path)
	}
	if info.Mode()&0o700 != 0o700 {
		return r.tree.root.Chmod(e.Path, info.Mode()|0o700)
	}
	return nil
}

// symlink makes a symbolic link, in place of one that leads elsewhere.
func (r *receiver) symlink(e Entry) error {
	if err := r.room(); err != nil {
		return err
	}
	r.dirs[path.Dir(e.Path)] = true
	temp := tempName(e.Path)
	if err := r.clearTemp(temp); err != nil {
		return err
	}
	if err := r.tree.root.Symlink(e.Target, temp); err != nil {
		return err
	}
	err := r.giveLink(e, temp)
	if err == nil {
		err = r.tree.root.Rename(temp, e.Path)
	}
	if err != nil {
		return errors.Join(err, r.tree.root.Remove(temp))
	}
	return nil
}

func (r *receiver) giveLink(e Entry, name string) error {
	if r.owners == nil {
		return nil
	}
	uid, gid := r.owners.ids(e)
	return r.tree.root.Lchown(name, uid, gid)
}

// removeEntry removes a file, a link or an empty directory. What is not there
// needs no removing.
func (r *receiver) removeEntry(name string) error {
	if name == "." {
		return protocolError("the root cannot be removed")
	}
	if err := r.room(); err != nil {
		return err
	}
	delete(r.dirs, name)
	r.dirs[path.Dir(name)] = true
	if err := r.tree.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// meta sets mode, owner and time of a file or directory that is there, and
// flushes a file.
func (r *receiver) meta(e Entry) error {
	switch e.Kind {
	case Symlink:
		return r.giveLink(e, e.Path)
	case Dir:
		return r.metaDir(e)
	case File:
		f, _, err := openRegular(r.tree.root, e.Path)
		if err != nil {
			return err
		}
		w := &finished{file: f, path: e.Path, mode: e.Mode, modTime: e.ModTime, size: e.Size, uid: -1, gid: -1}
		if r.owners != nil {
			w.uid, w.gid = r.owners.ids(e)
		}
		return r.commits.add(w)
	}
	return protocolError("%q is of a kind without attributes", e.Path)
}

func (r *receiver) metaDir(e Entry) error {
	info, err := r.tree.root.Lstat(e.Path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: is no directory any more", e.Path)
	}
	if err := r.room(); err != nil {
		return err
	}
	r.dirs[e.Path] = true
	if r.owners != nil {
		uid, gid := r.owners.ids(e)
		if err := r.tree.root.Chown(e.Path, uid, gid); err != nil {
			return err
		}
	}
	if err := r.tree.root.Chmod(e.Path, e.Mode); err != nil {
		return err
	}
	return r.tree.root.Chtimes(e.Path, e.ModTime, e.ModTime)
}
