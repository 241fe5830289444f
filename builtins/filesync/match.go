package filesync

import (
	"fmt"
	"path"
	"strings"
)

// Match reports whether a pattern of Options.Exclude or Options.Keep names the
// entry at a path. The rules are a subset of rsync's:
//
//   - A pattern that begins with a slash is compared with the whole path from
//     the root; "/global/pg_control" is that one file.
//   - Any other pattern must hold no slash, except at its end, and is compared
//     with the last element of the path, at any depth.
//   - A slash at the end makes the pattern match directories only.
//   - *, ? and [a-z] match within one element of the path. So "/pg_wal/*"
//     leaves out what is in that directory but not the directory itself.
//
// What is below a matched directory is matched with it; Match itself looks at
// the one path only.
func Match(pattern, name string, isDir bool) bool {
	dirOnly := strings.HasSuffix(pattern, "/")
	if dirOnly && !isDir {
		return false
	}
	pattern = strings.TrimSuffix(pattern, "/")
	if anchored, ok := strings.CutPrefix(pattern, "/"); ok {
		matched, err := path.Match(anchored, name)
		return err == nil && matched
	}
	matched, err := path.Match(pattern, path.Base(name))
	return err == nil && matched
}

// Escape makes a pattern of a name: it matches that name and no other.
func Escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// patterns is a checked list of patterns. Those without wildcards, which are
// most, are looked up and not compared one by one.
type patterns struct {
	whole map[string]bool // anchored names; true: directories only
	last  map[string]bool // names at any depth
	globs []string
}

func newPatterns(list []string) (patterns, error) {
	ps := patterns{whole: map[string]bool{}, last: map[string]bool{}}
	for _, p := range list {
		if err := CheckPattern(p); err != nil {
			return patterns{}, err
		}
		ps.add(p)
	}
	return ps, nil
}

func (ps *patterns) add(p string) {
	name, dirOnly := strings.CutSuffix(p, "/")
	names := ps.last
	if anchored, ok := strings.CutPrefix(name, "/"); ok {
		name, names = anchored, ps.whole
	}
	if strings.ContainsAny(name, `*?[\`) {
		ps.globs = append(ps.globs, p)
		return
	}
	if before, there := names[name]; there {
		dirOnly = dirOnly && before
	}
	names[name] = dirOnly
}

// CheckPattern is an error where a pattern can match nothing, or has no form that
// Match knows.
func CheckPattern(p string) error {
	trimmed := strings.TrimSuffix(p, "/")
	if strings.Trim(trimmed, "/") == "" {
		return fmt.Errorf("pattern %q matches nothing", p)
	}
	if !strings.HasPrefix(trimmed, "/") && strings.Contains(trimmed, "/") {
		return fmt.Errorf("pattern %q holds a slash but does not begin with one: write %q", p, "/"+p)
	}
	if _, err := path.Match(trimmed, "x"); err != nil {
		return fmt.Errorf("pattern %q: %w", p, err)
	}
	return nil
}

// match reports whether any pattern names the entry. The root itself is never
// matched.
func (ps patterns) match(name string, isDir bool) bool {
	if name == "." {
		return false
	}
	if dirOnly, there := ps.whole[name]; there && (isDir || !dirOnly) {
		return true
	}
	if dirOnly, there := ps.last[path.Base(name)]; there && (isDir || !dirOnly) {
		return true
	}
	for _, p := range ps.globs {
		if Match(p, name, isDir) {
			return true
		}
	}
	return false
}

// filter says what is left out: what Keep matches, and what Exclude matches
// and Include does not.
type filter struct {
	lists                  [3][]string
	keep, exclude, include patterns
	links                  bool // whoever lists by the filter shall say which names are of one file
}

func newFilter(keep, exclude, include []string) (f filter, err error) {
	f.lists = [3][]string{keep, exclude, include}
	for i, ps := range []*patterns{&f.keep, &f.exclude, &f.include} {
		if *ps, err = newPatterns(f.lists[i]); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f filter) match(name string, isDir bool) bool {
	return f.keep.match(name, isDir) || f.exclude.match(name, isDir) && !f.include.match(name, isDir)
}

func (f filter) encode() []byte {
	var e encoder
	for _, list := range f.lists {
		e.strings(list)
	}
	return e.bool(f.links).b
}

func decodeFilter(payload []byte) (filter, error) {
	d := decoder{b: payload}
	keep, exclude, include, links := d.strings(), d.strings(), d.strings(), d.bool()
	if err := d.finish(); err != nil {
		return filter{}, err
	}
	f, err := newFilter(keep, exclude, include)
	f.links = links
	return f, err
}
