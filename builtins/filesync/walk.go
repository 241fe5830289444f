package filesync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	_, base := cutPath(name)
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
	links      *linkIDs               // nil where nobody asks which names are of one file
	fresh      func(fs.FileInfo) bool // of a File; may be nil
	emit       func(Entry) error
	temp       func(name string, info fs.FileInfo) error // told of leftovers; nil skips them
}

func (w *walker) run(ctx context.Context) error {
	info, err := w.root.Stat(".")
	if err != nil {
		return err
	}
	return w.entry(ctx, w.root, ".", ".", info)
}

// entry lists what is under a name in a directory, in the tree under a path.
func (w *walker) entry(ctx context.Context, in *os.Root, name, inTree string, info fs.FileInfo) error {
	e := newEntry(inTree, info)
	pruned := w.prune.match(inTree, e.Kind == Dir)
	if pruned && !w.showPruned {
		return nil
	}
	w.names.name(&e)
	if e.Kind == File && w.links != nil {
		e.link = w.links.id(info)
	}
	e.fresh = e.Kind == File && w.fresh != nil && w.fresh(info)
	if e.Kind == Symlink {
		target, err := in.Readlink(name)
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
	err := w.directory(ctx, in, name, e, info)
	if errors.Is(err, errReplaced) && e.Path != "." {
		return nil
	}
	return err
}

// errReplaced is for a directory that is not there any more when it is opened.
var errReplaced = errors.New("it was replaced while it was listed")

// directory lists a directory that was found under a name in another. It is kept
// open meanwhile, so that the way down to it is walked once.
func (w *walker) directory(ctx context.Context, in *os.Root, name string, e Entry, seen fs.FileInfo) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, children, err := openDirectory(in, name, seen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if err := w.emit(e); err != nil {
		return err
	}
	for _, at := range children.each {
		if err := w.child(ctx, dir, string(children.name(at)), e.Path); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) child(ctx context.Context, dir *os.Root, name, parent string) error {
	own := parent == "." && (name == markName || name == notesName)
	if own || isTemp(name) && w.temp == nil {
		return nil
	}
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	inTree := joinPath(parent, name)
	if isTemp(name) {
		return w.temp(inTree, info)
	}
	return w.entry(ctx, dir, name, inTree, info)
}

// openDirectory opens a directory and reads the names in it. A link that took
// its place since it was seen is not followed.
func openDirectory(in *os.Root, name string, seen fs.FileInfo) (_ *os.Root, _ names, err error) {
	root, err := in.OpenRoot(name)
	if err != nil {
		if now, lookErr := in.Lstat(name); lookErr != nil || !os.SameFile(seen, now) {
			err = errReplaced
		}
		return nil, names{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Close())
		}
	}()
	dir, err := root.Open(".")
	if err != nil {
		return nil, names{}, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	info, err := dir.Stat()
	if err != nil {
		return nil, names{}, err
	}
	if !os.SameFile(seen, info) {
		return nil, names{}, errReplaced
	}
	all, err := readNames(dir)
	return root, all, err
}

// list has a walk's entries chosen.
func list(ctx context.Context, w walker, c *chosen) (*catalog, error) {
	w.emit = c.see
	if err := w.run(ctx); err != nil {
		return nil, fmt.Errorf("list %s: %w", w.root.Name(), err)
	}
	return c.end()
}
