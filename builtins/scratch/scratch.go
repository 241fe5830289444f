// Package scratch makes and runs servers from kept base copies, beside whatever
// else runs on a node and without disturbing it: to look at the past, to prove
// that a recovery works, or to recover to a point in time for good.
//
// Terms:
//
//   - scratch server: a server in a directory of its own, with data/,
//     tablespaces/, its log and its socket in it. It listens on that socket only,
//     unless asked to, archives nothing, follows nobody, and takes nothing out of
//     the archive.
//   - peek: one that has paused its recovery, and is read-only.
//   - left over: a scratch server whose maker was killed before it was done with
//     it. The next one of its kind removes it.
package scratch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// Kind is what a scratch server is for.
type Kind string

// The kinds of scratch servers.
const (
	Restore Kind = "restore" // it stays, as an ordinary server
	Peek    Kind = "peek"    // it stays until it is closed
	Drill   Kind = "drill"   // it ends with the drill
)

const noteFile = "scratch.json"

// Server is one scratch server, as its note has it.
type Server struct {
	ID     string `json:"id"`
	Dir    string `json:"dir"`
	Kind   Kind   `json:"kind"`
	Backup string `json:"backup"`
	// Target is where it was to stop, in words.
	Target    string           `json:"target"`
	Timeline  walcore.Timeline `json:"timeline"`
	StopLSN   walcore.LSN      `json:"stop_lsn"` // of the base copy
	Port      int              `json:"port"`
	SocketDir string           `json:"socket_dir"`
	BinDir    string           `json:"bin_dir,omitempty"`
	Begun     time.Time        `json:"begun"`
	// Stays: it is there to be used, and not left over.
	Stays bool `json:"stays"`
}

// PGData is its data directory.
func (s Server) PGData() string { return filepath.Join(s.Dir, "data") }

// Log is where it logs to.
func (s Server) Log() string { return filepath.Join(s.Dir, "server.log") }

func (s Server) control() pgctl.Server {
	return pgctl.Server{PGData: s.PGData(), BinDir: s.BinDir, ConfigFile: filepath.Join(s.PGData(), "postgresql.conf"), Port: s.Port}
}

// Connection is how psql reaches it.
func (s Server) Connection() string { return fmt.Sprintf("psql -h %s -p %d", s.SocketDir, s.Port) }

// Session is how a session reaches it.
func (s Server) Session(user, database string) psql.Target {
	return psql.Target{SocketDir: s.SocketDir, Port: s.Port, User: user, Database: database}
}

// save writes the note, durably.
func (s Server) save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(s.Dir, noteFile), append(data, '\n'), 0o600)
}

// Open reads the note of the scratch server in a directory.
func Open(dir string) (Server, error) {
	var s Server
	path := filepath.Join(dir, noteFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, hint.Wrap(fmt.Errorf("there is no scratch server in %s: %w", dir, err), "warmrun peek list shows those that are open")
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s cannot be understood: %w", path, err)
	}
	s.Dir = dir
	return s, nil
}

// List is the scratch servers below a directory, oldest first, also those of
// which there is no more than the directory.
func List(below string) ([]Server, error) {
	entries, err := os.ReadDir(below)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Server
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		dir := filepath.Join(below, entry.Name())
		s, err := Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			s, err = Server{ID: entry.Name(), Dir: dir}, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
