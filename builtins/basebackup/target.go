package basebackup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/builtins/filesync"
	"github.com/warmrun/warmrun/walcore/hint"
)

// markerFile says that a base copy into the directory was begun and not ended.
// The target has no pg_control then; the marker tells whose it was.
const markerFile = "warmrun_base_copy"

// marker is the content of markerFile.
type marker struct {
	SystemID uint64    `json:"system_identifier,string"`
	Begun    time.Time `json:"begun"`
	ID       string    `json:"id"` // of this copy and no other
}

// harmless are files that may be in a target that holds no data yet: its
// configuration, made before the first copy.
var harmless = []string{
	"/postgresql.conf", "/postgresql.auto.conf", "/postgresql.base.conf", "/pg_hba.conf", "/pg_ident.conf",
	"/conf.d", "/recovery.signal", "/recovery.done",
}

// target is what is in the target's data directory before the copy, without
// what is kept.
type target struct {
	entries map[string]filesync.Entry // of its top level and of pg_tblspc
}

// examineTarget refuses a target that must not be overwritten. It changes
// nothing.
func (c *copier) examineTarget(ctx context.Context) error {
	remote, err := filesync.OpenRemote(ctx, c.Dial, c.TargetPGData, filesync.RemoteOptions{FollowRoot: true})
	if errors.Is(err, fs.ErrNotExist) {
		return c.examineTablespaces(ctx, target{})
	}
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }() // it was only looked at
	if same, err := remote.Is(c.PGData); err != nil || same {
		return errors.Join(err, sameDirectory(c.PGData, same))
	}
	if err := checkStopped(ctx, remote, c.TargetPGData); err != nil {
		return err
	}
	t, err := c.readTarget(ctx, remote)
	if err != nil {
		return err
	}
	if err := c.checkCluster(ctx, remote, t); err != nil {
		return err
	}
	if err := c.examineWAL(ctx, remote); err != nil {
		return err
	}
	return c.examineTablespaces(ctx, t)
}

func sameDirectory(dir string, same bool) error {
	if !same {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s is both the source and the target", dir), "the target must be on another node, or in another directory")
}

// readTarget lists the parts of the target that tell what it is.
func (c *copier) readTarget(ctx context.Context, remote *filesync.Remote) (target, error) {
	left := append(c.keepPatterns(), "/base/*", "/global/*", "/log/*", "/pg_log/*", "/pg_[a-su-z]*/*", "/*/*/*")
	entries, err := remote.List(ctx, left...)
	if err != nil {
		return target{}, err
	}
	t := target{entries: map[string]filesync.Entry{}}
	for _, e := range entries {
		t.entries[e.Path] = e
	}
	return t, nil
}

// checkStopped refuses a directory in which a server runs.
func checkStopped(ctx context.Context, remote *filesync.Remote, dir string) error {
	content, err := remote.ReadFile(ctx, pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, _, _ := bytes.Cut(content, []byte("\n"))
	pid, err := strconv.Atoi(strings.TrimSpace(string(first)))
	if err != nil {
		return hint.Wrap(fmt.Errorf("%s/%s on the target cannot be read: %w", dir, pidFile, err), "if no server runs there, remove the file")
	}
	if pid < 0 { // a standalone backend writes its number negated (miscinit.c)
		pid = -pid
	}
	state, err := remote.Process(ctx, pid)
	if err != nil {
		return err
	}
	if state.Running && (state.Here || state.Unknown) {
		return hint.Wrap(fmt.Errorf("a server runs in %s on the target (process %d)", dir, pid),
			"stop it first; if process %d is something else, remove %s there", pid, pidFile)
	}
	return nil
}

// checkCluster refuses a directory that is neither empty nor of this cluster.
func (c *copier) checkCluster(ctx context.Context, remote *filesync.Remote, t target) error {
	id, of, err := clusterOf(ctx, remote)
	if err != nil {
		return err
	}
	if of != "" {
		if id == c.control.SystemID {
			return nil
		}
		return hint.Wrap(fmt.Errorf("%s on the target belongs to another cluster: its %s has system identifier %d, this cluster has %d",
			c.TargetPGData, of, id, c.control.SystemID), "copy into another directory, or remove that one if nobody needs it any more")
	}
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		if !c.mayStay(t.entries[name]) {
			return hint.Wrap(fmt.Errorf("%s on the target is not empty and no copy of this cluster: it holds %s", c.TargetPGData, name),
				"empty it, or say what is to be kept there")
		}
	}
	return nil
}

// clusterOf is the system identifier that a target has, and the file that
// tells it; no file if none does.
func clusterOf(ctx context.Context, remote *filesync.Remote) (id uint64, of string, err error) {
	m, err := readMarker(ctx, remote)
	if err == nil {
		return m.SystemID, markerFile, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, "", err
	}
	content, err := remote.ReadFile(ctx, controlFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, "", nil
	case err != nil:
		return 0, "", err
	case len(content) < 8:
		return 0, controlFile, nil
	}
	// The identifier comes first in every version (catalog/pg_control.h), in
	// the byte order of the machine, which a physical copy cannot change.
	return binary.NativeEndian.Uint64(content), controlFile, nil
}

// readMarker reads a target's marker. The error is an fs.ErrNotExist if there
// is none.
func readMarker(ctx context.Context, remote *filesync.Remote) (m marker, err error) {
	content, err := remote.ReadFile(ctx, markerFile)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return m, fmt.Errorf("%s on the target: %w", markerFile, err)
	}
	return m, nil
}

// mayStay reports whether an entry may be in a target that holds no data.
func (c *copier) mayStay(e filesync.Entry) bool {
	if e.Path == "." {
		return true
	}
	for _, p := range append(slices.Clone(c.Exclude), harmless...) {
		for name := e.Path; name != "."; name = path.Dir(name) {
			if filesync.Match(p, name, name != e.Path || e.Kind == filesync.Dir) {
				return true
			}
		}
	}
	return false
}

// mark makes the target one that cannot be started, and says what it is. A copy
// that is refused because another one is under way must leave that one's marker.
func (c *copier) mark(ctx context.Context) error {
	remote, err := filesync.OpenRemote(ctx, c.Dial, c.TargetPGData, filesync.RemoteOptions{Create: true, FollowRoot: true, Lock: true})
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }() // what it answered stands
	// Once more: the start of the backup may have taken minutes, and a server
	// may have started there meanwhile.
	if err := checkStopped(ctx, remote, c.TargetPGData); err != nil {
		return err
	}
	c.marked = true
	c.marker = marker{SystemID: c.control.SystemID, Begun: time.Now().UTC().Truncate(time.Second), ID: rand.Text()}
	content, err := json.Marshal(c.marker)
	if err != nil {
		return err
	}
	if err := remote.WriteFile(ctx, markerFile, append(content, '\n'), 0o600); err != nil {
		return err
	}
	if err := remote.Remove(ctx, controlFile, labelFile, mapFile, manifest.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return remote.Sync(ctx)
}

// checkMine refuses to go on in a target in which a server runs, or another
// base copy was begun since it was marked.
func (c *copier) checkMine(ctx context.Context, remote *filesync.Remote) error {
	if err := checkStopped(ctx, remote, c.TargetPGData); err != nil {
		return err
	}
	m, err := readMarker(ctx, remote)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if m.ID != c.marker.ID {
		return hint.Wrap(fmt.Errorf("another base copy into %s was begun while this one was under way", c.TargetPGData),
			"the two may have mixed their files: let no other run, and run the copy again")
	}
	return nil
}
