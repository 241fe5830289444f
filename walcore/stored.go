package walcore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore/packed"
)

// A whole segment may lie in an archive as NAME, NAME.zst or NAME.lz4, and is
// the segment NAME in every case. All other files are plain. Where a name is
// there more than once, as after a packing by hand, the plain one is read.

// parseStored is the WAL file that a file of an archive's directory is, and how
// it is stored.
func parseStored(entry string) (FileName, packed.Form, error) {
	base, form := packed.Split(entry)
	if form.Packs() && kindOf(base) != KindSegment {
		base, form = entry, packed.Plain
	}
	name, err := ParseFileName(base)
	return name, form, err
}

// storedAs are the names of the files that may hold a WAL file, in the order
// in which they are looked for.
func storedAs(name FileName) []string {
	files := []string{string(name)}
	if name.Kind() == KindSegment {
		for _, form := range packed.Forms() {
			files = append(files, string(name)+form.Suffix())
		}
	}
	return files
}

// storedFile is a file of an archive as it lies there.
type storedFile struct {
	*os.File
	form packed.Form
}

// find opens a file as it is stored, with the errors of Open.
func (a *Archive) find(name FileName) (*storedFile, error) {
	path, err := a.file(name)
	if err != nil {
		return nil, err
	}
	for _, file := range storedAs(name) {
		f, err := os.Open(filepath.Join(a.dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, cmp.Or(a.present(), err)
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", f.Name())
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		_, form := packed.Split(file)
		return &storedFile{f, form}, nil
	}
	if err := a.present(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s: %w", path, ErrNotArchived)
}

// Has reports whether there is a file of the name, whatever is in it. Where the
// archive itself is not there the error is ErrNoArchive.
func (a *Archive) Has(name FileName) (bool, error) {
	if _, err := a.file(name); err != nil {
		return false, err
	}
	for _, file := range storedAs(name) {
		if found, err := exists(filepath.Join(a.dir, file)); found || err != nil {
			return found, err
		}
	}
	return false, a.present()
}

// OpenStored opens a file as it lies there, with its form; otherwise it is Open.
func (a *Archive) OpenStored(name FileName) (*os.File, packed.Form, error) {
	stored, err := a.find(name)
	if err != nil {
		return nil, "", err
	}
	return stored.File, stored.form, nil
}
