package filesync

import (
	"path"
	"slices"
)

// plan is what must be done to make the target like the source.
type plan struct {
	remove []Entry // what is in the way or to be deleted, children before parents
	mkdir  []Entry
	links  []Entry
	jobs   []job
	meta   []Entry // files and links whose content is right but whose attributes differ
	dirs   []Entry // directories to give their attributes when all is in them, children before parents

	deleted   int // how many of remove have no successor
	totalSize int64
	files     int
	dirCount  int
}

// comparison decides what a plan holds.
type comparison struct {
	source, target map[string]Entry
	protected      func(e Entry) bool // a target entry that must stay as it is
	remove         bool               // delete what the source lacks
	checksum       bool
	inspect        bool // every file that is not the same by size and time must be read
	owners         bool // owners can be set on the target
	touched        map[string]bool
}

// compare plans a copy of source, which lists parents before children, over
// target.
func (c *comparison) compare(source, target []Entry) plan {
	c.source, c.target, c.touched = index(source), index(target), map[string]bool{}
	var p plan
	c.removals(&p, target)
	for _, e := range source {
		old, there := c.target[e.Path]
		if there && c.protected(old) {
			continue
		}
		same := there && old.Kind == e.Kind
		switch e.Kind {
		case Dir:
			p.dirCount++
			if !same {
				p.mkdir = append(p.mkdir, e)
				c.touch(e.Path)
			} else if old.Mode&0o700 != 0o700 {
				p.mkdir = append(p.mkdir, e) // to be filled, it must be writable
				c.touched[e.Path] = true
			}
		case Symlink:
			c.link(&p, e, old, same)
		case File:
			p.files++
			p.totalSize += e.Size
			c.file(&p, e, old, same)
		}
	}
	c.directories(&p, source)
	for i := range p.jobs {
		p.jobs[i].id = uint32(i)
	}
	return p
}

func index(entries []Entry) map[string]Entry {
	m := make(map[string]Entry, len(entries))
	for _, e := range entries {
		m[e.Path] = e
	}
	return m
}

// touch notes that a directory entry will change, and with it the time of the
// directory it is in.
func (c *comparison) touch(name string) {
	if name != "." {
		c.touched[path.Dir(name)] = true
	}
	c.touched[name] = true
}

func (c *comparison) link(p *plan, e, old Entry, same bool) {
	if !same || old.Target != e.Target {
		p.links = append(p.links, e)
		c.touch(e.Path)
	} else if c.ownerDiffers(e, old) {
		p.meta = append(p.meta, e)
	}
}

func (c *comparison) file(p *plan, e, old Entry, same bool) {
	j := job{entry: e, basis: -1}
	if same {
		sameTime := old.ModTime.Equal(e.ModTime)
		if old.Size == e.Size && (sameTime && !c.checksum || e.Size == 0 && !c.inspect) {
			if !sameTime || old.Mode != e.Mode || c.ownerDiffers(e, old) {
				p.meta = append(p.meta, e)
			}
			return
		}
		if old.Size > 0 {
			j.basis = old.Size
		}
	}
	p.jobs = append(p.jobs, j)
	c.touch(e.Path)
}

func (c *comparison) ownerDiffers(e, old Entry) bool {
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

// removals plans to remove what is of another kind than in the source and,
// where asked, what the source lacks. A directory that holds something
// protected stays. Files and links take each other's place by a rename.
func (c *comparison) removals(p *plan, target []Entry) {
	holds := map[string]bool{}
	for _, e := range slices.Backward(target) {
		if e.Path == "." {
			continue
		}
		if c.protected(e) || holds[e.Path] {
			holds[path.Dir(e.Path)] = true
			continue
		}
		wanted, there := c.source[e.Path]
		if !there && !c.remove || there && (wanted.Kind == Dir) == (e.Kind == Dir) {
			continue
		}
		p.remove = append(p.remove, e)
		if !there {
			p.deleted++
		}
		c.touch(e.Path)
	}
}

// directories plans the attributes of those directories that are new, differ
// or are touched by the copy.
func (c *comparison) directories(p *plan, source []Entry) {
	for _, e := range slices.Backward(source) {
		if e.Kind != Dir {
			continue
		}
		old, there := c.target[e.Path]
		if there && c.protected(old) {
			continue
		}
		if !there || old.Kind != Dir || c.touched[e.Path] || old.Mode != e.Mode ||
			!old.ModTime.Equal(e.ModTime) || c.ownerDiffers(e, old) {
			p.dirs = append(p.dirs, e)
		}
	}
}
