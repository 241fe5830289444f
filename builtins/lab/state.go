package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/warmrun/warmrun/walcore/procstat"

	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/hint"
)

// The states of a lab as lab.json has them.
const (
	stateStarting = "starting"
	stateReady    = "ready"
)

// State is DIR/lab.json: what another process must know of a lab.
type State struct {
	State   string  `json:"state"` // starting or ready
	Dir     string  `json:"dir"`
	User    string  `json:"user"`
	Version string  `json:"version"` // of PostgreSQL
	PGBin   string  `json:"pg_bin"`
	Process Process `json:"process"` // holds the ssh servers
	Nodes   []Node  `json:"nodes"`
}

// Process names one process for good: process ids are used again, so its start
// and the boot that it belongs to are part of the name.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // field 22 of /proc/PID/stat: clock ticks after boot
	Boot  string `json:"boot"`
}

func stateFile(dir string) string { return filepath.Join(dir, "lab.json") }

// Of is the directory of the lab that a home is part of, if it is one of a lab's
// nodes.
func Of(home string) (dir string, ok bool) {
	dir = filepath.Dir(filepath.Dir(filepath.Clean(home)))
	_, err := os.Stat(stateFile(dir))
	return dir, err == nil
}

func (l *Lab) writeState(state string) error {
	self, err := processOf(os.Getpid())
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(State{
		State: state, Dir: l.Dir, User: l.User, Version: l.Version.String(), PGBin: l.PGBin, Process: self, Nodes: l.Nodes,
	}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(stateFile(l.Dir), append(data, '\n'), 0o600)
}

func readState(dir string) (State, error) {
	data, err := os.ReadFile(stateFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, hint.Wrap(fmt.Errorf("there is no lab in %s: %w", dir, err), "warmrun lab up makes one; --dir names one elsewhere")
	}
	if err != nil {
		return State{}, err
	}
	var s State
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return State{}, fmt.Errorf("%s: %w", stateFile(dir), err)
	}
	if s.Dir != dir {
		return State{}, fmt.Errorf("%s belongs to a lab in %q, not in %s", stateFile(dir), s.Dir, dir)
	}
	return s, nil
}

// processOf reads what names a running process.
func processOf(pid int) (Process, error) {
	p, err := procstat.Read(procstat.Root, pid)
	if err != nil {
		return Process{}, err
	}
	return named(p)
}

// named is what tells a process from every other one.
func named(p procstat.Process) (Process, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return Process{PID: p.PID, Start: p.StartTicks, Boot: strings.TrimSpace(string(boot))}, err
}

// find returns a handle of the process, or nil when it is gone. The handle is
// taken first and compared afterwards, so that it cannot be another one's.
func (p Process) find() (*os.Process, error) {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return nil, err
	}
	now, err := processOf(p.PID)
	// A process that ends while its file is read is ESRCH (proc(5)).
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || err == nil && now != p {
		return nil, handle.Release()
	}
	if err != nil {
		return nil, errors.Join(err, handle.Release())
	}
	return handle, nil
}
