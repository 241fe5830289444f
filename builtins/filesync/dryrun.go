package filesync

import (
	"context"
	"errors"
	"io/fs"
	"path"
)

// errDryChecksum refuses a dry run that would have to read all content.
var errDryChecksum = errors.New("a dry run compares sizes and times, not content")

// foresee plans a push without changing anything on the target, not even its
// root or what a copy that died has left there.
func (p *push) foresee(ctx context.Context, rules rules) (plan, error) {
	source, err := rules.source(ctx, p.track, walker{root: p.source.root, prune: rules.left, names: newOwners()})
	if err != nil {
		return plan{}, err
	}
	reply, err := p.first.open(ctx, openRequest{Role: roleLook, Root: p.remote, FollowRoot: p.opts.FollowRoot})
	if errors.Is(err, fs.ErrNotExist) {
		return rules.compare(source, nil, false), nil
	}
	if err != nil {
		return plan{}, err
	}
	if reply.Same == p.source.id && p.first.machine == machineID() {
		return plan{}, errSameDirectory
	}
	target, err := p.first.list(ctx, patterns{})
	if err != nil {
		return plan{}, err
	}
	return rules.compare(source, rules.protected.shallow(target), reply.Owners), nil
}

// foresee plans a pull of what was listed in the source.
func (p *pull) foresee(ctx context.Context, localRoot string, rules rules, source []Entry) (_ plan, err error) {
	target, err := openTree(ctx, localRoot, treeOptions{follow: p.opts.FollowRoot})
	if errors.Is(err, fs.ErrNotExist) {
		return rules.compare(source, nil, false), nil
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
	there, err := list(ctx, walker{root: target.root, names: newOwners()})
	if err != nil {
		return plan{}, err
	}
	return rules.compare(source, rules.protected.shallow(there), r.owners != nil), nil
}

// shallow drops what lies below an entry that a pattern matches.
func (ps patterns) shallow(all []Entry) []Entry {
	var kept []Entry
	closed := map[string]bool{}
	for _, e := range all {
		if e.Path != "." && closed[path.Dir(e.Path)] {
			closed[e.Path] = true
			continue
		}
		closed[e.Path] = ps.match(e.Path, e.Kind == Dir)
		kept = append(kept, e)
	}
	return kept
}

// foretell counts and prints what a plan would do, as if it had been done.
func (t *tracker) foretell(p plan) {
	t.plan(p)
	for _, j := range p.jobs {
		t.ended(j.entry, true)
	}
	t.rest(p.dirs)
}
