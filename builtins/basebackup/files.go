package basebackup

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// copyFiles copies everything while the backup is on. It returns the content
// of pg_control, read last.
func (c *copier) copyFiles(ctx context.Context) ([]byte, error) {
	if err := c.mark(ctx); err != nil {
		return nil, err
	}
	if err := c.clearWAL(ctx); err != nil {
		return nil, err
	}
	var changed atomic.Int64
	defer func() { c.result.Changed = int(changed.Load()) }()
	c.changed = func(string, filesync.Change) error {
		changed.Add(1)
		return nil
	}
	// The data directory goes first: once its links are there, a copy that is
	// begun again knows the tablespaces for its own.
	if err := c.copyData(ctx); err != nil {
		return nil, err
	}
	for _, t := range c.tablespaces {
		if err := c.copyTablespace(ctx, t); err != nil {
			return nil, err
		}
	}
	if err := c.makeWAL(ctx); err != nil {
		return nil, err
	}
	return readControl(c.PGData)
}

// options are what the copies of all parts have in common.
//
// Every file that both sides have is compared by content: the target may have
// been a server of its own meanwhile, so sizes and times prove nothing, but for
// what a copy that was cut has completed there, in this tree or in another: the
// marks stay until the whole copy is complete. Files are written in place
// because a target whose copy failed cannot be started. What changes under way
// is let pass, as a base backup by the server itself does (sendFile in
// backup/basebackup.c): WAL mends it.
func (c *copier) options() filesync.Options {
	o := filesync.Options{
		Streams: c.Streams, MaxRate: c.MaxRate, Compress: c.Compress,
		Delete: true, DeleteExcluded: true, Checksum: true, InPlace: true, FollowRoot: true,
		OnChange: c.changed, Progress: c.Progress, Resume: c.resumeName(), LeaveMark: true,
	}
	if c.Verbose {
		o.Verbose = c.Out
	}
	return o
}

// resumeName stands for this copy at a target: one that was cut can be gone on
// with from the same data directory only.
func (c *copier) resumeName() string {
	host, _ := os.Hostname() // without it the rest must do
	return fmt.Sprintf("base copy of cluster %d in %s on %s", c.control.SystemID, c.PGData, host)
}

func (c *copier) copyData(ctx context.Context) error {
	o := c.options()
	o.Exclude, o.Keep = c.excludePatterns(), c.keepPatterns()
	o.Inspect = c.inspection.tree("")
	needed := &needed{root: c.PGData}
	o.Select = func(e *filesync.Entry) (bool, error) {
		if e.Path == "." {
			c.root = *e
		}
		c.moveLink(e)
		emptyLink(e)
		return needed.file(e)
	}
	s, err := filesync.Push(ctx, c.Dial, c.PGData, c.TargetPGData, o)
	c.result.Summary = c.result.Summary.Add(s)
	if err != nil {
		return err
	}
	c.report(s)
	return nil
}

// emptyLink makes a directory of a link that stands for one which is copied
// empty.
func emptyLink(e *filesync.Entry) {
	if e.Kind == filesync.Symlink && slices.Contains(emptied, e.Path) {
		e.Kind, e.Mode, e.Target = filesync.Dir, 0o700, ""
	}
}

// report prints the summary of one part where its files were listed.
func (c *copier) report(s filesync.Summary) {
	if c.Verbose {
		c.say("\n%s\n", s)
	}
}

// filePerm and dirPerm are the modes of files and directories that the copy
// makes itself: those of the source's own, because a cluster may let its group
// read along (initdb -g).
func (c *copier) filePerm() (fs.FileMode, error) {
	info, err := os.Stat(filepath.Join(c.PGData, controlFile))
	if err != nil {
		return 0, err
	}
	return info.Mode().Perm(), nil
}

func (c *copier) dirPerm() (fs.FileMode, error) {
	info, err := os.Stat(c.PGData)
	if err != nil {
		return 0, err
	}
	return info.Mode().Perm(), nil
}
