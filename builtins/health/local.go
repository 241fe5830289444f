package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/packed"
)

// Request says what to look at, on the node that Local runs on.
type Request struct {
	Node   cluster.Node
	Server pgctl.Server
	// Active reports whether archiving_active is there.
	Active func() (bool, error)
	// HalfRewound is why no server may start from the data directory, "" where one
	// may; nil: nobody knows of a rewind.
	HalfRewound func() (string, error)
	// SQL opens a session on the server; nil means to go to its socket as the
	// node's user.
	SQL func(context.Context) (*psql.Conn, error)
	// Program is the version of this program.
	Program string
	// Compress is archive.compress of the site.
	Compress packed.Form
	// Promotion is the last one of this node that was measured; nil is none.
	Promotion *Promotion
	// StopSite finds the last stopSite that was done; nil: nobody knows of runs.
	StopSite func() *EndedRun
	// Unfinished are the runs on this node that somebody has to bring to an end; nil:
	// nobody knows of runs.
	Unfinished func() ([]UnfinishedRun, error)
	// Examine asks for Facts as well; nil does not.
	Examine *Examination
	// Kept looks at the base copies that the node keeps; nil: nobody knows.
	Kept func() (Kept, error)
	// DrillPath is the note of the last drill; empty: there is none.
	DrillPath string
	// Timeout bounds what the server is given to answer; 0 means 5 seconds.
	Timeout time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

const defaultPatience = 5 * time.Second

// Local looks at the node that it runs on. It never fails as a whole.
func Local(ctx context.Context, r Request) NodeStatus {
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Timeout == 0 {
		r.Timeout = defaultPatience
	}
	l := look{Request: r, n: NodeStatus{Node: r.Node.Name, Host: r.Node.Host, Place: r.Node.Role, Program: r.Program, Promotion: r.Promotion, At: r.Now().UTC()}}
	if r.Compress.Packs() {
		l.n.ArchiveCompress = r.Compress
	}
	l.home()
	if l.dataDirectory() {
		l.controlFile()
		l.server(ctx)
		l.halfRewound()
		l.role()
		l.wasPrimary()
		l.pgWAL()
	}
	l.runs()
	l.archive()
	l.positions()
	l.ancestry()
	l.examine(ctx)
	l.keeping()
	l.dropIrrelevant()
	return l.n
}

// dropIrrelevant forgets why something is not known that a node in its role
// does not have.
func (l *look) dropIrrelevant() {
	if l.n.Role != RoleStandby || l.Node.Role == cluster.RoleDR {
		// Only the standby relays. What another node relayed when it was one
		// says nothing of now.
		l.n.Relayed = ""
		delete(l.n.Unknown, "relayed")
	}
	if !l.n.writes() {
		delete(l.n.Unknown, "current_lsn")
		delete(l.n.Unknown, "last_archived")
	}
	if !l.n.follows() && l.n.Role != RoleRecovery {
		delete(l.n.Unknown, "replayed_lsn")
		delete(l.n.Unknown, "replayed_at")
	}
}

// ancestry notes where the node's timeline comes from.
func (l *look) ancestry() {
	if l.control == nil || l.n.Timeline <= 1 {
		return
	}
	history, err := l.history(l.n.Timeline)
	if err != nil {
		l.n.unknown(fmt.Errorf("the history of timeline %d: %w", uint32(l.n.Timeline), err), "history")
		return
	}
	l.n.History = history
}

// look is one look at a node, and what its parts have to know of each other.
type look struct {
	Request
	n       NodeStatus
	status  pgctl.Status
	control *walcore.ControlFile // nil: unknown
	state   *psql.ServerState    // nil: the server did not answer
	kind    walcore.RecoveryKind
	store   *walcore.Archive // nil: unknown, or not there
	wanted  *walcore.Wanted  // nil: nothing is known of what the server asks for
}

func (l *look) home() {
	active, err := l.Active()
	if err != nil {
		l.n.unknown(err, "archiving_active")
	}
	l.n.Archiving = active
}

// dataDirectory finds out whether there is one and whether a server runs on
// it; false means that there is nothing more to look at there.
func (l *look) dataDirectory() bool {
	status, err := l.Server.StatusNow()
	if errors.Is(err, fs.ErrNotExist) && status.Version == 0 {
		l.n.Role = RoleNoData
		if l.Node.Role == cluster.RoleDR {
			l.n.Role = RoleRelay
		}
		return false
	}
	if status.Version != 0 {
		l.n.ServerVersion = status.Version.String()
	}
	if err != nil {
		l.n.Role = RoleUnknown
		l.n.unknown(err, "role", "running")
		return status.Version != 0
	}
	l.status, l.n.Running = status, status.Running
	return true
}

func (l *look) controlFile() {
	control, err := l.Server.Control()
	if err != nil {
		l.n.unknown(err, "control_state", "timeline", "system_identifier")
		return
	}
	l.control = &control
	l.n.SegmentSize = control.SegmentSize
	l.n.ControlState, l.n.SystemID, l.n.Timeline = control.State.String(), control.SystemID, control.Timeline
}

// server asks the server itself.
func (l *look) server(ctx context.Context) {
	if !l.status.Running {
		return
	}
	if l.status.Ready == pgctl.ReadyStandby {
		l.n.unknown(errors.New("hot_standby is off, so the server accepts no connections"), "replayed_at")
		return
	}
	bounded, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	state, err := l.ask(bounded)
	if err != nil {
		l.n.unknown(fmt.Errorf("the server gives no answer: %w", err), "current_lsn", "replayed_lsn", "replayed_at", "last_archived")
		return
	}
	l.state, l.n.Accepting = &state, true
	if state.Version != 0 {
		l.n.ServerVersion = versionText(state.Version)
	}
	if state.Timeline != 0 {
		l.n.Timeline = state.Timeline
	}
	l.n.ReplayedAt, l.n.ArchiveMode = state.ReplayTimestamp, state.ArchiveMode
	l.n.ReplayPaused = state.ReplayPaused
	l.n.LastArchived, l.n.LastArchivedAt = state.LastArchived, state.LastArchivedAt
	l.n.LastFailed, l.n.LastFailedAt = state.LastFailed, state.LastFailedAt
	l.n.StreamedLSN = state.ReceiveLSN
}

func (l *look) ask(ctx context.Context) (psql.ServerState, error) {
	open := l.SQL
	if open == nil {
		open = func(ctx context.Context) (*psql.Conn, error) {
			return psql.Connect(ctx, psql.Target{SocketDir: l.status.SocketDir, Port: l.status.Port, User: l.Node.User, Database: l.Node.Database, ApplicationName: "warmrun status"})
		}
	}
	conn, err := open(ctx)
	if err != nil {
		return psql.ServerState{}, err
	}
	state, err := conn.State(ctx)
	// The answer is here; how the session ends is of no interest.
	_ = conn.Close(ctx)
	return state, err
}

// versionText is a server_version_num for people: 150018 is 15.18, 90624 is
// 9.6.24.
func versionText(number int) string {
	if number >= 100000 {
		return fmt.Sprintf("%d.%d", number/10000, number%10000)
	}
	return fmt.Sprintf("%d.%d.%d", number/10000, number/100%100, number%100)
}

// halfRewound looks for a pg_rewind that has not ended. A server that runs has been
// started since.
func (l *look) halfRewound() {
	if l.HalfRewound == nil || l.status.Running {
		return
	}
	why, err := l.HalfRewound()
	if err != nil {
		l.n.unknown(err, "half_rewound")
	}
	l.n.HalfRewound = why
}

// role says what the node is doing. What the server says counts most, then
// what it wrote into pg_control, then what it is set up for.
func (l *look) role() {
	kind, err := walcore.DetectRecovery(l.Server.PGData)
	if err != nil {
		l.n.Role = RoleUnknown
		l.n.unknown(err, "role")
		return
	}
	l.kind = kind
	if l.n.Role != "" {
		return // unknown, and said why
	}
	if l.status.Running {
		l.n.Role = l.runningRole()
		return
	}
	switch {
	case l.n.HalfRewound != "":
		l.n.Role = RoleHalfRewound // whatever signal file is left or missing
	case kind == walcore.RecoveryNone:
		l.n.Role = RoleStoppedPrimary
	case l.Node.Role == cluster.RoleDR:
		l.n.Role = RoleRelay
	case kind == walcore.RecoveryOther:
		l.n.Role = RoleStoppedRecovery
	default:
		l.n.Role = RoleStoppedStandby
	}
}

func (l *look) runningRole() Role {
	recovering := l.kind != walcore.RecoveryNone
	switch {
	case l.state != nil:
		recovering = l.state.InRecovery
	case l.status.Ready == pgctl.ReadyStandby:
		recovering = true
	case l.status.Ready == pgctl.ReadyStarting:
		// Until it has begun, pg_control still shows how it was stopped, or in
		// a fresh copy that of the primary.
	case l.control != nil && l.control.State == walcore.StateInProduction:
		recovering = false
	case l.control != nil && l.control.State == walcore.StateInArchiveRecovery:
		recovering = true
	}
	switch {
	case !recovering:
		return RolePrimary
	case l.kind == walcore.RecoveryOther:
		return RoleRecovery
	}
	return RoleStandby
}

// pgWAL counts what waits to be archived.
func (l *look) pgWAL() {
	dir := filepath.Join(walcore.WALDir(l.Server.PGData), "archive_status")
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.n.unknown(err, "backlog")
		return
	}
	done, doneAt := "", time.Time{}
	for _, entry := range entries {
		mark := filepath.Ext(entry.Name())
		name := strings.TrimSuffix(entry.Name(), mark)
		file, err := walcore.ParseFileName(name)
		switch {
		case err != nil:
		case mark == ".ready":
			l.n.Backlog++
		case mark == ".done" && file.Kind() == walcore.KindSegment:
			if name > done {
				if info, err := entry.Info(); err == nil {
					done, doneAt = name, info.ModTime().UTC()
				}
			}
		}
	}
	if done != "" && l.control != nil && l.n.writes() {
		// The mark was made as .ready when the segment was full, and renamed.
		l.n.ArchivedTo, l.n.ArchivedUntil = walcore.SegmentName(done).End(l.control.SegmentSize), doneAt
	}
	switch {
	case l.state != nil || !l.n.writes():
	case done != "":
		l.n.LastArchived = done
		delete(l.n.Unknown, "last_archived")
	default:
		l.n.unknown(errors.New("no mark of it is left in pg_wal, and only a running server remembers"), "last_archived")
	}
}
