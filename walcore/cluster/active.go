package cluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// ArchivingActive reports whether this node ships its WAL: the file
// local/replication/archiving_active exists.
func (s *Site) ArchivingActive() (bool, error) {
	_, err := os.Stat(s.activeFile())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// SetArchivingActive creates or removes archiving_active, durably. note is the
// file's content, for people.
func (s *Site) SetArchivingActive(active bool, note string) error {
	path := s.activeFile()
	if !active {
		if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return atomicfile.Remove(path)
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(note+"\n"), 0o600)
}

func (s *Site) activeFile() string { return s.Local("replication", "archiving_active") }
