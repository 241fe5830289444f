package basebackup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// Relocate is for a base copy from which no server was started, and whose whole
// tree, data directory and tablespaces, has been copied from one directory to
// another: the links in pg_tblspc, and the tablespace_map from which recovery
// makes them anew, lead to the same places below the new directory. A
// tablespace that is not below the old one is an error, because two servers
// would use it.
func Relocate(pgdata, from, to string) error {
	spaces, err := findTablespaces(pgdata, pgdata, nil)
	if err != nil || len(spaces) == 0 {
		return err
	}
	c := &copier{tablespaces: spaces}
	for i, t := range spaces {
		if !filepath.IsAbs(t.source) {
			continue // it leads to a place within the data directory
		}
		inside, err := filepath.Rel(from, t.Source)
		if err != nil || !filepath.IsLocal(inside) {
			return fmt.Errorf("tablespace %s of the copy in %s is in %s, not below %s", t.OID, pgdata, t.Source, from)
		}
		spaces[i].link = filepath.Join(to, inside)
		if err := relink(filepath.Join(pgdata, "pg_tblspc", t.OID), spaces[i].link); err != nil {
			return err
		}
	}
	path := filepath.Join(pgdata, mapFile)
	spcmap, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // before 9.5
	}
	if err != nil {
		return err
	}
	moved, err := c.moveMap(string(spcmap))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.WriteFile(path, []byte(moved), 0o600)
}

// relink replaces a symbolic link.
func relink(path, target string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := os.Symlink(target, path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// TablespaceDirs lists, by their OIDs, where the tablespaces of a data
// directory are that lie outside it.
func TablespaceDirs(pgdata string) (map[string]string, error) {
	spaces, err := findTablespaces(pgdata, pgdata, nil)
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for _, t := range spaces {
		if t.inside == "" {
			dirs[t.OID] = t.Source
		}
	}
	return dirs, nil
}
