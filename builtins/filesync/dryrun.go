package filesync

import (
	"context"
	"errors"
	"io/fs"
	"strings"
)

// errDryChecksum refuses a dry run that would have to read all content.
var errDryChecksum = errors.New("a dry run compares sizes and times, not content")

// foresee plans a push without changing anything on the target, not even its
// root or what a copy that died has left there.
func (p *push) foresee(ctx context.Context, rules rules) (plan, error) {
	source, err := list(ctx, walker{root: p.source.root, prune: rules.left, names: newOwners(), links: newLinkIDs(rules.left.links)}, rules.choose(p.track))
	if err != nil {
		return plan{}, err
	}
	reply, err := p.first.open(ctx, openRequest{Role: roleLook, Root: p.remote, FollowRoot: p.opts.FollowRoot})
	if errors.Is(err, fs.ErrNotExist) {
		return rules.compare(source, false).finish(), nil
	}
	if err != nil {
		return plan{}, err
	}
	if reply.Same == p.source.id && p.first.machine == machineID() {
		return plan{}, errSameDirectory
	}
	c := rules.compare(source, reply.Owners)
	if err := p.first.list(ctx, filter{links: rules.protected.links}, nil, rules.protected.shallow(c.see)); err != nil {
		return plan{}, err
	}
	return c.finish(), nil
}

// foresee plans a pull of what was listed in the source.
func (p *pull) foresee(ctx context.Context, localRoot string, rules rules, source *catalog) (_ plan, err error) {
	target, err := openTree(ctx, localRoot, treeOptions{follow: p.opts.FollowRoot})
	if errors.Is(err, fs.ErrNotExist) {
		return rules.compare(source, false).finish(), nil
	}
	if err != nil {
		return plan{}, err
	}
	defer func() { err = errors.Join(err, target.close()) }()
	if p.same == target.id && p.first.machine == machineID() {
		return plan{}, errSameDirectory
	}
	r := newReceiver(target)
	defer func() { err = errors.Join(err, r.close()) }()
	c := rules.compare(source, r.owners != nil)
	w := walker{root: target.root, names: newOwners(), links: newLinkIDs(rules.protected.links), emit: rules.protected.shallow(c.see)}
	if err := w.run(ctx); err != nil {
		return plan{}, err
	}
	return c.finish(), nil
}

// shallow passes the entries of a walk on, but for those that lie below one
// which the filter matches.
func (f filter) shallow(emit func(Entry) error) func(Entry) error {
	closed := ""
	return func(e Entry) error {
		if closed != "" && strings.HasPrefix(e.Path, closed+"/") {
			return nil
		}
		if closed = ""; f.match(e.Path, e.Kind == Dir) {
			closed = e.Path
		}
		return emit(e)
	}
}

// foretell counts and prints what a plan would do, as if it had been done.
func (t *tracker) foretell(p plan) {
	t.plan(p)
	p.jobs.each(func(f *planned) { t.ended(p.source.at(f.ref), true) })
	t.rest(p)
}
