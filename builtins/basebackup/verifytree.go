package basebackup

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/builtins/filesync"
)

// unverified is what the manifest of a copy says nothing about, or is of no
// account in (ignore_list in pg_verifybackup.c), with what tells the target what
// it is.
var unverified = append([]string{
	"/" + manifest.Name,
	"/pg_wal",
	"/pg_xlog", // what it is called before 10
	"/postgresql.auto.conf",
	"/recovery.signal",
}, kept...)

// ignored reports whether something in the directory is not compared: itself
// or a directory that it is in.
func (v *verification) ignored(name string, isDir bool) bool {
	for at := name; at != "."; at, isDir = path.Dir(at), true {
		matches := func(pattern string) bool { return filesync.Match(pattern, at, isDir) }
		if slices.ContainsFunc(unverified, matches) || slices.ContainsFunc(v.Ignore, matches) {
			return true
		}
	}
	return false
}

// walk compares what is in a directory with the list. Of symbolic links only
// those to tablespaces are followed; others were copied as what they are, and
// are in no manifest.
func (v *verification) walk(ctx context.Context, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && name == "." {
		return err
	}
	if err != nil {
		v.find(Unreadable, name, "%v", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := v.entry(ctx, path.Join(name, e.Name()), filepath.Join(dir, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) entry(ctx context.Context, name, file string, e fs.DirEntry) error {
	if v.ignored(name, e.IsDir()) {
		return nil
	}
	kind := e.Type()
	if kind == fs.ModeSymlink && path.Dir(name) == "pg_tblspc" {
		info, err := os.Stat(file)
		if err != nil {
			v.find(Unreadable, name, "%v", err)
			return nil
		}
		kind = info.Mode().Type()
	}
	listed, known := v.listed[name]
	v.seen[name] = known
	switch {
	case kind.IsDir():
		if known {
			v.find(Changed, name, "it is a directory")
		}
		return v.walk(ctx, name, file)
	case kind == fs.ModeSymlink && !known:
	case !known:
		v.find(Extra, name, "")
	case !kind.IsRegular():
		v.find(Changed, name, "it is no regular file")
	default:
		v.jobs = append(v.jobs, fileJob{listed, file})
	}
	return nil
}
