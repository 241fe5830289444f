package filesync

import (
	"path"
	"slices"
	"strings"
)

// plan is what must be done to make the target like the source. Entries of the
// source are named by where they are in its catalog.
type plan struct {
	source    *catalog
	surplus   *catalog // of the target: what is to be removed
	remove    []ref    // of surplus: what is in the way or to be deleted, children before parents
	mkdir     []ref    // parents first
	links     []ref
	jobs      jobs
	meta      []ref      // files and links whose content is right but whose attributes differ
	hardLinks []hardLink // further names of files, to be made once these are there
	dirs      []ref      // directories to give their attributes when all is in them, children before parents

	deleted   int // how many of remove have no successor
	totalSize int64
	files     int
	dirCount  int
}

// root is the root of the source.
func (p plan) root() Entry { return p.source.at(0) }

// comparison walks along source and target at once and decides what a plan
// holds. It needs the source as a list, and sees each entry of the target once.
type comparison struct {
	protected func(e Entry) bool // a target entry that must stay as it is
	remove    bool               // delete what the source lacks
	checksum  bool
	inspect   bool // every file that is not the same by size and time must be read
	owners    bool // owners can be set on the target
	keepLinks bool // names of one file stay that
	inPlace   bool
	mark      bool // something is made in the root, and removed again

	plan    plan
	source  cursor
	wanted  listed // the source's next
	more    bool
	inside  []place // the source's directories that the last entry is in, outermost first
	surplus []surplus
	holds   map[string]bool // directories of the target that hold something protected
	dirs    []directory     // of the source, by number
	leaders map[uint64]leader
	temps   map[string]Entry // what earlier copies left
	notes   map[string]noted // what they noted, by path
}

// place is a directory of the source, and its number.
type place struct {
	path   string
	number int
}

// surplus is an entry of the target that has to go.
type surplus struct {
	ref      ref   // in plan.surplus
	parent   int32 // number of the source's directory that it is in; -1 for none
	replaced bool  // the source has something else of that name
}

// directory is one of the source.
type directory struct {
	ref     ref
	differs bool // the target's has other attributes
	touched bool // the copy changes its time
}

// begin takes the source.
func (c *comparison) begin(source *catalog) {
	c.plan.source, c.plan.surplus = source, newCatalog()
	c.source.of = source
	c.wanted, c.more = c.source.next()
}

// advance adds what the source has before a path.
func (c *comparison) advance(name string) {
	for c.more && comparePaths(c.wanted.Path, name) < 0 {
		c.add(c.wanted, nil)
		c.wanted, c.more = c.source.next()
	}
}

// see takes the next entry of the target.
func (c *comparison) see(e Entry) error {
	if isTemp(e.Path) {
		c.temps[e.Path] = e
		return nil
	}
	c.advance(e.Path)
	here := c.more && c.wanted.Path == e.Path
	switch {
	case c.protected(e):
		c.hold(e.Path)
	case !here:
		if c.remove {
			c.goes(e, false)
		}
	default:
		if (c.wanted.Kind == Dir) != (e.Kind == Dir) {
			c.goes(e, true)
		}
		c.add(c.wanted, &e)
	}
	if here {
		c.wanted, c.more = c.source.next()
	}
	return nil
}

// note takes what the target has noted of a large file.
func (c *comparison) note(f noted) {
	f.usable = f.named || !c.checksum && !c.inPlace
	c.notes[f.path] = f
}

// goes notes an entry of the target that has to go.
func (c *comparison) goes(e Entry, replaced bool) {
	c.surplus = append(c.surplus, surplus{ref: c.plan.surplus.add(e), parent: int32(c.parent(e.Path)), replaced: replaced})
}

// parent is the number of the source's directory that a path is in, or would be;
// -1 for none.
func (c *comparison) parent(name string) int {
	dir := path.Dir(name)
	for n := len(c.inside) - 1; n >= 0; n-- {
		if at := c.inside[n]; at.path == dir {
			return at.number
		} else if at.path == "." || strings.HasPrefix(dir, at.path+"/") {
			return -1 // in one that the source does not have
		}
		c.inside = c.inside[:n]
	}
	return -1
}

// hold notes that all directories above an entry must stay.
func (c *comparison) hold(name string) {
	for dir := path.Dir(name); !c.holds[dir]; dir = path.Dir(dir) {
		c.holds[dir] = true
	}
}

// add plans for one entry of the source; old is what the target has of that
// name, or nil.
func (c *comparison) add(e listed, old *Entry) {
	same := old != nil && old.Kind == e.Kind
	switch e.Kind {
	case Dir:
		c.directory(e, old, same)
	case Symlink:
		c.link(e, old, same)
	case File:
		c.plan.files++
		c.plan.totalSize += e.Size
		c.file(e, old, same)
	}
}

