package basebackup

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/builtins/filesync"
)

// version2 is the first server version whose own manifests say which cluster
// they are of.
const version2 = 170000

// manifest is what the copy consists of, but for the files, in the form that a
// server of its version writes; those before 13 write none, and get the oldest.
func (c *copier) manifest() manifest.Manifest {
	m := manifest.Manifest{
		Version: manifest.Version1,
		WAL:     []manifest.Range{{Timeline: c.result.Timeline, Start: c.result.StartLSN, End: c.result.StopLSN}},
	}
	if c.Conn.Version() >= version2 {
		m.Version, m.SystemID = manifest.Version2, c.control.SystemID
	}
	return m
}

// sendManifest puts the manifest into the copy. It may be too large to be
// written as one small file is, so it goes as a copied tree of its own.
func (c *copier) sendManifest(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "warmrun-manifest-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f, err := os.Create(filepath.Join(dir, manifest.Name))
	if err != nil {
		return err
	}
	// It is flushed over there, where it stays.
	if err := errors.Join(manifest.WriteFiles(f, c.manifest(), c.inspection.files.files()), f.Close()); err != nil {
		return err
	}
	perm, err := c.filePerm()
	if err != nil {
		return err
	}
	_, err = filesync.Push(ctx, c.Dial, dir, c.TargetPGData, filesync.Options{
		Streams: 1, FollowRoot: true,
		Keep: []string{"/*/*"}, // what is there need not be listed
		Select: func(e *filesync.Entry) (bool, error) { // the directory and the one file in it
			if e.Kind == filesync.Dir {
				*e = c.root
				return true, nil
			}
			e.Mode = perm
			e.UID, e.GID, e.User, e.Group = c.root.UID, c.root.GID, c.root.User, c.root.Group
			return true, nil
		},
	})
	return err
}
