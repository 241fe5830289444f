package filesync

import (
	"context"
	"errors"
	"slices"
)

// errSameDirectory refuses a copy of a directory onto itself.
var errSameDirectory = errors.New("source and target are one and the same directory")

// rules are the parts of Options that decide what is copied.
type rules struct {
	opts      Options
	left      patterns // not taken from the source
	protected patterns // not touched on the target
}

func newRules(o Options) (rules, error) {
	left, err := newPatterns(o.Exclude, o.Keep)
	if err != nil {
		return rules{}, err
	}
	protected := left
	if o.DeleteExcluded {
		if protected, err = newPatterns(o.Keep); err != nil {
			return rules{}, err
		}
	}
	return rules{opts: o, left: left, protected: protected}, nil
}

// source lists a source on this machine and selects what is to be copied.
func (r rules) source(ctx context.Context, t *tracker, w walker) ([]Entry, error) {
	all, err := list(ctx, w)
	if err != nil {
		return nil, err
	}
	return r.choose(t, all), nil
}

// choose leaves out what cannot or shall not be copied.
func (r rules) choose(t *tracker, all []Entry) []Entry {
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
	return all
}

// compare plans the copy.
func (r rules) compare(source, target []Entry, owners bool) plan {
	c := comparison{
		protected: func(e Entry) bool { return r.protected.match(e.Path, e.Kind == Dir) },
		remove:    r.opts.Delete,
		checksum:  r.opts.Checksum,
		inspect:   r.opts.Inspect != nil,
		owners:    owners,
	}
	return c.compare(source, target)
}
