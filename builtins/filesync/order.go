package filesync

import (
	"cmp"
	"fmt"
)

// comparePaths orders paths as a walk meets them: a directory, then all that is
// in it, then what comes after it by name. That is the order of the bytes, but
// for the slash, which comes first.
func comparePaths(a, b string) int {
	if a == "." || b == "." {
		return cmp.Compare(rank(a), rank(b))
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return cmp.Compare(byteRank(a[i]), byteRank(b[i]))
		}
	}
	return cmp.Compare(len(a), len(b))
}

// rank puts the root before everything in it.
func rank(name string) int {
	if name == "." {
		return 0
	}
	return 1
}

func byteRank(b byte) byte {
	if b == '/' {
		return 0
	}
	return b
}

// listing checks a list that a peer sends entry by entry. One in which an entry
// comes twice, or not in the directory that was listed before it, is refused: a
// peer could otherwise plant a link and then name something behind it.
type listing struct {
	last string
	dirs []string // the directories that the last entry is in, outermost first
}

func (l *listing) check(e Entry) error {
	if l.last == "" {
		if e.Path != "." || e.Kind != Dir {
			return protocolError("the other side's list does not begin with the root")
		}
		l.last, l.dirs = ".", []string{"."}
		return nil
	}
	if comparePaths(l.last, e.Path) >= 0 {
		return fmt.Errorf("the other side listed %q twice, or after %q", e.Path, l.last)
	}
	parent, _ := cutPath(e.Path)
	for len(l.dirs) > 0 && l.dirs[len(l.dirs)-1] != parent {
		l.dirs = l.dirs[:len(l.dirs)-1]
	}
	if len(l.dirs) == 0 {
		return fmt.Errorf("the other side listed %q, which is not in a directory that it listed", e.Path)
	}
	if e.Kind == Dir {
		l.dirs = append(l.dirs, e.Path)
	}
	l.last = e.Path
	return nil
}
