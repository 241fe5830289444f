package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// removedMark ends the name of a runbook that distrib has taken out of use.
const removedMark = ".removed"

// ownRunbooks lists the runbooks and libraries below a directory, by their
// paths in it; none where there is no such directory.
func ownRunbooks(dir string) ([]string, error) {
	found := []string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(name) == ".lua" {
			found = append(found, name)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return []string{}, nil
	}
	return found, err
}

// retireRunbooks takes out of use what the node that distributes has no more:
// global/ is the same everywhere, and an override that lives on here would make
// one procedure two, by the node that it is started on. The text is kept, under
// another name.
func retireRunbooks(ctx context.Context, s *session, keep []string) error {
	dir := s.site.Global("runbooks")
	here, err := ownRunbooks(dir)
	if err != nil {
		return err
	}
	for _, name := range here {
		if slices.Contains(keep, name) {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+removedMark); err != nil {
			return err
		}
		say(ctx, s, "global/runbooks/%s is no longer on the node that distributes; on %s it is %s now", name, s.site.Self.Name, filepath.Base(path)+removedMark)
		if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return nil
}
