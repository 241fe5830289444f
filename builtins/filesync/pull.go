package filesync

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Pull copies the tree below remoteRoot on the other node into localRoot here.
// Both are absolute paths of directories; localRoot is made if it is not there.
//
// Nothing that the other node answers can touch anything outside localRoot.
// When Pull returns nil everything is durable here.
func Pull(ctx context.Context, d Dialer, remoteRoot, localRoot string, o Options) (Summary, error) {
	if o.Inspect != nil {
		return Summary{}, errors.New("only a push can inspect what it copies")
	}
	p := &pull{opts: o, dial: d, remote: remoteRoot, track: newTracker(o), pacer: pacer{rate: o.MaxRate}, key: newHashKey()}
	summary, err := p.run(ctx, localRoot)
	if err != nil {
		return summary, fmt.Errorf("copy %s to %s: %w", remoteRoot, localRoot, advise(err))
	}
	return summary, nil
}

// pull is one copy from another node to here.
type pull struct {
	opts   Options
	dial   Dialer
	remote string
	track  *tracker
	pacer  pacer
	target *tree
	first  *stream
	same   identity // of the remote root
	key    hashKey
	hash   hasher // of that key
}

func (p *pull) run(ctx context.Context, localRoot string) (_ Summary, err error) {
	stop := p.track.report(ctx)
	defer stop()
	if p.hash, err = newHasher(p.key); err != nil {
		return Summary{}, err
	}
	if p.first, err = dial(ctx, p.dial); err != nil {
		return Summary{}, err
	}
	defer func() { _ = p.first.close() }() // what it answered stands
	p.track.watch(p.first.c)
	rules, err := newRules(p.opts)
	if err != nil {
		return Summary{}, err
	}
	source, err := p.list(ctx, rules)
	if err != nil {
		return Summary{}, err
	}
	if p.opts.DryRun {
		plan, err := p.foresee(ctx, localRoot, rules, source)
		if err != nil {
			return Summary{}, err
		}
		p.track.foretell(plan)
		return p.track.summary(plan), p.track.err
	}
	// Only now: a source that cannot be listed must not leave an empty target.
	if p.target, err = openTree(ctx, localRoot, treeOptions{create: true, follow: p.opts.FollowRoot, exclude: true}); err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, p.target.close()) }()
	if p.same == p.target.id && p.first.machine == machineID() {
		return Summary{}, errSameDirectory
	}
	local := newReceiver(p.target)
	defer func() { err = errors.Join(err, local.close()) }()
	local.inPlace = p.opts.InPlace
	if err := local.beginCopy(p.opts.Resume); err != nil {
		return Summary{}, err
	}
	c := rules.compare(source, local.owners != nil)
	notes, err := local.takeNotes()
	if err != nil {
		return Summary{}, err
	}
	for _, f := range notes {
		c.note(f)
	}
	if err := local.list(ctx, rules.protected, c.see); err != nil {
		return Summary{}, err
	}
	plan := c.finish()
	p.track.plan(plan)
	err = p.carryOut(ctx, plan, local)
	return p.track.summary(plan), err
}

func (p *pull) list(ctx context.Context, rules rules) (*catalog, error) {
	reply, err := p.first.open(ctx, openRequest{Role: roleSend, Root: p.remote, FollowRoot: true, Compress: p.opts.Compress, Key: p.key})
	if err != nil {
		return nil, err
	}
	p.same = reply.Same
	c := rules.choose(p.track)
	err = p.first.list(ctx, rules.left, nil, func(e Entry) error {
		if isTemp(e.Path) {
			return protocolError("the other side listed a temporary file")
		}
		return c.see(e)
	})
	if err != nil {
		return nil, err
	}
	return c.end()
}

