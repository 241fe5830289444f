package filesync

import (
	"path"
	"slices"
)

// plan is what must be done to make the target like the source.
type plan struct {
	remove    []Entry  // what is in the way or to be deleted, children before parents
	mkdir     []*Entry // parents first
	links     []*Entry
	jobs      []job
	meta      []*Entry   // files and links whose content is right but whose attributes differ
	hardLinks []hardLink // further names of files, to be made once these are there
	dirs      []*Entry   // directories to give their attributes when all is in them, children before parents

	deleted   int // how many of remove have no successor
	totalSize int64
	files     int
	dirCount  int
}

// comparison walks along source and target at once and decides what a plan
// holds. It needs the source as a list, and sees each entry of the target once.
type comparison struct {
	source    []Entry            // in the order of a walk
	protected func(e Entry) bool // a target entry that must stay as it is
	remove    bool               // delete what the source lacks
	checksum  bool
	inspect   bool // every file that is not the same by size and time must be read
	owners    bool // owners can be set on the target
	keepLinks bool // names of one file stay that

	plan    plan
	next    int // of source
	surplus []surplus
	holds   map[string]bool // directories of the target that hold something protected
	touched map[string]bool // directories whose time the copy changes
	dirs    []directory
	leaders map[uint64]leader
	temps   map[string]Entry // what earlier copies left
}

// surplus is an entry of the target that has to go.
type surplus struct {
	Entry
	replaced bool // the source has something else of that name
}

// directory is one of the source, and whether the target's has other attributes.
type directory struct {
	entry   *Entry
	differs bool
}

// see takes the next entry of the target.
func (c *comparison) see(e Entry) error {
	if isTemp(e.Path) {
		c.temps[e.Path] = e
		return nil
	}
	for c.next < len(c.source) && comparePaths(c.source[c.next].Path, e.Path) < 0 {
		c.add(&c.source[c.next], nil)
		c.next++
	}
	var wanted *Entry
	if c.next < len(c.source) && c.source[c.next].Path == e.Path {
		wanted = &c.source[c.next]
		c.next++
	}
	switch {
	case c.protected(e):
		c.hold(e.Path)
	case wanted == nil:
		if c.remove {
			c.surplus = append(c.surplus, surplus{Entry: e})
		}
	default:
		if (wanted.Kind == Dir) != (e.Kind == Dir) {
			c.surplus = append(c.surplus, surplus{e, true})
		}
		c.add(wanted, &e)
	}
	return nil
}

// hold notes that all directories above an entry must stay.
func (c *comparison) hold(name string) {
	for dir := path.Dir(name); !c.holds[dir]; dir = path.Dir(dir) {
		c.holds[dir] = true
	}
}

// add plans for one entry of the source; old is what the target has of that
// name, or nil.
func (c *comparison) add(e, old *Entry) {
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

func (c *comparison) directory(e, old *Entry, same bool) {
	c.plan.dirCount++
	if !same {
		c.plan.mkdir = append(c.plan.mkdir, e)
		c.touch(e)
	} else if old.Mode&0o700 != 0o700 {
		c.plan.mkdir = append(c.plan.mkdir, e) // to be filled, it must be writable
		c.touched[e.Path] = true
	}
	differs := !same || old.Mode != e.Mode || !old.ModTime.Equal(e.ModTime) || c.ownerDiffers(e, old)
	c.dirs = append(c.dirs, directory{e, differs})
}

// touch notes that an entry will change, and with it the time of the directory
// it is in.
func (c *comparison) touch(e *Entry) {
	if e.Path != "." {
		c.touched[path.Dir(e.Path)] = true
	}
	if e.Kind == Dir {
		c.touched[e.Path] = true
	}
}

func (c *comparison) link(e, old *Entry, same bool) {
	if !same || old.Target != e.Target {
		c.plan.links = append(c.plan.links, e)
		c.touch(e)
	} else if c.ownerDiffers(e, old) {
		c.plan.meta = append(c.plan.meta, e)
	}
}

func (c *comparison) file(e, old *Entry, same bool) {
	if c.name(e, old, same) {
		return
	}
	j := job{entry: e, to: e.Size, basis: -1, partial: -1}
	if same {
		sameTime := old.ModTime.Equal(e.ModTime)
		if old.Size > 0 {
			j.basis = old.Size
		}
		trusted := sameTime && (!c.checksum || old.fresh)
		if old.Size == e.Size && (trusted || e.Size == 0 && !c.inspect) {
			if !sameTime || old.Mode != e.Mode || c.ownerDiffers(e, old) {
				c.plan.meta = append(c.plan.meta, e)
			}
			c.lead(e, old, same, false)
			if c.checksum && c.inspect {
				j.kept = true
				c.plan.jobs = append(c.plan.jobs, j)
			}
			return
		}
	}
	c.lead(e, old, same, true)
	c.plan.jobs = append(c.plan.jobs, j)
	c.touch(e)
}

func (c *comparison) ownerDiffers(e, old *Entry) bool {
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
	for ; c.next < len(c.source); c.next++ {
		c.add(&c.source[c.next], nil)
	}
	c.resume()
	for _, s := range slices.Backward(c.surplus) {
		// Files and links take each other's place by a rename.
		if c.holds[s.Path] {
			continue
		}
		c.plan.remove = append(c.plan.remove, s.Entry)
		if !s.replaced {
			c.plan.deleted++
		}
		c.touch(&s.Entry)
	}
	for _, d := range slices.Backward(c.dirs) {
		if d.differs || c.touched[d.entry.Path] {
			c.plan.dirs = append(c.plan.dirs, d.entry)
		}
	}
	return c.plan
}

// resume has files continued that an earlier copy has begun. What it left of
// others goes.
func (c *comparison) resume() {
	if len(c.temps) == 0 {
		return
	}
	for i := range c.plan.jobs {
		j := &c.plan.jobs[i]
		name := tempName(j.entry.Path)
		if left, there := c.temps[name]; there && left.Kind == File && j.entry.Size > 0 {
			j.partial = left.Size
			delete(c.temps, name)
		}
	}
	for _, e := range c.temps {
		c.plan.remove = append(c.plan.remove, e)
	}
}
