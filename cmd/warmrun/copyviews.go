package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// view is where a path on a node and the node's own directories are, as they
// are named or as links lead there.
type view struct {
	Path    string `json:"path"`
	PGData  string `json:"pgdata"`
	Archive string `json:"archive"`
	Trigger string `json:"trigger"`
	Home    string `json:"home"`
}

func newView(n cluster.Node, path string) view {
	return view{Path: path, PGData: n.PGData, Archive: n.Archive, Trigger: n.Trigger, Home: n.Home}
}

// views are the two ways to see a path on a node: by the names that are
// configured and by those that the node itself finds behind links. What lies
// within what may show by one of them alone.
func (s *session) views(ctx context.Context, name cluster.NodeName, path string) ([]view, error) {
	node, err := s.site.Node(name)
	if err != nil {
		return nil, err
	}
	found, err := callOn(ctx, s, name, "copy.resolve", pathOption{path}, resolveOnNode)
	return []view{newView(node, path), found}, err
}

// pathOption names a directory by its absolute path.
type pathOption struct {
	Path string `json:"path"`
}

func resolveOnNode(_ context.Context, s *session, o pathOption) (view, error) {
	return newView(s.site.Self, o.Path).resolved()
}

// resolved is the view by names without symbolic links, of this node.
func (v view) resolved() (view, error) {
	var errs []error
	for _, path := range []*string{&v.Path, &v.PGData, &v.Archive, &v.Trigger, &v.Home} {
		if *path == "" {
			continue
		}
		resolved, err := withoutLinks(*path)
		*path = resolved
		errs = append(errs, err)
	}
	return v, errors.Join(errs...)
}

// withoutLinks is a path without symbolic links on this node. What of it is not
// there yet stays as it is named.
func withoutLinks(path string) (string, error) {
	resolved, err := filepath.EvalSymlinks(path)
	parent := filepath.Dir(path)
	if !errors.Is(err, fs.ErrNotExist) || parent == path {
		return resolved, err
	}
	if parent, err = withoutLinks(parent); err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// insidePGDATA lists, as patterns, what of warmrun's own lies in a node's data
// directory, as the archive and the trigger file of a 2warm tree do: no part of
// a base copy.
func insidePGDATA(views ...view) []string {
	var names []string
	for _, v := range views {
		names = slices.Concat(names, below(v.PGData, v.Archive), below(v.PGData, v.Trigger), below(v.PGData, v.Home))
	}
	slices.Sort(names)
	return patternsOf(slices.Compact(names))
}

// within reports whether a path is dir or lies in it, by its name.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// below names a path that lies in root from there on, or nothing.
func below(root, path string) []string {
	if path == "" || path == root || !within(root, path) {
		return nil
	}
	return []string{"/" + filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(path, root), "/"))}
}

// patternsOf makes patterns of names.
func patternsOf(names []string) []string {
	patterns := make([]string, len(names))
	for i, name := range names {
		patterns[i] = filesync.Escape(name)
	}
	return patterns
}
