package walcore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// stateDir holds everything in an archive that is not WAL.
const stateDir = ".warmrun"

func (a *Archive) state(elem ...string) string {
	return filepath.Join(append([]string{a.dir, stateDir}, elem...)...)
}

// prepare makes the directories that the archive's state lies in. The archive
// itself must be there: a file system that is not mounted must not be papered
// over with an empty directory.
func (a *Archive) prepare() error {
	if err := a.present(); err != nil {
		return err
	}
	for _, dir := range []string{"", "tmp", "provisional", "wanted", backupNotes} {
		err := os.Mkdir(a.state(dir), 0o700)
		if err == nil {
			err = atomicfile.SyncDir(filepath.Dir(a.state(dir)))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("prepare archive %s: %w", a.dir, err)
		}
	}
	return nil
}

// readState reads a JSON file of the archive's state; false when there is
// none.
func readState(path string, into any) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("%s cannot be understood: %w", path, err)
	}
	return true, nil
}

// writeState replaces a JSON file of the archive's state, durably.
func writeState(path string, from any) error {
	data, err := json.MarshalIndent(from, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(data, '\n'), 0o600)
}
