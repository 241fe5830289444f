package filesync

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"github.com/warmrun/warmrun/walcore/hint"
)

// HardLinks says what is done with a file that has several names in the source.
type HardLinks string

// The choices. The empty one makes a file of its own of each name.
const (
	HardLinksRefuse HardLinks = "refuse" // the copy fails before it changes anything
	HardLinksKeep   HardLinks = "keep"   // the names belong to one file on the target as well
)

// check refuses a choice that there is not.
func (h HardLinks) check() error {
	switch h {
	case "", HardLinksRefuse, HardLinksKeep:
		return nil
	}
	return fmt.Errorf("there is no choice %q for hard links", string(h))
}

// linkIDs numbers the files that have several names, by device and inode.
type linkIDs struct {
	devices map[uint64]map[uint64]uint32
	last    uint32
}

// newLinkIDs is nil where nobody asks.
func newLinkIDs(asked bool) *linkIDs {
	if !asked {
		return nil
	}
	return &linkIDs{devices: map[uint64]map[uint64]uint32{}}
}

// id is the same, and not zero, for all names of one file that has several.
func (l *linkIDs) id(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 {
		return 0
	}
	at := identityOf(info)
	inodes := l.devices[at.Device]
	if inodes == nil {
		inodes = map[uint64]uint32{}
		l.devices[at.Device] = inodes
	}
	if inodes[at.Inode] == 0 {
		l.last++
		inodes[at.Inode] = l.last
	}
	return uint64(inodes[at.Inode])
}

// refuseLinks fails where two entries are one file.
func refuseLinks(all *catalog) error {
	first := map[uint64]ref{}
	for e := range all.all() {
		if e.link == 0 {
			continue
		}
		if r, there := first[e.link]; there {
			return hint.Wrap(fmt.Errorf("%s and %s are two names of one file", all.path(r), e.Path), "have hard links kept or copied as separate files, or remove one of them")
		}
		first[e.link] = e.ref
	}
	return nil
}

// hardLink is a further name of a file.
type hardLink struct {
	name ref
	to   ref // the file's first name
}

// leader is the first name of a file, and what is planned for it.
type leader struct {
	ref     ref
	old     uint64 // its link on the target
	changes bool
}

// name plans for a further name of a file. It returns false for a file's first
// one.
func (c *comparison) name(e listed, old *Entry, same bool) bool {
	if !c.keepLinks || e.link == 0 {
		return false
	}
	first, there := c.leaders[e.link]
	if !there {
		return false
	}
	if !same || first.changes || old.link == 0 || old.link != first.old {
		c.plan.hardLinks = append(c.plan.hardLinks, hardLink{e.ref, first.ref})
		c.touch(e)
	}
	return true
}

// lead remembers a file's first name.
func (c *comparison) lead(e listed, old *Entry, same, changes bool) {
	if !c.keepLinks || e.link == 0 {
		return
	}
	l := leader{ref: e.ref, changes: changes}
	if same {
		l.old = old.link
	}
	c.leaders[e.link] = l
}

func encodeHardLink(name, to string) []byte {
	return new(encoder).string(name).string(to).b
}

// hardLink gives a file that is complete another name.
func (r *receiver) hardLink(name, to string) error {
	if err := errors.Join(checkPath(name), checkPath(to)); err != nil {
		return err
	}
	info, err := r.tree.root.Lstat(to)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is no regular file, so that it gets no further name", to)
	}
	if err := r.room(); err != nil {
		return err
	}
	r.dirs[path.Dir(name)] = true
	temp := tempName(name)
	if err := r.clearTemp(temp); err != nil {
		return err
	}
	if err := r.tree.root.Link(to, temp); err != nil {
		return err
	}
	err = r.tree.root.Rename(temp, name)
	// A rename between two names of one file leaves both (rename(2)).
	return errors.Join(err, r.clearTemp(temp))
}
