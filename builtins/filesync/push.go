package filesync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"
)

// Push copies the tree below localRoot into remoteRoot on the other node. Both
// are absolute paths of directories; remoteRoot is made if it is not there.
//
// When it returns nil everything is durable on the other node. When it fails,
// files that were complete may stay; with Options.InPlace also incomplete ones.
func Push(ctx context.Context, d Dialer, localRoot, remoteRoot string, o Options) (Summary, error) {
	p := &push{opts: o, dial: d, remote: remoteRoot, track: newTracker(o), pacer: pacer{rate: o.MaxRate}, number: rand.Uint64(), key: newHashKey()}
	summary, err := p.run(ctx, localRoot)
	if err != nil {
		return summary, fmt.Errorf("copy %s to %s: %w", localRoot, remoteRoot, err)
	}
	return summary, nil
}

// push is one copy from here to another node.
type push struct {
	opts   Options
	dial   Dialer
	remote string
	track  *tracker
	pacer  pacer
	source *tree
	first  *stream
	same   identity // of the remote root
	number uint64   // tells this copy from others into the same root
	key    hashKey
	hash   hasher // of that key
}

func (p *push) run(ctx context.Context, localRoot string) (_ Summary, err error) {
	stop := p.track.report(ctx)
	defer stop()
	if p.hash, err = newHasher(p.key); err != nil {
		return Summary{}, err
	}
	if p.source, err = openTree(ctx, localRoot, treeOptions{follow: true}); err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, p.source.close()) }()
	if p.first, err = dial(ctx, p.dial); err != nil {
		return Summary{}, err
	}
	defer func() { _ = p.first.close() }() // what it answered stands
	plan, err := p.plan(ctx)
	if err != nil {
		return Summary{}, err
	}
	if p.opts.DryRun {
		p.track.foretell(plan)
		return p.track.summary(plan), p.track.err
	}
	p.track.plan(plan)
	if err := p.prepare(ctx, plan); err != nil {
		return p.track.summary(plan), err
	}
	if err := p.files(ctx, plan); err != nil {
		return p.track.summary(plan), err
	}
	err = p.finish(ctx, plan)
	return p.track.summary(plan), err
}

// plan compares the two trees.
func (p *push) plan(ctx context.Context) (plan, error) {
	rules, err := newRules(p.opts)
	if err != nil {
		return plan{}, err
	}
	p.track.watch(p.first.c)
	if p.opts.DryRun {
		return p.foresee(ctx, rules)
	}
	source, err := list(ctx, walker{root: p.source.root, prune: rules.left, names: newOwners(), links: newLinkIDs(rules.left.links)}, rules.choose(p.track))
	if err != nil {
		return plan{}, err
	}
	// Only now: a source that is refused must leave the target as it is.
	reply, err := p.first.open(ctx, p.openRequest(openRequest{Create: true, Lock: true}))
	if err != nil {
		return plan{}, err
	}
	p.same = reply.Same
	if reply.Same == p.source.id && p.first.machine == machineID() {
		return plan{}, errSameDirectory
	}
	c := rules.compare(source, reply.Owners)
	if err := p.first.list(ctx, rules.protected, c.note, c.see); err != nil {
		return plan{}, err
	}
	return c.finish(), nil
}

func (p *push) openRequest(r openRequest) openRequest {
	r.Role, r.Root, r.FollowRoot, r.Copy, r.Key = roleReceive, p.remote, p.opts.FollowRoot, p.number, p.key
	r.InPlace, r.Delete, r.Compress, r.Resume = p.opts.InPlace, p.opts.Delete, p.opts.Compress, p.opts.Resume
	return r
}

// prepare clears the way on the target and makes directories and links.
func (p *push) prepare(ctx context.Context, plan plan) error {
	write := func(t frameType, entries []ref) error {
		for _, r := range entries {
			if err := p.first.c.write(t, encodeEntry(plan.source.at(r))); err != nil {
				return err // the answer to what follows tells why
			}
		}
		return nil
	}
	var err error
	for _, r := range plan.remove {
		if err = p.first.c.write(frameRemove, encodePath(plan.surplus.path(r))); err != nil {
			break
		}
	}
	err = errors.Join(err, write(frameMkdir, plan.mkdir), write(frameSymlink, plan.links), write(frameMeta, plan.meta))
	_, callErr := p.first.call(ctx, frameBarrier, nil, frameDone)
	if callErr != nil {
		return callErr
	}
	return err
}

