// Package standby makes a node a standby and a standby a primary, and proves
// what it has replayed. It works on the node it runs on; the program reaches
// other nodes by running itself there.
//
// Terms:
//
//   - to configure: to leave standby.signal (recovery.conf before PostgreSQL
//     12) and the recovery settings durably in PGDATA, so that the server can
//     only start as a standby. That is also how an old primary is fenced off:
//     no service manager can bring it back writable.
//   - shutdown point: the end of the shutdown checkpoint of a cleanly stopped
//     server, the last byte of WAL it wrote.
//   - proof of replay: the server's own word that it replayed an LSN, from SQL
//     or from its control file. What was sent or received proves nothing.
package standby

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
)

// Node is the local node, as a change of state sees it.
type Node struct {
	Name    string
	Server  pgctl.Server
	Archive string
	Trigger string
	// Template is the site's global/recovery.conf; it need not exist.
	Template string
	// Upstream is primary_conninfo for a major version, "" where the node does not
	// stream; Slot is primary_slot_name, "" for none. What the template says of
	// either counts first.
	Upstream func(major int) string
	Slot     string
	// Vars are the placeholders that the template may use.
	Vars map[string]string
	// LocalConf and LocalHBA are the site's saved postgresql.conf of this node
	// and global pg_hba.conf; where they exist they are installed.
	LocalConf string
	LocalHBA  string
	// Rewinding is the file that notes a pg_rewind of the node, "" for none.
	Rewinding string
	// LogFile takes what the server prints before its own logging starts.
	LogFile string
	// Delay is how far the node stays behind on purpose as a standby; 0 is not.
	Delay time.Duration
	// SQL opens a session on the node's server, SQLIn in another database of it.
	SQL   func(context.Context) (*psql.Conn, error)
	SQLIn func(ctx context.Context, database string) (*psql.Conn, error)
	// KeptSQL is a session that whoever gave it closes: a promotion asks several
	// times how far the server is, and for each new session that makes a process.
	KeptSQL func(context.Context) (*psql.Conn, error)
}

// Role is what a data directory makes of its node.
type Role string

// The roles that Inspect tells apart.
const (
	RolePrimary        Role = "primary"         // runs and accepts writes
	RoleStandby        Role = "standby"         // runs in recovery
	RoleStoppedPrimary Role = "stopped primary" // would accept writes if started
	RoleStoppedStandby Role = "stopped standby" // would start in recovery
	RoleEmpty          Role = "empty"           // no data directory yet
)

// State is what one look at the node showed.
type State struct {
	Role    Role `json:"role"`
	Running bool `json:"running"`
	Fenced  bool `json:"fenced"` // standby.signal or recovery.conf is in place
	// Copy: the data directory is a base copy that has not begun to replay. Its
	// control file still tells what the server it was taken from did, also for
	// a moment after it was started.
	Copy bool `json:"copy"`
	// WAL counts the files in the pg_wal of a stopped server.
	WAL     int                 `json:"wal"`
	PGData  string              `json:"pgdata"`
	Control walcore.ControlFile `json:"control"`
}

// Inspect looks at the data directory and at the process that may run on it.
// It asks the server nothing: it works for one that accepts no connections.
func (n Node) Inspect(ctx context.Context) (State, error) {
	state := State{PGData: n.Server.PGData}
	// What is no data directory at all, such as a file, is told from one that
	// is not there yet.
	if _, err := n.Server.Version(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return state, err
	}
	control, err := n.Server.Control()
	if errors.Is(err, fs.ErrNotExist) {
		state.Role = RoleEmpty
		return state, nil
	}
	if err != nil {
		return state, err
	}
	state.Control = control
	status, err := n.Server.Status(ctx)
	if err != nil {
		return state, err
	}
	state.Running = status.Running
	kind, err := walcore.DetectRecovery(n.Server.PGData)
	if err != nil {
		return state, err
	}
	state.Fenced = kind == walcore.RecoveryStandby
	if _, err := os.Stat(filepath.Join(n.Server.PGData, "backup_label")); err == nil {
		state.Copy = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return state, err
	}
	if !state.Running {
		names, err := walNames(walcore.WALDir(n.Server.PGData))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return state, err
		}
		state.WAL = len(names)
	}
	state.Role = roleOf(state)
	return state, nil
}

// WasPrimary reports whether a stopped server last ran as a primary: its WAL
// may then be ahead of every archive. The signal file does not count, for it
// may have been left to fence the server off.
func (s State) WasPrimary() bool {
	if s.Running || s.Role == RoleEmpty || s.Copy && s.Fenced {
		return false
	}
	switch s.Control.State {
	case walcore.StateShutDown, walcore.StateInProduction, walcore.StateShuttingDown, walcore.StateInCrashRecovery:
		return true
	}
	return false
}

func roleOf(s State) Role {
	switch {
	case s.Running && recovering(s):
		return RoleStandby
	case s.Running:
		return RolePrimary
	case s.Fenced:
		return RoleStoppedStandby
	default:
		return RoleStoppedPrimary
	}
}

// recovering reads the control file the way the server writes it: it is in
// archive recovery until a promotion sets "in production" (xlog.c). A server
// that has only begun to start still shows the state it was stopped in; the
// signal file then tells what it is about to become.
func recovering(s State) bool {
	switch s.Control.State {
	case walcore.StateInArchiveRecovery:
		return true
	case walcore.StateInProduction:
		return s.Fenced && s.Copy
	}
	return s.Fenced
}

// hotStandby reports whether the server accepts read-only sessions.
func (n Node) hotStandby(ctx context.Context) (*psql.Conn, bool) {
	conn, err := n.SQL(ctx)
	return conn, err == nil
}

// install copies a saved configuration file over the server's own, where the
// site keeps one.
func install(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) || from == "" {
		return nil
	}
	if err != nil {
		return err
	}
	if err := writeConfig(to, data); err != nil {
		return fmt.Errorf("install %s: %w", filepath.Base(to), err)
	}
	return nil
}
