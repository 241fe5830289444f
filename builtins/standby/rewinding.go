package standby

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// barred is the bit in the mode of a data directory with which no server starts in
// it, of any version (checkDataDir in miscinit.c, in postmaster.c before 11). Others
// can do nothing with it: the files below are the owner's.
const barred fs.FileMode = 0o001

// rewinding is the note of a pg_rewind that has begun.
type rewinding struct {
	Mode  fs.FileMode `json:"mode"` // of the data directory, before it was barred
	Began time.Time   `json:"began"`
}

// BeginRewind notes, durably, that the data directory is about to be half of one
// server and half of another, and sees to it that no server starts in it until
// EndRewind: pg_rewind removes the signal file on its way, and a service manager
// would have a primary.
func (n Node) BeginRewind() error {
	info, err := os.Stat(n.Server.PGData)
	if err != nil {
		return err
	}
	note, begun, err := n.rewinding()
	if err != nil {
		return err
	}
	if !begun {
		note = rewinding{Mode: info.Mode().Perm(), Began: time.Now().UTC()}
		text, err := json.Marshal(note)
		if err != nil {
			return err
		}
		if err := atomicfile.WriteFile(n.Rewinding, append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	return n.setMode(note.Mode | barred)
}

// EndRewind lets servers start again: the data directory is whole, and has its signal
// file, or is another one.
func (n Node) EndRewind() error {
	note, begun, err := n.rewinding()
	if err != nil || !begun {
		return err
	}
	if err := n.setMode(note.Mode); err != nil {
		return err
	}
	return atomicfile.Remove(n.Rewinding)
}

// HalfRewound is why no server may start from the data directory; "" where one may.
func (n Node) HalfRewound() (why string, err error) {
	note, begun, err := n.rewinding()
	if err != nil || !begun {
		return "", err
	}
	return fmt.Sprintf("a pg_rewind of %s that began at %s has not ended: its data directory may be half rewound", n.Name, note.Began.Format("2006-01-02 15:04:05 UTC")), nil
}

func (n Node) rewinding() (note rewinding, begun bool, err error) {
	text, err := os.ReadFile(n.Rewinding)
	if n.Rewinding == "" || errors.Is(err, fs.ErrNotExist) {
		return note, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &note)
	}
	if err != nil {
		return note, false, fmt.Errorf("the note of a pg_rewind, %s: %w", n.Rewinding, err)
	}
	return note, true, nil
}

// setMode is durable.
func (n Node) setMode(mode fs.FileMode) error {
	if err := os.Chmod(n.Server.PGData, mode); err != nil {
		return err
	}
	return atomicfile.SyncDir(n.Server.PGData)
}