func (c *comparison) directory(e listed, old *Entry, same bool) {
	c.plan.dirCount++
	d := directory{ref: e.ref, touched: e.parent < 0 && c.mark}
	if !same {
		c.plan.mkdir = append(c.plan.mkdir, e.ref)
		c.touch(e)
	} else if old.Mode&0o700 != 0o700 {
		c.plan.mkdir = append(c.plan.mkdir, e.ref) // to be filled, it must be writable
		d.touched = true
	}
	d.differs = !same || old.Mode != e.Mode || !old.ModTime.Equal(e.ModTime) || c.ownerDiffers(e, old)
	c.parent(e.Path)
	c.inside = append(c.inside, place{e.Path, len(c.dirs)})
	c.dirs = append(c.dirs, d)
}

// touch notes that an entry will change, and with it the time of the directory
// it is in.
func (c *comparison) touch(e listed) {
	if e.parent >= 0 {
		c.dirs[e.parent].touched = true
	}
}

func (c *comparison) link(e listed, old *Entry, same bool) {
	if !same || old.Target != e.Target {
		c.plan.links = append(c.plan.links, e.ref)
		c.touch(e)
	} else if c.ownerDiffers(e, old) {
		c.plan.meta = append(c.plan.meta, e.ref)
	}
}

func (c *comparison) file(e listed, old *Entry, same bool) {
	if c.name(e, old, same) {
		return
	}
	there := compared{basis: -1, partial: -1}
	if same {
		sameTime := old.ModTime.Equal(e.ModTime)
		if old.Size > 0 {
			there.basis = old.Size
		}
		trusted := sameTime && (!c.checksum || old.fresh)
		if old.Size == e.Size && (trusted || e.Size == 0 && !c.inspect) {
			if !sameTime || old.Mode != e.Mode || c.ownerDiffers(e, old) {
				c.plan.meta = append(c.plan.meta, e.ref)
			}
			c.lead(e, old, same, false)
			if c.checksum && c.inspect {
				there.kept = true
				c.plan.jobs.add(e, there)
			}
			return
		}
	}
	c.lead(e, old, same, true)
	c.plan.jobs.add(e, there)
	c.touch(e)
	if e.Size > spanSize {
		c.dirs[0].touched = true // there may be notes in the root meanwhile
	}
}

func (c *comparison) ownerDiffers(e listed, old *Entry) bool {
	if !c.owners {
		return false
	}
	return differs(e.User, old.User, e.UID, old.UID) || differs(e.Group, old.Group, e.GID, old.GID)
}

// differs compares owners as they will be set: by name where the source knows
// one.
func differs(name, oldName string, id, oldID uint32) bool {
	if name != "" && oldName != "" {
		return name != oldName
	}
	return id != oldID
}

// finish returns the plan once the whole target has been seen.
func (c *comparison) finish() plan {
	for ; c.more; c.wanted, c.more = c.source.next() {
		c.add(c.wanted, nil)
	}
	c.resume()
	for _, s := range slices.Backward(c.surplus) {
		// Files and links take each other's place by a rename.
		if c.holds[c.plan.surplus.path(s.ref)] {
			continue
		}
		c.plan.remove = append(c.plan.remove, s.ref)
		if !s.replaced {
			c.plan.deleted++
		}
		if s.parent >= 0 {
			c.dirs[s.parent].touched = true
		}
	}
	for _, d := range slices.Backward(c.dirs) {
		if d.differs || d.touched {
			c.plan.dirs = append(c.plan.dirs, d.ref)
		}
	}
	return c.plan
}

// resume has files continued that an earlier copy has begun. What it left of
// others goes.
func (c *comparison) resume() {
	if len(c.temps) == 0 && len(c.notes) == 0 {
		return
	}
	c.plan.jobs.each(func(p *planned) {
		e := c.plan.source.at(p.ref)
		name := tempName(e.Path)
		if left, there := c.temps[name]; there && left.Kind == File && e.Size > 0 {
			c.plan.jobs.compare(p).partial = left.Size
			delete(c.temps, name)
		}
		if f, ok := c.notes[e.Path]; ok {
			there := c.plan.jobs.compare(p)
			there.stale = true
			if f.usable && f.size == e.Size && f.stamp.Equal(e.ModTime) && (c.inPlace || there.partial >= 0) && !there.kept {
				there.sure, there.stale = within(f.done, 0, e.Size), false
			}
		}
	})
	for _, e := range c.temps {
		c.plan.remove = append(c.plan.remove, c.plan.surplus.add(e))
	}
}
