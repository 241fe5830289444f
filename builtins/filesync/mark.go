package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// markName is a file in the target's root that stands there while a copy with
// Options.Resume is under way, and holds that option's value. It is the first
// thing that such a copy makes and the last that it removes, so that what
// changed later than it was changed by this copy, or by one before it that was
// cut.
const markName = ".warmrun-sync-begun"

// beginCopy makes the mark durable, or takes up one that an earlier copy of the
// same has left. From then on list tells what is as an earlier copy left it.
func (r *receiver) beginCopy(name string) error {
	if name == "" {
		return nil
	}
	info, err := r.markOf(name)
	switch {
	case err == nil && untouched(info):
		r.begun = changeTime(info)
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := r.writeSmall(smallFile{Name: markName, Perm: 0o600, Data: []byte(name)}); err != nil {
		return err
	}
	// The flush may have taken its time, and this shows what untouched wants.
	now := time.Now()
	return r.tree.root.Chtimes(markName, now, now)
}

// markOf looks at the mark of an earlier copy of that name. The error is an
// fs.ErrNotExist where there is none.
func (r *receiver) markOf(name string) (fs.FileInfo, error) {
	content, err := readSmall(r.tree.root, smallFile{Name: markName, Limit: maxSmallFile})
	if err != nil {
		return nil, err
	}
	if string(content) != name {
		return nil, fmt.Errorf("the mark of another copy: %w", fs.ErrNotExist)
	}
	return r.tree.root.Lstat(markName)
}

// untouched reports whether a mark is as the copy left it that made it. Somebody
// who gave everything in the target another owner, or put it there from a backup,
// changed the mark's own change time with that of all files, which then tells
// nothing any more.
func untouched(mark fs.FileInfo) bool {
	return changeTime(mark).Sub(mark.ModTime()).Abs() < time.Second
}

// isFresh reports whether a file is one that this copy's predecessor has dealt
// with: it was changed after the mark was made. Only a complete one has its
// source's time.
func (r *receiver) isFresh(info fs.FileInfo) bool {
	return !r.begun.IsZero() && changeTime(info).After(r.begun)
}

// changeTime is when anything about a file, its name included, was last
// changed. Nobody can set it.
func changeTime(info os.FileInfo) time.Time {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}
	}
	return time.Unix(st.Ctim.Unix())
}
