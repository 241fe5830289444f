package filesync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"
)

// receiver changes a target tree as it is told. Its methods are for one
// goroutine.
type receiver struct {
	tree    *tree
	inPlace bool
	remove  bool    // a file that is gone from the source is removed here
	owners  *owners // nil where this process may not give files away

	// describe returns what a job is, given the rest of the frame that
	// introduces it.
	describe func(id uint32, d *decoder) (job, error)
	// answer sends a frame to the sender.
	answer func(t frameType, parts ...[]byte) error
	// handled, like the sender's, is told of content as it comes in.
	handled func(n, literal int)
	// ended is told what became of each job.
	ended func(j job, o outcome) error

	jobs    map[uint32]*incoming
	commits *committer
	notes   *notekeeper     // nil where nothing is noted
	dirs    map[string]bool // to be flushed at the end
	begun   time.Time       // when an earlier copy that this one goes on with began; zero for none
	dir     lastDir
	unpack  unpacker
	hash    hasher
	files   *handover // where the sender is in this process
	buf     []byte
}

func newReceiver(t *tree) *receiver {
	r := &receiver{
		tree: t, jobs: map[uint32]*incoming{}, dirs: map[string]bool{},
		commits: newCommitter(t.root), dir: lastDir{root: t.root},
		handled: func(int, int) {}, ended: func(job, outcome) error { return nil },
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
	case frameZeros:
		return true, r.zeros(d)
	case frameEnd:
		return true, r.end(d)
	case framePut:
		return true, r.put(d)
	case frameGone:
		return true, r.gone(d)
	case frameHanded:
		return true, r.handed(d)
	case frameNote:
		return true, r.note(d)
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
	j, err := r.describe(id, d)
	if err != nil {
		return 0, nil, err
	}
	if err := j.check(); err != nil {
		return 0, nil, err
	}
	in := &incoming{job: j, shared: j.isPart(), at: j.from}
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
	if r.notes != nil {
		if err := r.notes.wait(); err != nil {
			return err
		}
	}
	return r.flush()
}

// maxDirs is about how many directories wait to be flushed.
const maxDirs = 10_000

// room flushes directories where many wait. It comes before a change of one, not
// within: none must be flushed too early and be forgotten.
func (r *receiver) room() error {
	if len(r.dirs) < maxDirs {
		return nil
	}
	return r.flush()
}

// flush makes all durable that is complete.
func (r *receiver) flush() error {
	if err := r.commits.wait(); err != nil {
		return err
	}
	if err := r.syncSystem(); err != nil {
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

// syncSystem flushes many directories together, but for those on which another
// file system is mounted.
func (r *receiver) syncSystem() error {
	system := r.commits.system
	if system == nil || len(r.dirs) < batchFrom {
		return nil
	}
	if err := system.sync(); err != nil {
		return err
	}
	maps.DeleteFunc(r.dirs, func(dir string, _ bool) bool {
		info, err := r.tree.root.Lstat(dir)
		return err == nil && system.holds(info)
	})
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
// unless they were written in place or are large.
func (r *receiver) close() error {
	err := errors.Join(r.commits.close(), r.dir.close())
	if r.notes != nil {
		err = errors.Join(err, r.notes.close())
	}
	for _, in := range r.jobs {
		err = errors.Join(err, in.interrupt(r.tree.root))
	}
	return err
}

// list lists the target, with what copies that died have left there of large
// files; the rest of what they left is swept out. All directories are flushed
// at the end, because such a copy may have died before it did so.
func (r *receiver) list(ctx context.Context, protected filter, emit func(Entry) error) error {
	w := walker{root: r.tree.root, prune: protected, showPruned: true, names: newOwners(), links: newLinkIDs(protected.links)}
	w.temp = func(name string, info fs.FileInfo) error {
		if !r.inPlace && resumable(info) {
			return emit(newEntry(name, info))
		}
		return r.removeEntry(name)
	}
	w.fresh = r.isFresh
	w.emit = func(e Entry) error {
		if e.Kind == Dir {
			if err := r.room(); err != nil {
				return err
			}
			r.dirs[e.Path] = true
		}
		return emit(e)
	}
	if err := w.run(ctx); err != nil {
		return fmt.Errorf("list %s: %w", r.tree.root.Name(), err)
	}
	return nil
}

// resumable reports whether a leftover was made by this user, for this name
// alone, and holds anything.
func resumable(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && info.Mode()&0o600 == 0o600 && info.Size() > 0 &&
		st.Nlink == 1 && int(st.Uid) == os.Geteuid()
}
