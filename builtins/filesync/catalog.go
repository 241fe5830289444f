package filesync

import (
	"io/fs"
	"iter"
	"strings"
)

// catalog holds a listed tree, in the order of a walk, in some forty bytes an
// entry: a million files must fit into the memory of a small node, on which a
// server runs as well. An Entry is made when it is asked for.
type catalog struct {
	pages  [][]byte // of records, none of which goes on in the next page
	dirs   []ref    // of directories, by their numbers
	open   []int    // numbers of the directories that the last entry is in, outermost first
	paths  []string // theirs
	owners []owner
	known  map[owner]uint64 // their places in owners
	record encoder
}

// ref is where an entry is in its catalog.
type ref uint64

// owner is who an entry belongs to.
type owner struct {
	uid, gid    uint32
	user, group string
}

// Pages are far longer than the longest record. Most copies need the first only.
const (
	firstPage   = 64 << 10
	catalogPage = 1 << 20
)

func newCatalog() *catalog { return &catalog{known: map[owner]uint64{}} }

// add appends an entry, which must come after those before it in the order of a
// walk. The directories above it need not be there.
func (c *catalog) add(e Entry) ref {
	parent, name := c.parent(e.Path)
	r := c.record
	r.b = r.b[:0]
	r.uint(uint64(parent)).string(name).uint(uint64(e.Kind)).uint(uint64(e.Mode)).uint(c.owner(e)).time(e.ModTime).bool(e.fresh)
	switch e.Kind {
	case File:
		r.int(e.Size).uint(e.link)
	case Symlink:
		r.string(e.Target)
	}
	c.record = r
	at := c.put(r.b)
	if e.Kind == Dir {
		c.open, c.paths = append(c.open, len(c.dirs)), append(c.paths, e.Path)
		c.dirs = append(c.dirs, at)
	}
	return at
}

// put appends a record.
func (c *catalog) put(record []byte) ref {
	n := len(c.pages) - 1
	if n < 0 || len(c.pages[n])+len(record) > cap(c.pages[n]) {
		n++
		size := catalogPage
		if n == 0 {
			size = firstPage
		}
		c.pages = append(c.pages, make([]byte, 0, size))
	}
	at := ref(n)*catalogPage + ref(len(c.pages[n]))
	c.pages[n] = append(c.pages[n], record...)
	return at
}

// parent finds the innermost directory of the catalog that a path is in, and
// what the path is in there. The number is one more than the directory's; 0
// stands for none.
func (c *catalog) parent(name string) (number int, rest string) {
	for n := len(c.open); n > 0; n-- {
		dir := c.paths[n-1]
		if dir == "." && name != "." {
			c.open, c.paths = c.open[:n], c.paths[:n]
			return c.open[n-1] + 1, name
		}
		if inside, ok := strings.CutPrefix(name, dir); ok && strings.HasPrefix(inside, "/") {
			c.open, c.paths = c.open[:n], c.paths[:n]
			return c.open[n-1] + 1, inside[1:]
		}
	}
	c.open, c.paths = c.open[:0], c.paths[:0]
	return 0, name
}

func (c *catalog) owner(e Entry) uint64 {
	o := owner{e.UID, e.GID, e.User, e.Group}
	n, there := c.known[o]
	if !there {
		n = uint64(len(c.owners))
		c.owners, c.known[o] = append(c.owners, o), n
	}
	return n
}

// listed is an entry of a catalog.
type listed struct {
	Entry
	ref    ref
	parent int // number of the directory that it is in, counted in the order of the walk; -1 for none
}

// at is the entry at a place.
func (c *catalog) at(r ref) Entry {
	e, _ := c.read(r)
	return e.Entry
}

// path is the path of the entry at a place.
func (c *catalog) path(r ref) string {
	d := c.decoder(r)
	parent, name := d.uint(), d.string()
	return c.join(parent, name)
}

func (c *catalog) join(parent uint64, name string) string {
	if parent == 0 {
		return name
	}
	return joinPath(c.path(c.dirs[parent-1]), name)
}

func (c *catalog) decoder(r ref) *decoder {
	return &decoder{b: c.pages[r/catalogPage][r%catalogPage:]}
}

// read returns the entry at a place, and the place after it.
func (c *catalog) read(r ref) (listed, ref) {
	d := c.decoder(r)
	length := len(d.b)
	parent, name := d.uint(), d.string()
	e := listed{ref: r, parent: int(parent) - 1}
	e.Path, e.Kind, e.Mode = c.join(parent, name), Kind(d.uint()), fs.FileMode(d.uint())
	o := c.owners[d.uint()]
	e.UID, e.GID, e.User, e.Group = o.uid, o.gid, o.user, o.group
	e.ModTime, e.fresh = d.time(), d.bool()
	switch e.Kind {
	case File:
		e.Size, e.link = d.int(), d.uint()
	case Symlink:
		e.Target = d.string()
	}
	return e, r + ref(length-len(d.b))
}

// cursor reads a catalog from its beginning.
type cursor struct {
	of *catalog
	at ref
}

// next returns the next entry, and false at the end.
func (k *cursor) next() (listed, bool) {
	for n := k.at / catalogPage; n < ref(len(k.of.pages)); n++ {
		if k.at < n*catalogPage {
			k.at = n * catalogPage
		}
		if k.at%catalogPage < ref(len(k.of.pages[n])) {
			e, after := k.of.read(k.at)
			k.at = after
			return e, true
		}
	}
	return listed{}, false
}

// all yields the entries in their order.
func (c *catalog) all() iter.Seq[listed] {
	return func(yield func(listed) bool) {
		k := cursor{of: c}
		for e, ok := k.next(); ok && yield(e); {
			e, ok = k.next()
		}
	}
}
