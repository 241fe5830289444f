package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore/hint"
)

// versionDir is the directory of this server's version in a tablespace; other
// servers may have theirs beside it (GetTablespaceVersionDirectory: PG_, the
// major version, the catalog version).
func (c *copier) versionDir() string {
	major := strconv.Itoa(c.Conn.Version() / 10000)
	if c.Conn.Version() < 100000 {
		major += "." + strconv.Itoa(c.Conn.Version()/100%100)
	}
	return fmt.Sprintf("PG_%s_%d", major, c.control.CatalogVersion)
}

// examineTablespaces refuses to overwrite a tablespace that is not the
// target's own.
func (c *copier) examineTablespaces(ctx context.Context, t target) error {
	for _, ts := range c.tablespaces {
		if ts.inside != "" && ts.Target == path.Join(c.TargetPGData, ts.inside) {
			continue // within the data directory, which was looked at
		}
		if err := c.examineTablespace(ctx, ts, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) examineTablespace(ctx context.Context, ts Tablespace, t target) error {
	remote, err := filesync.OpenRemote(ctx, c.Dial, ts.Target, filesync.RemoteOptions{FollowRoot: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }() // it was only looked at
	same, err := remote.Is(ts.Source)
	if err != nil {
		return err
	}
	if same {
		return hint.Wrap(fmt.Errorf("tablespace %s would be copied onto itself", ts.Source), "say with tablespace_map where it goes on the target")
	}
	entries, err := remote.List(ctx, "/"+filesync.Escape(c.versionDir())+"/*/*")
	if err != nil {
		return err
	}
	filled := false
	for _, e := range entries {
		filled = filled || strings.HasPrefix(e.Path, c.versionDir()+"/")
	}
	if own := t.entries["pg_tblspc/"+ts.OID].Target == ts.link; filled && !own {
		return hint.Wrap(fmt.Errorf("%s on the target holds a tablespace of another server", path.Join(ts.Target, c.versionDir())),
			"empty it, or say with tablespace_map where the tablespace goes")
	}
	return nil
}

// copyTablespace copies one tablespace, of which only this server's directory
// is touched.
func (c *copier) copyTablespace(ctx context.Context, ts Tablespace) error {
	others, err := c.otherVersions(ctx, ts)
	if err != nil {
		return err
	}
	o := c.options()
	o.Exclude, o.Keep, o.Select = excluded, others, (&needed{root: ts.Source}).file
	o.Inspect = c.inspection.tree(ts.names(c.TargetPGData)...)
	s, err := filesync.Push(ctx, c.Dial, ts.Source, ts.Target, o)
	c.result.Summary = c.result.Summary.Add(s)
	if err != nil {
		return fmt.Errorf("tablespace %s: %w", ts.OID, err)
	}
	c.report(s)
	return nil
}

// names are the paths in the copy's data directory at which the tablespace is
// found: through its link, and where it lies inside the data directory also
// there. Who compares a manifest with the directory comes by both.
func (t Tablespace) names(target string) []string {
	names := []string{"pg_tblspc/" + t.OID}
	if inside, ok := t.insideTarget(target); ok {
		names = append(names, inside)
	}
	return names
}

// insideTarget is the tablespace's path below the target's data directory, if
// it goes there.
func (t Tablespace) insideTarget(target string) (string, bool) {
	inside, err := filepath.Rel(target, t.Target)
	return inside, err == nil && filepath.IsLocal(inside)
}

// otherVersions lists, as patterns, what is in the tablespace's directory on
// either side besides the directory of this server's version.
func (c *copier) otherVersions(ctx context.Context, ts Tablespace) ([]string, error) {
	names := map[string]bool{}
	here, err := os.ReadDir(ts.Source)
	if err != nil {
		return nil, err
	}
	for _, e := range here {
		names[e.Name()] = true
	}
	remote, err := filesync.OpenRemote(ctx, c.Dial, ts.Target, filesync.RemoteOptions{FollowRoot: true})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		defer func() { _ = remote.Close() }() // it was only looked at
		there, err := remote.List(ctx, "/*/*")
		if err != nil {
			return nil, err
		}
		for _, e := range there {
			names[e.Path] = true
		}
	}
	delete(names, ".")
	delete(names, c.versionDir())
	patterns := make([]string, 0, len(names))
	for name := range names {
		patterns = append(patterns, "/"+filesync.Escape(name))
	}
	return patterns, nil
}

// moveLink makes a link in pg_tblspc lead to where the tablespace is on the
// target.
func (c *copier) moveLink(e *filesync.Entry) {
	for _, t := range c.tablespaces {
		if e.Kind == filesync.Symlink && e.Path == "pg_tblspc/"+t.OID {
			e.Target = t.link
		}
	}
}

// moveMap makes the lines of a tablespace_map lead to where the tablespaces
// are on the target: recovery makes the links anew from it
// (read_tablespace_map in access/transam/xlogrecovery.c). Lines of tablespaces
// that stay where they are are not touched.
func (c *copier) moveMap(spcmap string) (string, error) {
	spaces := map[string]Tablespace{}
	for _, t := range c.tablespaces {
		spaces[t.OID] = t
	}
	var moved strings.Builder
	for _, line := range splitMap(spcmap) {
		oid, _, ok := strings.Cut(line, " ")
		t, known := spaces[oid]
		if !ok || !known {
			return "", fmt.Errorf("the server's tablespace_map has a line %q for a tablespace that was not copied", line)
		}
		if t.moved() {
			line = oid + " " + mapEscaper.Replace(t.link)
		}
		moved.WriteString(line + "\n")
	}
	return moved.String(), nil
}

// mapEscaper writes a path as do_pg_backup_start does (in access/transam/xlog.c;
// a backslash is escaped from 14 on).
var mapEscaper = strings.NewReplacer("\n", "\\\n", "\r", "\\\r", "\\", "\\\\")

// splitMap splits at line ends that are not part of a path.
func splitMap(spcmap string) []string {
	var lines []string
	start, escaped := 0, false
	for i := range len(spcmap) {
		switch {
		case escaped:
			escaped = false
		case spcmap[i] == '\\':
			escaped = true
		case spcmap[i] == '\n':
			lines = append(lines, spcmap[start:i])
			start = i + 1
		}
	}
	if start < len(spcmap) {
		lines = append(lines, spcmap[start:])
	}
	return lines
}
