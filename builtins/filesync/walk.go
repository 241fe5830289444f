package filesync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// tempPrefix and tempSuffix frame the names of files that are being received
// (see tempName). One that is found when a copy begins is left over from a copy
// that died.
const (
	tempPrefix = ".warmrun-sync-"
	tempSuffix = ".tmp"
)

func isTemp(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, tempPrefix) && strings.HasSuffix(base, tempSuffix)
}

// walker lists a tree, parents before what is in them. What vanishes while it
// is listed was never there.
type walker struct {
	root  *os.Root
	prune filter
	// showPruned lists what a pattern matches, though not what is below it. A
	// target is listed so: a directory that holds something protected must
	// not be removed.
	showPruned bool
	names      *owners
	links      linkIDs
	fresh      func(fs.FileInfo) bool // of a File; may be nil
	emit       func(Entry) error
	temp       func(name string, info fs.FileInfo) error // told of leftovers; nil skips them
}

func (w *walker) run(ctx context.Context) error {
	w.links = linkIDs{}
	info, err := w.root.Stat(".")
	if err != nil {
		return err
	}
	return w.entry(ctx, ".", info)
}

func (w *walker) entry(ctx context.Context, name string, info fs.FileInfo) error {
	e := newEntry(name, info)
	pruned := w.prune.match(name, e.Kind == Dir)
	if pruned && !w.showPruned {
		return nil
	}
	w.names.name(&e)
	if e.Kind == File {
		e.link = w.links.id(info)
	}
	e.fresh = e.Kind == File && w.fresh != nil && w.fresh(info)
	if e.Kind == Symlink {
		target, err := w.root.Readlink(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		e.Target = target
	}
	if e.Kind != Dir || pruned {
		return w.emit(e)
	}
	return w.directory(ctx, e, info)
}

func (w *walker) directory(ctx context.Context, e Entry, info fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	children, err := readDirectory(w.root, e.Path, info)
	if errors.Is(err, fs.ErrNotExist) && e.Path != "." {
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.emit(e); err != nil {
		return err
	}
	for _, child := range children {
		if err := w.child(ctx, path.Join(e.Path, child.Name()), child); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) child(ctx context.Context, name string, child fs.DirEntry) error {
	if name == markName || isTemp(name) && w.temp == nil {
		return nil
	}
	info, err := child.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if isTemp(name) {
		return w.temp(name, info)
	}
	return w.entry(ctx, name, info)
}

// readDirectory reads a directory's entries, sorted by name. A link that took
// the directory's place since it was seen is not followed.
func readDirectory(root *os.Root, name string, seen fs.FileInfo) (children []fs.DirEntry, err error) {
	dir, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	info, err := dir.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(seen, info) {
		return nil, fmt.Errorf("%s was replaced while it was listed: %w", name, fs.ErrNotExist)
	}
	children, err = dir.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(children, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return children, nil
}

// list collects a walk.
func list(ctx context.Context, w walker) ([]Entry, error) {
	var all []Entry
	w.emit = func(e Entry) error {
		all = append(all, e)
		return nil
	}
	if err := w.run(ctx); err != nil {
		return nil, fmt.Errorf("list %s: %w", w.root.Name(), err)
	}
	return all, nil
}
