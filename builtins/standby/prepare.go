package standby

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Preparable reports why the node must not be prepared as a standby: a server
// runs on it, or its data was a primary's and erase does not give it up.
func (n Node) Preparable(ctx context.Context, erase bool) error {
	state, err := n.Inspect(ctx)
	if err != nil {
		return err
	}
	switch {
	case state.Running:
		return hint.Wrap(fmt.Errorf("a %s server is running on %s (%s)", state.Role, n.Name, n.Server.PGData),
			"configStandby clears pg_wal and would destroy it; stop the server first if this node really is to become a standby")
	case (state.Role == RoleStoppedPrimary || state.WasPrimary()) && !erase:
		return hint.Wrap(fmt.Errorf("%s was a primary: its control file says %q, last written %s", n.Server.PGData, state.Control.State, state.Control.ModifiedAt.Format("2006-01-02 15:04:05 MST")),
			"its WAL may hold transactions that no other node has; if they may be given up, repeat with --erase")
	}
	return n.checkWALDir(erase)
}

// checkWALDir refuses to clear WAL through a symbolic link unless told to: the
// link may lead to files that are not this server's.
func (n Node) checkWALDir(erase bool) error {
	for _, name := range []string{"pg_wal", "pg_xlog"} {
		path := filepath.Join(n.Server.PGData, name)
		target, err := os.Readlink(path)
		if err != nil {
			continue // missing, or a plain directory
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(n.Server.PGData, target)
		}
		left, err := walNames(target)
		if errors.Is(err, fs.ErrNotExist) {
			return hint.Wrap(fmt.Errorf("%s is a symbolic link to %s, which does not exist", path, target), "create that directory, owned by the server's user")
		}
		if err != nil {
			return err
		}
		if len(left) > 0 && !erase {
			return hint.Wrap(fmt.Errorf("%s is a symbolic link to %s, which still holds %d WAL files", path, target, len(left)),
				"clear them yourself, or repeat with --erase if they belong to this data directory")
		}
	}
	return nil
}

// Prepared tells what Prepare has made ready.
type Prepared struct {
	PGData  string `json:"pgdata"`
	Archive string `json:"archive"`
}

// Prepare makes the node ready for a base copy: the data directory and the
// archive exist, no trigger is left, pg_wal is empty, and what configuration
// can be there before the copy is there. The link of a symlinked pg_wal stays.
func (n Node) Prepare(ctx context.Context, erase bool) (Prepared, error) {
	if err := n.Preparable(ctx, erase); err != nil {
		return Prepared{}, err
	}
	if err := atomicfile.MkdirAll(n.Server.PGData, 0o700); err != nil {
		return Prepared{}, fmt.Errorf("create the data directory: %w", err)
	}
	if err := n.clearWAL(); err != nil {
		return Prepared{}, err
	}
	if _, err := walcore.CreateArchive(n.Archive); err != nil {
		return Prepared{}, fmt.Errorf("create the archive: %w", err)
	}
	if err := n.ClearTrigger(); err != nil {
		return Prepared{}, err
	}
	if _, err := n.Server.Control(); err == nil {
		if err := n.Configure(ctx); err != nil {
			return Prepared{}, err
		}
	}
	return Prepared{PGData: n.Server.PGData, Archive: n.Archive}, nil
}

func (n Node) clearWAL() error {
	for _, name := range []string{"pg_wal", "pg_xlog"} {
		dir := filepath.Join(n.Server.PGData, name)
		names, err := walNames(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, file := range names {
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				return fmt.Errorf("clear %s: %w", dir, err)
			}
		}
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// walNames lists the WAL files in a directory and the marks in its
// archive_status, relative to it; anything else is not ours to touch.
func walNames(dir string) ([]string, error) {
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if _, err := walcore.ParseFileName(entry.Name()); err == nil && entry.Type().IsRegular() {
			names = append(names, entry.Name())
		}
	}
	marks, err := os.ReadDir(filepath.Join(dir, "archive_status"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range marks {
		base := strings.TrimSuffix(strings.TrimSuffix(entry.Name(), ".ready"), ".done")
		if _, err := walcore.ParseFileName(base); err == nil && base != entry.Name() {
			names = append(names, filepath.Join("archive_status", entry.Name()))
		}
	}
	return names, nil
}

// Receivable reports why a base copy must not be written over this node: a
// server runs on it, it was a primary and its WAL is still there, or a trigger
// file is left that would open the new standby.
func (n Node) Receivable(ctx context.Context) error {
	state, err := n.Inspect(ctx)
	if err != nil {
		return err
	}
	switch {
	case state.Role == RolePrimary:
		return hint.Wrap(fmt.Errorf("%s runs as a primary (%s): a base copy would destroy what it has", n.Name, n.Server.PGData),
			"two nodes accept writes, and only one can stay: decide which, by warmrun status, before anything is stopped")
	case state.Running:
		return hint.Wrap(fmt.Errorf("a %s server is running on %s (%s)", state.Role, n.Name, n.Server.PGData), "stop it and run configStandby on %s first", n.Name)
	case state.WasPrimary() && state.WAL > 0:
		return hint.Wrap(fmt.Errorf("%s on %s was a primary's and still holds %d WAL files", n.Server.PGData, n.Name, state.WAL),
			"they may hold transactions that no other node has; if they may be given up: warmrun configStandby --erase on %s", n.Name)
	}
	if _, err := os.Lstat(n.Trigger); err == nil {
		return hint.Wrap(fmt.Errorf("a trigger file is left on %s (%s): a standby there would open at once", n.Name, n.Trigger), "run configStandby on %s, which removes it", n.Name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
