package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore/hint"
)

// halfwayError is a copy that had begun to change the target.
type halfwayError struct{ error }

func (e halfwayError) Unwrap() error { return e.error }

// copyResult is what a copy did.
type copyResult struct {
	filesync.Summary
	Changed []changedFile `json:"changed"` // while they were read, with the live option
	DryRun  bool          `json:"dry_run"` // nothing of it was done
}

func (r copyResult) String() string {
	if r.DryRun {
		return r.Summary.String() + " (DRY RUN)"
	}
	return r.Summary.String()
}

// changedFile is a file that changed while it was read.
type changedFile struct {
	Path string `json:"path"`
	How  string `json:"how"`
}

// copyTree makes the tree at r.to what the tree at r.from is; one of them is on
// this node. See filesync for what is durable when. The error is a usageError
// for options that cannot be meant, an absentError where there is no source and
// a halfwayError once the target may have been changed.
func (s *session) copyTree(ctx context.Context, r route, o copyOptions, out copyOutput) (copyResult, error) {
	if err := o.check(); err != nil {
		return copyResult{}, err
	}
	if err := checkSource(r.from); err != nil {
		return copyResult{}, err
	}
	if err := checkApart(r); err != nil {
		return copyResult{}, err
	}
	kept, err := s.checkTarget(ctx, r.to)
	if err != nil {
		return copyResult{}, err
	}
	for _, name := range kept {
		fmt.Fprintf(out.notes, "leaving alone %s%s, which is a WAL archive or the data directory of a server that runs\n", r.to, name)
	}
	result := copyResult{Changed: []changedFile{}, DryRun: o.DryRun}
	options := o.sync()
	options.Keep, options.Progress, options.Verbose, options.Prefix = patternsOf(kept), out.show, out.names, r.prefix
	if o.Live {
		options.OnChange = func(path string, c filesync.Change) error {
			result.Changed = append(result.Changed, changedFile{Path: path, How: c.String()})
			_, err := fmt.Fprintf(out.notes, "%s%s %s while it was copied\n", r.prefix, path, c)
			return err
		}
	}
	if r.from.here && r.to.here {
		options.Compress = filesync.CompressNone // there is no wire
	}
	if r.from.here {
		result.Summary, err = filesync.Push(ctx, s.farEnd(r.to), r.from.path, r.to.path, options)
	} else {
		result.Summary, err = filesync.Pull(ctx, s.farEnd(r.from), r.from.path, r.to.path, options)
	}
	return result, explainCopy(r, result, err)
}

// explainCopy says what is left behind by a copy that failed.
func explainCopy(r route, done copyResult, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, filesync.ErrLocked):
		return lockedError{err}
	case notInstalled(err):
		return hint.Wrap(err, "warmrun is needed on both sides; run: warmrun distrib")
	case done.Dirs == 0 && hint.Of(err) == "" && hint.File(err) == "":
		err = hint.Wrap(err, "nothing was copied or removed; mend that and run the copy again")
	case hint.Of(err) == "" && hint.File(err) == "":
		err = hint.Wrap(err, "%s is half done; run the same copy again, it goes on from what is there", r.to)
	}
	switch {
	case done.Dirs > 0 && !done.DryRun:
		return halfwayError{err}
	case !r.from.here && errors.Is(err, fs.ErrNotExist):
		return absentError{err}
	}
	return err
}

// checkSource is an error where a source on this node cannot be copied.
func checkSource(from place) error {
	if !from.here {
		return nil
	}
	info, err := os.Stat(from.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return absentError{hint.Wrap(fmt.Errorf("there is no %s to copy", from.path), "nothing was changed; look at its name")}
	case err != nil:
		return err
	case !info.IsDir():
		return usageError{hint.Wrap(fmt.Errorf("%s is not a directory, and copy copies directories", from.path), "for a single file use scp")}
	}
	return nil
}

// checkApart refuses a source and a target of which one lies within the other:
// with the delete option the one would erase the other.
func checkApart(r route) error {
	if !r.from.here || !r.to.here {
		return nil
	}
	from, err := withoutLinks(r.from.path)
	if err != nil {
		return err
	}
	to, err := withoutLinks(r.to.path)
	if err != nil || from == to {
		return err // filesync refuses a directory onto itself, under whatever names
	}
	if within(from, to) || within(to, from) {
		return usageError{hint.Wrap(fmt.Errorf("cannot copy %s to %s: one lies within the other", r.from, r.to), "nothing was changed; name another directory")}
	}
	return nil
}

// checkTarget refuses a copy over what others must not write to: the data
// directory of a server that runs, and a WAL archive. It names those that lie
// below the target, from its root on: they stay as they are.
func (s *session) checkTarget(ctx context.Context, to place) (kept []string, err error) {
	views, err := s.views(ctx, to.node, to.path)
	if err != nil {
		return nil, fmt.Errorf("copy to %s: %w", to, err)
	}
	touched := false // the data directory
	for _, v := range views {
		if within(v.Archive, v.Path) {
			return nil, hint.Wrap(fmt.Errorf("%s is in the WAL archive of %s, in which only archiving and relaying write", to, to.node), "nothing was changed; name another directory")
		}
		kept = append(kept, below(v.Path, v.Archive)...)
		touched = touched || within(v.PGData, v.Path) || v.PGData != "" && within(v.Path, v.PGData)
	}
	if touched {
		state, err := stateOf(ctx, s, to.node)
		if err != nil {
			return nil, err
		}
		for _, v := range views {
			if state.Running && within(v.PGData, v.Path) {
				return nil, hint.Wrap(fmt.Errorf("the server of %s runs in %s", to.node, v.PGData), "nothing was changed; stop it first, or make a base copy: warmrun copyToStandby --start")
			}
			if state.Running {
				kept = append(kept, below(v.Path, v.PGData)...)
			}
		}
	}
	slices.Sort(kept)
	return slices.Compact(kept), nil
}

// farEnd starts the far end of a copy at a place, in this process where that is
// on this node.
func (s *session) farEnd(at place) filesync.Dialer {
	if at.here {
		return filesync.Here
	}
	return s.syncAgent(at.node)
}
