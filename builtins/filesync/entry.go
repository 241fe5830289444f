package filesync

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Kind is what sort of thing an entry of a tree is.
type Kind uint8

// The kinds of entry. A Special one (socket, pipe, device) is never copied.
const (
	File Kind = iota + 1
	Dir
	Symlink
	Special
)

// Entry is one thing in a tree.
type Entry struct {
	Path    string      `json:"path"` // relative to the root, with slashes; the root is "."
	Kind    Kind        `json:"kind"`
	Mode    fs.FileMode `json:"mode"` // permission bits; of a directory also setgid and sticky
	Size    int64       `json:"size"` // of a File, in bytes
	ModTime time.Time   `json:"mod_time"`
	UID     uint32      `json:"uid"`
	GID     uint32      `json:"gid"`
	User    string      `json:"user"` // empty where the number has no name
	Group   string      `json:"group"`
	Target  string      `json:"target"` // of a Symlink, as it is written in the link
	link    uint64      // not zero for a File with several names; the same for all of them
	fresh   bool        // in the list of a target: as an earlier copy, which this one goes on with, left it
}

// keptModes are the mode bits that are carried over. Set-user-id bits are not:
// a copy must not hand out another node's privileges.
const (
	keptFileModes = fs.ModePerm
	keptDirModes  = fs.ModePerm | fs.ModeSetgid | fs.ModeSticky
)

// newEntry describes what Lstat found, without owner names and link target.
func newEntry(name string, info fs.FileInfo) Entry {
	e := Entry{Path: name, ModTime: info.ModTime()}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		e.Kind, e.Mode, e.Size = File, mode&keptFileModes, info.Size()
	case mode.IsDir():
		e.Kind, e.Mode = Dir, mode&keptDirModes
	case mode&fs.ModeSymlink != 0:
		e.Kind, e.Mode = Symlink, fs.ModePerm
	default:
		e.Kind, e.Mode = Special, mode&fs.ModePerm
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.UID, e.GID = st.Uid, st.Gid
	}
	return e
}

// What a peer may name is bounded; Linux's PATH_MAX is 4096.
const (
	maxPath     = 4096
	maxFileSize = 1 << 50
)

// checkPath refuses a path that a peer sent unless it is in the one form that
// this package writes itself.
func checkPath(p string) error {
	switch {
	case p == "" || len(p) > maxPath:
		return fmt.Errorf("a path of %d bytes is refused", len(p))
	case strings.ContainsRune(p, 0):
		return fmt.Errorf("path %q holds a zero byte", p)
	case path.Clean(p) != p, !filepath.IsLocal(p):
		return fmt.Errorf("path %q leads out of the tree or is not in its shortest form", p)
	}
	return nil
}

// checkEntry refuses an entry from a peer that cannot be right.
func checkEntry(e Entry) error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if e.Kind < File || e.Kind > Special {
		return fmt.Errorf("%q is of an unknown kind %d", e.Path, e.Kind)
	}
	if e.Size < 0 || e.Size > maxFileSize {
		return fmt.Errorf("%q has an impossible size", e.Path)
	}
	if e.Kind == Symlink && (e.Target == "" || len(e.Target) > maxPath || strings.ContainsRune(e.Target, 0)) {
		return fmt.Errorf("%q has an impossible link target", e.Path)
	}
	return nil
}

// cutPath divides a path in its shortest form into its directory and its last
// element, as path.Dir and path.Base do, which look for that form again.
func cutPath(name string) (dir, base string) {
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		return ".", name
	}
	return name[:at], name[at+1:]
}

// joinPath puts together what cutPath divides.
func joinPath(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}
