package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// tree is a directory to copy.
type tree struct {
	root  string
	bytes int64 // of the files that a copy must have
	// skip names what is not compared: what a copy need not have, or has in a
	// version of its own. nil: nothing.
	skip func(name string) bool
}

func newTree(root string, skip func(name string) bool) (*tree, error) {
	t := &tree{root: root, skip: skip}
	err := t.walk(root, func(_ string, info fs.FileInfo) error {
		if info.Mode().IsRegular() {
			t.bytes += info.Size()
		}
		return nil
	})
	return t, err
}

// gb is the size in units of 10^9 bytes.
func (t *tree) gb() float64 { return float64(t.bytes) / 1e9 }

// walk visits what is compared, with its name below the root.
func (t *tree) walk(root string, visit func(name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if t.skip != nil && t.skip(name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return visit(name, info)
	})
}

// warm reads all of it, so that everyone finds it in memory.
func (t *tree) warm() error {
	return t.walk(t.root, func(name string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(filepath.Join(t.root, name))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		return errors.Join(err, f.Close())
	})
}

// verify is an error when the copy differs: in a name, a kind, a size or a byte.
func (t *tree) verify(copied string) error {
	want := map[string]fs.FileInfo{}
	err := t.walk(t.root, func(name string, info fs.FileInfo) error {
		want[name] = info
		return nil
	})
	if err != nil {
		return err
	}
	pieces := new(pieces)
	err = t.walk(copied, func(name string, info fs.FileInfo) error {
		original, known := want[name]
		delete(want, name)
		switch {
		case !known:
			return fmt.Errorf("%s is not in %s", name, t.root)
		case original.Mode().Type() != info.Mode().Type():
			return fmt.Errorf("%s is of another kind than in %s", name, t.root)
		case info.Mode().IsRegular():
			return pieces.same(filepath.Join(t.root, name), filepath.Join(copied, name))
		}
		return nil
	})
	for name := range want {
		err = errors.Join(err, fmt.Errorf("%s is missing", name))
		break
	}
	if err != nil {
		err = fmt.Errorf("the copy in %s: %w", copied, err)
	}
	return err
}

// pieces hold what is compared of two files.
type pieces [2][1 << 18]byte

// same is an error when two files differ.
func (p *pieces) same(left, right string) error {
	return p.compare(left, right, func(l, r []byte) error {
		if !bytes.Equal(l, r) {
			return fmt.Errorf("%s and %s differ", left, right)
		}
		return nil
	})
}

// pages counts the pages of a file, and those that the older one has otherwise.
func (p *pieces) pages(current, old string) (all, other int, err error) {
	err = p.compare(current, old, func(l, r []byte) error {
		for at := 0; at < len(l); at += pageSize {
			all++
			if end := min(at+pageSize, len(l)); end > len(r) || !bytes.Equal(l[at:end], r[at:end]) {
				other++
			}
		}
		return nil
	})
	return all, other, err
}

// compare shows piece by piece what two files have in the same place.
func (p *pieces) compare(left, right string, show func(l, r []byte) error) (err error) {
	var files [2]*os.File
	for i, path := range []string{left, right} {
		if files[i], err = os.Open(path); err != nil {
			return err
		}
		defer files[i].Close()
	}
	for {
		n, ended, err := readPiece(files[0], p[0][:])
		m, endedRight, errRight := readPiece(files[1], p[1][:])
		if err := errors.Join(err, errRight); err != nil {
			return err
		}
		if err := show(p[0][:n], p[1][:m]); err != nil || ended && endedRight {
			return err
		}
	}
}

// readPiece fills the piece as far as there is something to read.
func readPiece(from io.Reader, piece []byte) (n int, ended bool, err error) {
	n, err = io.ReadFull(from, piece)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, true, nil
	}
	return n, false, err
}

const pageSize = 8192

// changed is the share of pages that an older copy has otherwise, or not at all,
// in percent.
func (t *tree) changed(old string) (float64, error) {
	pieces := new(pieces)
	var pages, changed int
	err := t.walk(t.root, func(name string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			return nil
		}
		all, other, err := pieces.pages(filepath.Join(t.root, name), filepath.Join(old, name))
		pages, changed = pages+all, changed+other
		return err
	})
	return 100 * float64(changed) / float64(max(pages, 1)), err
}

// group is a number of files of one size.
type group struct {
	files int
	bytes int
}

// randomTree makes files that nothing can compress, a thousand in a directory.
func randomTree(root string, groups ...group) (*tree, error) {
	random := rand.NewChaCha8([32]byte{1})
	made := 0
	for _, g := range groups {
		content := make([]byte, min(g.bytes, 1<<20))
		for range g.files {
			dir := filepath.Join(root, fmt.Sprintf("%03d", made/1000))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
			if err := randomFile(filepath.Join(dir, fmt.Sprintf("%06d", made)), g.bytes, content, random); err != nil {
				return nil, err
			}
			made++
		}
	}
	return newTree(root, nil)
}

func randomFile(path string, size int, piece []byte, random *rand.ChaCha8) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for left := size; left > 0 && err == nil; left -= len(piece) {
		piece = piece[:min(left, len(piece))]
		_, _ = random.Read(piece) // never fails
		_, err = f.Write(piece)
	}
	return errors.Join(err, f.Close())
}