// carryOut does what the plan says. local is the receiver for everything but
// the files, of which each stream has its own.
func (p *pull) carryOut(ctx context.Context, plan plan, local *receiver) error {
	for _, r := range plan.remove {
		if err := local.removeEntry(plan.surplus.path(r)); err != nil {
			return err
		}
	}
	each := func(entries []ref, do func(Entry) error) error {
		for _, r := range entries {
			if err := do(plan.source.at(r)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := each(plan.mkdir, local.mkdir); err != nil {
		return err
	}
	if err := each(plan.links, local.symlink); err != nil {
		return err
	}
	if err := each(plan.meta, local.meta); err != nil {
		return err
	}
	if err := p.files(ctx, plan); err != nil {
		return err
	}
	for _, l := range plan.hardLinks {
		if err := local.hardLink(plan.source.path(l.name), plan.source.path(l.to)); err != nil {
			return err
		}
	}
	if err := local.removeEntry(notesName); err != nil {
		return err
	}
	if err := each(plan.dirs, local.meta); err != nil {
		return err
	}
	p.track.rest(plan)
	if err := local.sync(); err != nil {
		return err
	}
	if p.opts.Resume != "" && !p.opts.LeaveMark {
		if err := errors.Join(local.removeEntry(markName), local.meta(plan.root())); err != nil {
			return err
		}
	}
	return errors.Join(local.sync(), p.track.err)
}

// files fetches the files over as many streams as are useful.
func (p *pull) files(ctx context.Context, plan plan) error {
	streams := streamsFor(p.opts.Streams, p.first.answer, &plan.jobs)
	q := newQueue(&plan, streams)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.fetch(ctx, p.first, q) })
	for range streams - 1 {
		group.Go(func() error {
			s, err := dial(ctx, p.dial)
			if err != nil {
				return p.track.fewer(ctx, err)
			}
			defer func() { _ = s.close() }() // what it answered stands
			p.track.watch(s.c)
			r := openRequest{Role: roleSend, Root: p.remote, FollowRoot: true, Compress: p.opts.Compress, Key: p.key, Same: p.same}
			if _, err := s.open(ctx, r); err != nil {
				return err
			}
			return p.fetch(ctx, s, q)
		})
	}
	return group.Wait()
}

// fetch receives files on one stream until the queue is empty and all of them
// are on disk.
func (p *pull) fetch(ctx context.Context, s *stream, q *queue) (err error) {
	r := newReceiver(p.target)
	defer func() { err = errors.Join(err, r.close()) }()
	r.inPlace, r.remove, r.unpack.how, r.hash = p.opts.InPlace, p.opts.Delete, p.opts.Compress, p.hash
	r.handled, r.answer = p.track.handled, s.c.send
	if !r.inPlace || p.opts.Resume != "" {
		r.notes = newNotekeeper(p.target.root)
	}
	w := newWindow()
	r.describe = func(id uint32, _ *decoder) (job, error) { return w.job(id) }
	r.ended = func(j job, o outcome) error {
		w.done(j.id)
		return p.ended(r, j, o)
	}
	return s.duplex(ctx, func(ctx context.Context) error {
		return p.request(ctx, s, q.lane().take, w)
	}, func(ctx context.Context) error {
		if err := p.receive(ctx, s, r, w); err != nil {
			return err
		}
		return r.sync()
	})
}

// ended counts a file, and finishes one whose last part this was.
func (p *pull) ended(r *receiver, j job, o outcome) error {
	if j.split == nil {
		p.track.ended(*j.entry, o.touched)
		return nil
	}
	last, mixed := j.split.done(j, o)
	if mixed {
		if err := p.track.changed(j.entry.Path, Modified); err != nil {
			return fmt.Errorf("%s: %w", j.entry.Path, err)
		}
	}
	if !last {
		return nil
	}
	p.track.ended(*j.entry, j.split.differs())
	return r.finish(j.split.finish())
}

// request asks for one file after another, as a lane hands them out, no more at a
// time than the window holds.
func (p *pull) request(ctx context.Context, s *stream, take func(room int64) (job, bool), w *window) error {
	for {
		room, err := w.room(ctx)
		if err != nil {
			return err
		}
		j, ok := take(room)
		// Otherwise the next may have been too large for the room there was.
		if !ok && room == anySize && w.close() {
			return s.c.send(frameSync)
		}
		if !ok {
			if err := w.change(ctx); err != nil {
				return err
			}
			continue
		}
		w.add(j)
		request := fetchRequest{ID: j.id, Path: j.entry.Path, Size: j.entry.Size, Stamp: j.entry.ModTime, From: j.from, To: j.to, Known: j.known(), Sure: j.sure, Stale: j.stale}
		if err := s.c.send(frameFetch, request.encode()); err != nil {
			return err
		}
	}
}

// receive takes what the other side sends until it says that this was all.
func (p *pull) receive(ctx context.Context, s *stream, r *receiver, w *window) error {
	for {
		t, payload, err := s.c.read()
		if err != nil {
			return notEOF(err)
		}
		if t == frameData || t == framePacked || t == framePut {
			if err := p.pacer.wait(ctx, len(payload)); err != nil {
				return err
			}
		}
		if mine, err := r.handle(t, payload); mine {
			if err != nil {
				return err
			}
			continue
		}
		switch t {
		case frameChanged:
			if err := p.changed(payload, w); err != nil {
				return err
			}
		case frameDone:
			if !w.isClosed() {
				return protocolError("the other side says that it is done before it was asked for everything")
			}
			return nil
		default:
			return s.unexpected(t, payload)
		}
	}
}

func (p *pull) changed(payload []byte, w *window) error {
	d := decoder{b: payload}
	id, c := d.uint32(), Change(d.uint32())
	if err := d.finish(); err != nil {
		return err
	}
	j, err := w.job(id)
	if err != nil {
		return err
	}
	if j.split != nil && !j.split.changed(c) {
		return nil // another part was told of
	}
	if err := p.track.changed(j.entry.Path, c); err != nil {
		return fmt.Errorf("%s: %w", j.entry.Path, err)
	}
	return nil
}
