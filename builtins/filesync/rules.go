package filesync

import (
	"errors"
	"slices"

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
	return rules{opts: o, left: left, protected: protected}, nil
}

// choose leaves out of a listed source what cannot or shall not be copied.
func (r rules) choose(t *tracker, all []Entry) ([]Entry, error) {
	all = slices.DeleteFunc(all, func(e Entry) bool {
		if e.Kind != Special {
			return false
		}
		t.note("skipping non-regular file \"" + t.name(e) + "\"")
		return true
	})
	if r.opts.Select != nil {
		all = r.opts.Select(all)
	}
	if r.opts.HardLinks == HardLinksRefuse {
		return all, refuseLinks(all)
	}
	return all, nil
}

// compare begins to plan the copy of a source.
func (r rules) compare(source []Entry, owners bool) *comparison {
	return &comparison{
		source:    source,
		protected: func(e Entry) bool { return r.protected.match(e.Path, e.Kind == Dir) },
		remove:    r.opts.Delete,
		checksum:  r.opts.Checksum,
		inspect:   r.opts.Inspect != nil,
		owners:    owners,
		keepLinks: r.opts.HardLinks == HardLinksKeep,
		leaders:   map[uint64]leader{},
		holds:     map[string]bool{},
		touched:   map[string]bool{".": r.opts.Resume != ""},
		temps:     map[string]Entry{},
	}
}
