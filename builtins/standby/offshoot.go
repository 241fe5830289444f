package standby

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
)

// Offshoot is a timeline that left another one: some server was promoted there.
type Offshoot struct {
	Timeline walcore.Timeline `json:"timeline"`
	// LSN is where it left the timeline asked for.
	LSN walcore.LSN `json:"lsn"`
	// Path is the history file that says so, on the node it was found on.
	Path string `json:"path"`
}

// Offshoots lists the timelines that left the one given, by the history files
// in this node's pg_wal and archive. A node without a data directory or an
// archive knows of none there.
func (n Node) Offshoots(of walcore.Timeline) ([]Offshoot, error) {
	found := []Offshoot{}
	seen := map[walcore.Timeline]bool{}
	for _, dir := range []string{walcore.WALDir(n.Server.PGData), n.Archive} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			name, err := walcore.ParseFileName(entry.Name())
			if err != nil || name.Kind() != walcore.KindHistory || name.Timeline() <= of || seen[name.Timeline()] {
				continue
			}
			path := filepath.Join(dir, entry.Name())
			fork, left, err := forkIn(path, name.Timeline(), of)
			if err != nil {
				return nil, err
			}
			if left {
				seen[name.Timeline()] = true
				found = append(found, Offshoot{Timeline: name.Timeline(), LSN: fork, Path: path})
			}
		}
	}
	return found, nil
}

func forkIn(path string, timeline, parent walcore.Timeline) (walcore.LSN, bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	history, err := walcore.ParseHistory(f, timeline)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, false, fmt.Errorf("read %s: %w", path, err)
	}
	fork, left := history.Fork(parent)
	return fork, left, nil
}
