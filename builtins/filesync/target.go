package filesync

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// openOut opens what a job writes to, if it is not open yet: the file itself
// where it may be written in place, else a temporary one that begins as a copy
// of the basis.
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
	if err := r.openTemp(in); err != nil {
		return err
	}
	if in.basis == nil {
		return nil
	}
	return copyBasis(in)
}

// openInPlace opens the final name for writing. It returns false where the
// file must be replaced instead: other links share it, or its mode forbids
// writing.
func (r *receiver) openInPlace(in *incoming) (bool, error) {
	if in.basis == nil {
		f, err := r.tree.root.OpenFile(in.entry.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		in.out = f
		return err == nil, err
	}
	if st, ok := in.basisInfo.Sys().(*syscall.Stat_t); !ok || st.Nlink > 1 {
		return false, nil
	}
	f, info, err := openExisting(r.tree.root, in.entry.Path, os.O_RDWR)
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !sameState(info, in.basisInfo) {
		return false, errors.Join(errBasisChanged, f.Close())
	}
	in.out = f
	return true, nil
}

func (r *receiver) openTemp(in *incoming) error {
	in.temp = tempName(in.entry.Path)
	f, err := r.tree.root.OpenFile(in.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		in.temp = ""
		return err
	}
	in.out = f
	return nil
}

// copyBasis fills a temporary file with what the basis holds, by reflink or
// within the kernel where the file system can.
func copyBasis(in *incoming) error {
	if _, err := in.basis.Seek(0, io.SeekStart); err != nil {
		return err
	}
	want := min(in.basisInfo.Size(), in.entry.Size)
	n, err := io.Copy(in.out, io.LimitReader(in.basis, want))
	if err != nil {
		return err
	}
	now, err := in.basis.Stat()
	if err != nil {
		return err
	}
	if n != want || !sameState(now, in.basisInfo) {
		return errBasisChanged
	}
	return nil
}

// sameState reports whether a file has not been written to in between.
func sameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func tempName(name string) string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return path.Join(path.Dir(name), tempPrefix+hex.EncodeToString(random[:])+tempSuffix)
}

// mkdir makes a directory that this process can fill; meta gives it its own
// mode when all is in it.
func (r *receiver) mkdir(e Entry) error {
	if e.Path == "." {
		return nil
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
	r.dirs[path.Dir(e.Path)] = true
	temp := tempName(e.Path)
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
		w := &finished{file: f, path: e.Path, mode: e.Mode, modTime: e.ModTime, uid: -1, gid: -1}
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
