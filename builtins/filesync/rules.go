package filesync

import (
	"errors"
	"strings"

	"github.com/warmrun/warmrun/walcore/hint"
)

// errSameDirectory refuses a copy of a directory onto itself.
var errSameDirectory = hint.Wrap(errors.New("source and target are one and the same directory"), "nothing was changed; name another directory")

// rules are the parts of Options that decide what is copied.
type rules struct {
	opts      Options
	left      filter // not taken from the source
	protected filter // not touched on the target
}

func newRules(o Options) (rules, error) {
	if o.DryRun && o.Checksum {
		return rules{}, errDryChecksum
	}
	if err := errors.Join(o.Compress.Check(), o.HardLinks.check()); err != nil {
		return rules{}, err
	}
	left, err := newFilter(o.Keep, o.Exclude, o.Include)
	if err != nil {
		return rules{}, err
	}
	protected := left
	if o.DeleteExcluded {
		if protected, err = newFilter(o.Keep, nil, nil); err != nil {
			return rules{}, err
		}
	}
	left.links, protected.links = o.HardLinks != "", o.HardLinks != ""
	return rules{opts: o, left: left, protected: protected}, nil
}

// chosen collects the entries of a source that can and shall be copied.
type chosen struct {
	rules
	track   *tracker
	entries *catalog
	dropped string // the directory that Select has left out last
}

func (r rules) choose(t *tracker) *chosen { return &chosen{rules: r, track: t, entries: newCatalog()} }

// see takes the next entry of the source.
func (c *chosen) see(e Entry) error {
	if e.Kind == Special {
		c.track.note("skipping non-regular file \"" + c.track.name(e) + "\"")
		return nil
	}
	if c.opts.Select != nil {
		if c.dropped != "" && strings.HasPrefix(e.Path, c.dropped+"/") {
			return nil
		}
		take, err := c.opts.Select(&e)
		if err != nil {
			return err
		}
		if !take && e.Path != "." {
			c.dropped = e.Path
			return nil
		}
	}
	c.entries.add(e)
	return nil
}

// end returns what was chosen, once all entries have been seen.
func (c *chosen) end() (*catalog, error) {
	if c.opts.listed != nil {
		c.opts.listed()
	}
	if c.opts.HardLinks == HardLinksRefuse {
		return c.entries, refuseLinks(c.entries)
	}
	return c.entries, nil
}

// compare begins to plan the copy of a source.
func (r rules) compare(source *catalog, owners bool) *comparison {
	c := &comparison{
		protected: func(e Entry) bool { return r.protected.match(e.Path, e.Kind == Dir) },
		remove:    r.opts.Delete,
		checksum:  r.opts.Checksum,
		inspect:   r.opts.Inspect != nil,
		owners:    owners,
		keepLinks: r.opts.HardLinks == HardLinksKeep,
		inPlace:   r.opts.InPlace,
		mark:      r.opts.Resume != "",
		leaders:   map[uint64]leader{},
		holds:     map[string]bool{},
		temps:     map[string]Entry{},
		notes:     map[string]noted{},
	}
	c.begin(source)
	return c
}
