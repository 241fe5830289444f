package filesync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Remote is a directory on another node in which single small things are
// looked at and changed. It is for one goroutine.
type Remote struct {
	s    *stream
	root string
	same identity
}

// RemoteOptions say how OpenRemote opens the directory.
type RemoteOptions struct {
	Create     bool // make it if it is not there
	FollowRoot bool // allow it to be a symbolic link
	// Lock keeps copies into it out as long as the Remote is open. Where one is
	// under way, and does not end soon, the error is an ErrLocked.
	Lock bool
}

// OpenRemote opens a directory on the other node. If it is not there, and
// shall not be made, the error is an fs.ErrNotExist. The Remote must be closed;
// it ends when ctx does.
func OpenRemote(ctx context.Context, d Dialer, root string, o RemoteOptions) (*Remote, error) {
	s, err := dial(ctx, d)
	if err != nil {
		return nil, err
	}
	reply, err := s.open(ctx, openRequest{Role: roleLook, Root: root, Create: o.Create, FollowRoot: o.FollowRoot, Lock: o.Lock})
	if err != nil {
		_ = s.close() // the error at hand says more
		return nil, err
	}
	return &Remote{s: s, root: root, same: reply.Same}, nil
}

// Close ends the stream. All that was asked for and answered stands.
func (r *Remote) Close() error { return r.s.close() }

// Is reports whether the directory is the one that localPath leads to on this
// machine. A localPath that is not there is none.
func (r *Remote) Is(localPath string) (bool, error) {
	info, err := os.Stat(localPath)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return r.s.machine == machineID() && r.same == identityOf(info), nil
}

// List lists the directory, parents before what is in them; the first entry is
// the directory itself. What a pattern (see Match) matches is left out, with
// all that is below it.
func (r *Remote) List(ctx context.Context, exclude ...string) ([]Entry, error) {
	prune, err := newFilter(nil, exclude, nil)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	err = r.s.list(ctx, prune, nil, func(e Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s there: %w", r.root, err)
	}
	return entries, nil
}

// ReadFile reads a regular file of at most a megabyte. The error is an
// fs.ErrNotExist if there is none; a symbolic link is none.
func (r *Remote) ReadFile(ctx context.Context, name string) ([]byte, error) {
	payload, err := r.call(ctx, frameRead, smallFile{Name: name, Limit: maxSmallFile}.encode(), frameContent, name)
	return append([]byte(nil), payload...), err
}

// WriteFile makes a file of at most a megabyte, or replaces it, durably. Where
// the other side runs as root, the file goes to the owner of its directory.
func (r *Remote) WriteFile(ctx context.Context, name string, data []byte, perm fs.FileMode) error {
	if len(data) > maxSmallFile {
		return fmt.Errorf("%s has %d bytes, too many to be written at once", name, len(data))
	}
	_, err := r.call(ctx, frameWrite, smallFile{Name: name, Perm: perm, Data: data}.encode(), frameDone, name)
	return err
}

// Remove removes files, symbolic links and empty directories, in the order
// given; what is not there needs no removing. Sync makes it durable.
func (r *Remote) Remove(ctx context.Context, names ...string) error {
	const batch = 100 // of the longest names, so that they fit in a frame
	for names := range slices.Chunk(names, batch) {
		if _, err := r.call(ctx, frameRemove, new(encoder).strings(names).b, frameDone, "."); err != nil {
			return err
		}
	}
	return nil
}

// Unmark makes the directory forget Options.Resume. Sync makes it durable.
func (r *Remote) Unmark(ctx context.Context) error { return r.Remove(ctx, markName) }

// Mkdir makes a directory; one that is there already is no error. Sync makes
// it durable.
func (r *Remote) Mkdir(ctx context.Context, name string, perm fs.FileMode) error {
	_, err := r.call(ctx, frameMkdir, encodeEntry(Entry{Path: name, Kind: Dir, Mode: perm}), frameDone, name)
	return err
}

// Sync flushes what Remove and Mkdir changed.
func (r *Remote) Sync(ctx context.Context) error {
	_, err := r.call(ctx, frameSync, nil, frameDone, ".")
	return err
}

// Process asks after a process on the other node.
func (r *Remote) Process(ctx context.Context, pid int) (ProcessState, error) {
	if pid <= 0 {
		return ProcessState{}, nil
	}
	payload, err := r.call(ctx, frameProcess, new(encoder).uint(uint64(pid)).b, frameState, ".")
	if err != nil {
		return ProcessState{}, err
	}
	d := decoder{b: payload}
	state := ProcessState{Running: d.bool(), Here: d.bool(), Unknown: d.bool()}
	return state, d.finish()
}

func (r *Remote) call(ctx context.Context, t frameType, payload []byte, want frameType, name string) ([]byte, error) {
	answer, err := r.s.call(ctx, t, payload, want)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", r.root, name, err)
	}
	return answer, nil
}