// files sends the files over as many streams as are useful.
func (p *push) files(ctx context.Context, plan plan) error {
	streams := streamsFor(p.opts.Streams, p.first.answer, &plan.jobs)
	q := newQueue(&plan, streams)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.send(ctx, p.first, q) })
	for range streams - 1 {
		group.Go(func() error {
			s, err := dial(ctx, p.dial)
			if err != nil {
				return p.track.fewer(ctx, err)
			}
			defer func() { _ = s.close() }() // what it answered stands
			p.track.watch(s.c)
			if _, err := s.open(ctx, p.openRequest(openRequest{Same: p.same})); err != nil {
				return reasonOf(ctx, err)
			}
			return p.send(ctx, s, q)
		})
	}
	return group.Wait()
}

// send runs a sender on one stream until the queue is empty and the other side
// has everything on disk.
func (p *push) send(ctx context.Context, s *stream, q *queue) error {
	lane := q.lane()
	parts := &sentParts{c: s.c, jobs: map[uint32]job{}, track: p.track}
	sender := &sender{
		c: s.c, root: p.source.root, announce: true, pack: packer{how: p.opts.Compress}, hash: p.hash, files: p.handover(s),
		next: func(_ context.Context, wait bool, room int64) (job, bool, error) {
			if wait {
				room = anySize
			}
			j, ok := lane.take(room)
			parts.add(j)
			_, err := parts.finish()
			return j, ok, err
		},
		again:     q.put,
		inspector: p.opts.inspector,
		changed:   func(j job, c Change) error { return p.track.changed(j.entry.Path, c) },
		pace:      p.pacer.wait,
		handled:   p.track.handled,
		ended: func(j job, literal int64) {
			if j.split == nil {
				p.track.ended(*j.entry, literal > 0 || j.basis != j.entry.Size)
			}
		},
	}
	return s.duplex(ctx, func(ctx context.Context) error {
		if err := sender.run(ctx); err != nil {
			return err
		}
		return parts.end()
	}, func(context.Context) error {
		for {
			t, payload, err := s.c.read()
			if err != nil {
				return notEOF(err)
			}
			switch t {
			case frameHashes:
				err = sender.deliver(payload)
			case framePart:
				err = parts.done(payload)
			case frameDone:
				again, err := parts.again()
				if err != nil || !again {
					return err
				}
			default:
				return s.unexpected(t, payload)
			}
			if err != nil {
				return err
			}
		}
	})
}

// handover is where a stream's files may be handed over. A rate can be kept only
// of what is sent.
func (p *push) handover(s *stream) *handover {
	if p.opts.MaxRate > 0 {
		return nil
	}
	return s.files
}

// finish gives the directories their attributes and waits until they are on
// disk.
func (p *push) finish(ctx context.Context, plan plan) error {
	var err error
	for _, l := range plan.hardLinks {
		if err = p.first.c.write(frameLink, encodeHardLink(plan.source.path(l.name), plan.source.path(l.to))); err != nil {
			break
		}
	}
	err = cmp.Or(err, p.first.c.write(frameRemove, encodePath(notesName)))
	for _, r := range plan.dirs {
		if err != nil {
			break
		}
		err = p.first.c.write(frameMeta, encodeEntry(plan.source.at(r)))
	}
	if _, callErr := p.first.call(ctx, frameSync, nil, frameDone); callErr != nil {
		return callErr
	}
	p.track.rest(plan)
	return errors.Join(err, p.unmark(ctx, plan), p.track.err)
}

// unmark removes the mark of a copy that is complete, and gives the root its
// time once more.
func (p *push) unmark(ctx context.Context, plan plan) error {
	if p.opts.Resume == "" || p.opts.LeaveMark {
		return nil
	}
	writeErr := errors.Join(p.first.c.write(frameRemove, encodePath(markName)),
		p.first.c.write(frameMeta, encodeEntry(plan.root())))
	_, err := p.first.call(ctx, frameSync, nil, frameDone)
	return cmp.Or(err, writeErr)
}
