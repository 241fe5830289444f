package walcore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// pinDir is the directory with one small file for each base copy that is kept
// on this node: it names the segment from which on the copy needs all WAL.
const pinDir = "pins"

// pin is the content of such a file.
type pin struct {
	Segment SegmentName `json:"segment"`
}

// Pin keeps cleanup from removing any WAL from a segment on, of whatever
// timeline, until Unpin is called with the same name. It is durable when it
// returns. A name that is pinned already is pinned anew.
func (a *Archive) Pin(name string, from SegmentName) error {
	if _, err := ParseSegmentName(string(from)); err != nil {
		return err
	}
	path, err := a.pinFile(name)
	if err != nil {
		return err
	}
	if err := a.prepare(); err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(a.state(pinDir), 0o700); err != nil {
		return err
	}
	return writeState(path, pin{Segment: from})
}

// Unpin takes a pin back, durably. One that is not there is no error.
func (a *Archive) Unpin(name string) error {
	path, err := a.pinFile(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(a.state(pinDir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return atomicfile.Remove(path)
}

func (a *Archive) pinFile(name string) (string, error) {
	if name == "" || strings.HasPrefix(name, ".") || name != filepath.Base(name) {
		return "", fmt.Errorf("%q is no name for a pin", name)
	}
	return a.state(pinDir, name), nil
}

// Pins are the segments that are pinned, by the names they are pinned under. A
// pin that cannot be read is an error, and then nothing may be removed.
func (a *Archive) Pins() (map[string]SegmentName, error) {
	entries, err := os.ReadDir(a.state(pinDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("what WAL kept base copies need: %w", err)
	}
	pins := map[string]SegmentName{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue // one that is being written
		}
		var p pin
		path := a.state(pinDir, entry.Name())
		found, err := readState(path, &p)
		if err == nil && found {
			_, err = ParseSegmentName(string(p.Segment))
		}
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("what WAL the base copy %s needs: %w", entry.Name(), err), "if there is no such copy, remove %s", path)
		}
		if found {
			pins[entry.Name()] = p.Segment
		}
	}
	return pins, nil
}

// pinnedFrom is the position of the first segment that is pinned; empty where
// none is.
func (r *restoring) pinnedFrom() (position string, err error) {
	pins, err := (&Archive{dir: r.Archive}).Pins()
	for _, segment := range pins {
		if position == "" || segment.Position() < position {
			position = segment.Position()
		}
	}
	return position, err
}
