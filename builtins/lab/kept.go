package lab

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/warmrun/warmrun/builtins/pgctl"
)

// keptDir holds the nodes as they were kept, below the lab's directory.
const keptDir = "kept"

// Kept is the state of a lab's nodes that Restore comes back to.
type Kept struct {
	running []Node
}

// Keep stops the servers cleanly, ends the lab's other programs, and copies all
// nodes aside. The servers stay stopped: Restore starts those that ran.
func (l *Lab) Keep(ctx context.Context) (Kept, error) {
	var k Kept
	for _, n := range l.Nodes {
		if !n.Running() {
			continue
		}
		k.running = append(k.running, n)
		if err := l.program(ctx, n, "pg_ctl", "-D", n.PGData, "-w", "-t", "60", "-m", "fast", "stop"); err != nil {
			return k, err
		}
	}
	if err := l.quiet(ctx); err != nil {
		return k, err
	}
	return k, l.eachNode(func(n Node) error { return mirror(n.Dir, l.kept(n)) })
}

// Restore brings all nodes back to what was kept, whatever runs on them, and
// starts the servers that ran. Only files that have changed are copied.
func (l *Lab) Restore(ctx context.Context, k Kept) error {
	if err := l.quiet(ctx); err != nil {
		return err
	}
	if err := l.eachNode(func(n Node) error { return mirror(l.kept(n), n.Dir) }); err != nil {
		return err
	}
	return l.eachNode(func(n Node) error {
		for _, was := range k.running {
			if was.Name == n.Name {
				return l.StartServer(ctx, n)
			}
		}
		return nil
	})
}

func (l *Lab) kept(n Node) string { return filepath.Join(l.Dir, keptDir, n.Name) }

// quiet ends every server of the lab at once, and everything else that runs from
// its directory.
func (l *Lab) quiet(ctx context.Context) error {
	for _, server := range l.servers {
		server.Drop()
	}
	isServer := func(p running) bool { return p.isServerBelow(l.PGBin, l.Dir) }
	servers, err := find(isServer)
	if err != nil {
		return err
	}
	ours := func(p running) bool { return p.runsFrom(l.Dir) }
	if err := errors.Join(end(ctx, isServer, syscall.SIGQUIT), end(ctx, ours, syscall.SIGKILL)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	return waitReaped(ctx, servers)
}

func (l *Lab) eachNode(do func(Node) error) error {
	errs := make([]error, len(l.Nodes))
	var group sync.WaitGroup
	for i, n := range l.Nodes {
		group.Go(func() { errs[i] = do(n) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// mirror makes one tree like another, where no server runs. A file that has the
// same size, time and mode is taken to be the same; sockets are left out, and the
// files that lock a server's directories: their process number may be another
// process's by now, which would keep the server from starting.
func mirror(from, to string) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if isLock(entry) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, path[len(from):])
		if same(info, target) {
			return nil
		}
		return copyEntry(path, target, info)
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := os.Lstat(filepath.Join(from, path[len(to):])); !errors.Is(err, fs.ErrNotExist) && entry.Type() != fs.ModeSocket && !isLock(entry) {
			return err
		}
		if err := os.RemoveAll(path); err != nil || !entry.IsDir() {
			return err
		}
		return filepath.SkipDir
	})
}

// isLock reports whether a server that runs holds its data directory or its socket
// by this file.
func isLock(entry fs.DirEntry) bool {
	name := entry.Name()
	return entry.Type().IsRegular() &&
		(name == "postmaster.pid" || strings.HasPrefix(name, ".s.PGSQL.") && strings.HasSuffix(name, ".lock"))
}

// same reports whether the target needs no copy.
func same(want fs.FileInfo, target string) bool {
	got, err := os.Lstat(target)
	if err != nil || got.Mode() != want.Mode() {
		return false
	}
	return want.IsDir() || want.Mode().IsRegular() && got.Size() == want.Size() && got.ModTime().Equal(want.ModTime())
}

func copyEntry(path, target string, info fs.FileInfo) error {
	if old, err := os.Lstat(target); err == nil && old.Mode().Type() != info.Mode().Type() {
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.Join(os.MkdirAll(target, 0o700), os.Chmod(target, mode.Perm()))
	case mode.IsRegular():
		return errors.Join(copyFile(path, target, mode.Perm()), os.Chmod(target, mode.Perm()), os.Chtimes(target, info.ModTime(), info.ModTime()))
	case mode.Type() == fs.ModeSymlink:
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Symlink(to, target)
	}
	return nil // a socket
}

// Running reports whether a server runs in the node's data directory.
func (n Node) Running() bool {
	status, err := pgctl.Server{PGData: n.PGData}.StatusNow()
	return err == nil && status.Running
}
