package filesync

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// receiver changes a target tree as it is told. Its methods are for one
// goroutine.
type receiver struct {
	tree    *tree
	inPlace bool
	remove  bool    // a file that is gone from the source is removed here
	owners  *owners // nil where this process may not give files away

	// describe returns what file a job is for, given the rest of the frame
	// that introduces it.
	describe func(id uint32, d *decoder) (Entry, error)
	// answer sends a frame to the sender.
	answer func(t frameType, parts ...[]byte) error
	// handled, like the sender's, is told of content as it comes in.
	handled func(n, literal int)
	// ended is told of each job that is complete or gone, and whether the
	// file differed.
	ended func(id uint32, differed bool)

	jobs    map[uint32]*incoming
	commits *committer
	dirs    map[string]bool // to be flushed at the end
	buf     []byte
}

func newReceiver(t *tree) *receiver {
	r := &receiver{
		tree: t, jobs: map[uint32]*incoming{}, dirs: map[string]bool{},
		commits: newCommitter(t.root),
		handled: func(int, int) {}, ended: func(uint32, bool) {},
	}
	if os.Geteuid() == 0 {
		r.owners = newOwners()
	}
	return r
}

// handle takes a frame from the sender. It returns false for a frame that is
// none of its own.
func (r *receiver) handle(t frameType, payload []byte) (bool, error) {
	d := &decoder{b: payload}
	switch t {
	case frameBegin:
		_, _, err := r.begin(d)
		return true, errors.Join(err, d.finish())
	case frameSums:
		return true, r.sums(d)
	case frameData, framePacked:
		return true, r.data(d, t == framePacked)
	case frameEnd:
		return true, r.end(d)
	case framePut:
		return true, r.put(d)
	case frameGone:
		return true, r.gone(d)
	}
	return false, nil
}

func (r *receiver) begin(d *decoder) (uint32, *incoming, error) {
	id := d.uint32()
	if d.err != nil {
		return 0, nil, d.err
	}
	if r.jobs[id] != nil || len(r.jobs) >= maxOpenJobs {
		return 0, nil, protocolError("too many files at once, or one twice")
	}
	e, err := r.describe(id, d)
	if err != nil {
		return 0, nil, err
	}
	if e.Kind != File {
		return 0, nil, protocolError("%q is sent as a file but is none", e.Path)
	}
	in := &incoming{entry: e}
	r.jobs[id] = in
	return id, in, nil
}

func (r *receiver) job(d *decoder) (uint32, *incoming, error) {
	id := d.uint32()
	in := r.jobs[id]
	if d.err == nil && in == nil {
		d.err = protocolError("a frame for a file that was not begun")
	}
	return id, in, d.err
}

// sync returns when everything received has been written, renamed and flushed.
func (r *receiver) sync() error {
	if len(r.jobs) > 0 {
		return protocolError("%d files were begun and not ended", len(r.jobs))
	}
	if err := r.commits.wait(); err != nil {
		return err
	}
	for _, dir := range slices.Sorted(maps.Keys(r.dirs)) {
		if err := syncDir(r.tree.root, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	clear(r.dirs)
	return nil
}

func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// close ends the receiver. Files that were not complete leave nothing behind,
// unless they were written in place.
func (r *receiver) close() error {
	err := r.commits.close()
	for _, in := range r.jobs {
		err = errors.Join(err, in.abandon(r.tree.root))
	}
	return err
}

// list lists the target and sweeps out what a copy that died has left there.
// All its directories are flushed at the end, because that copy may have died
// before it did so.
func (r *receiver) list(ctx context.Context, protected patterns) ([]Entry, error) {
	entries, err := list(ctx, walker{root: r.tree.root, prune: protected, showPruned: true, names: newOwners(), temp: r.removeEntry})
	for _, e := range entries {
		if e.Kind == Dir {
			r.dirs[e.Path] = true
		}
	}
	return entries, err
}
