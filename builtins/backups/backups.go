// Package backups keeps base copies on a node: a directory for each, with what
// is known of it, the retention, and the pins that keep the WAL which they need
// in the node's archive.
//
// Terms:
//
//   - base copy: what basebackup.Copy makes. Here each has a directory of its
//     own, named by its ID, with data/ (the data directory), tablespaces/ and
//     backup.json.
//   - complete: the copy was made to its end, and the archive has had all WAL
//     from its start to its end.
//   - good: complete, and not found damaged when it was last verified.
//   - pin: see walcore.Archive.Pin. Each copy has one, from before its first byte
//     is copied until it is removed.
package backups

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Names in the directory of a copy.
const (
	noteFile       = "backup.json"
	dataDir        = "data"
	tablespacesDir = "tablespaces"
)

// idFormat is how an ID is made of the time at which a copy begins, so that
// names sort by age.
const idFormat = "20060102T150405"

// Copy is what is known of one base copy.
type Copy struct {
	ID       string `json:"id"`
	Dir      string `json:"dir"`
	Source   string `json:"source"` // the node that it was taken from
	Version  int    `json:"server_version,omitempty"`
	SystemID uint64 `json:"system_identifier,string,omitempty"`
	// Begun is by the clock of this node, Finished by that of the source, as
	// the times of transactions are. Finished is zero in a copy that is not
	// complete.
	Begun        time.Time           `json:"begun"`
	Finished     time.Time           `json:"finished,omitzero"`
	StartLSN     walcore.LSN         `json:"start_lsn"`
	StopLSN      walcore.LSN         `json:"stop_lsn"`
	StartSegment walcore.SegmentName `json:"start_segment,omitempty"`
	StopSegment  walcore.SegmentName `json:"stop_segment,omitempty"`
	Timeline     walcore.Timeline    `json:"timeline,omitempty"`
	Bytes        int64               `json:"bytes,omitempty"`
	// Seed is the copy that this one began with, of which only what had changed
	// was sent.
	Seed string `json:"seed,omitempty"`
	// Verified is when it was last compared with its manifest, Damaged what was
	// wrong then.
	Verified time.Time `json:"verified,omitzero"`
	Damaged  string    `json:"damaged,omitempty"`
}

// Complete reports whether the copy was made to its end.
func (c Copy) Complete() bool { return !c.Finished.IsZero() }

// Good reports whether the copy can be restored from, as far as is known.
func (c Copy) Good() bool { return c.Complete() && c.Damaged == "" }

// PGData is the data directory of the copy.
func (c Copy) PGData() string { return filepath.Join(c.Dir, dataDir) }

// Tablespace is where the copy has a tablespace.
func (c Copy) Tablespace(oid string) string { return filepath.Join(c.Dir, tablespacesDir, oid) }

// Store is the directory of a node in which copies are kept, and the archive
// that has their WAL.
type Store struct {
	Dir     string
	Archive string
}

// ErrNoCopy says that there is no such copy.
var ErrNoCopy = errors.New("there is no such base copy")

// List is all copies, also those that are not complete, oldest first. A
// directory that is not there holds none.
func (s Store) List() ([]Copy, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("which base copies are kept: %w", err)
	}
	var copies []Copy
	for _, entry := range entries {
		if !entry.IsDir() || !validID(entry.Name()) {
			continue
		}
		c, err := s.Find(entry.Name())
		if errors.Is(err, ErrNoCopy) {
			// Its note was removed first: the rest of a removal.
			c, err = Copy{ID: entry.Name(), Dir: filepath.Join(s.Dir, entry.Name())}, nil
		}
		if err != nil {
			return nil, err
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// Find is the copy of an ID.
func (s Store) Find(id string) (Copy, error) {
	if !validID(id) {
		return Copy{}, hint.Wrap(fmt.Errorf("%q is not the ID of a base copy", id), "warmrun backups list shows them")
	}
	dir := filepath.Join(s.Dir, id)
	path := filepath.Join(dir, noteFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Copy{}, hint.Wrap(fmt.Errorf("%w: %s", ErrNoCopy, dir), "warmrun backups list shows them")
	}
	if err != nil {
		return Copy{}, err
	}
	var c Copy
	if err := json.Unmarshal(data, &c); err != nil {
		return Copy{}, hint.Wrap(fmt.Errorf("%s cannot be understood: %w", path, err), "without it the copy cannot be used; remove %s if it is not needed", dir)
	}
	c.ID, c.Dir = id, dir
	return c, nil
}

// Good is all copies that can be restored from, oldest first.
func (s Store) Good() ([]Copy, error) {
	copies, err := s.List()
	return slices.DeleteFunc(copies, func(c Copy) bool { return !c.Good() }), err
}

// validID keeps names of other things away from the file system.
func validID(id string) bool {
	_, err := time.Parse(idFormat, id[:min(len(id), len(idFormat))])
	return err == nil && strings.Trim(id[len(idFormat):], "-0123456789") == ""
}

// Save writes what is known of a copy, durably.
func (s Store) Save(c Copy) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(c.Dir, noteFile), append(data, '\n'), 0o600)
}

// pinName is the name of a copy's pin.
func pinName(id string) string { return "copy-" + id }

func (s Store) archive() (*walcore.Archive, error) { return walcore.OpenArchive(s.Archive) }
