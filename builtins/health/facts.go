package health

import (
	"context"
	"time"

	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// Facts is what a status does not need, and a check of everything does. Slices
// and maps are empty where nothing was found or nothing could be asked; the
// reason is then in NodeStatus.Unknown under the field's name.
type Facts struct {
	// Began is the node's clock when the look began; NodeStatus.At when it ended.
	Began time.Time `json:"began"`
	// Asks: this is the node that asked all the others.
	Asks bool `json:"asks,omitempty"`
	// AheadLeast and AheadMost bound, in seconds, how far its clock is ahead of
	// the clock of the node that asked, by the times at which the question went out
	// and the answer came.
	AheadLeast float64 `json:"clock_ahead_at_least"`
	AheadMost  float64 `json:"clock_ahead_at_most"`

	// Settings are those in use where the server answers, else those of its
	// configuration files; FromFiles tells the latter. Next holds the ones that
	// another start would change.
	Settings  map[string]string `json:"settings,omitempty"`
	FromFiles bool              `json:"from_files,omitempty"`
	Next      map[string]string `json:"settings_after_restart,omitempty"`
	// ArchiveCommand and RestoreCommand are what this program would write.
	ArchiveCommand string `json:"archive_command_wanted,omitempty"`
	RestoreCommand string `json:"restore_command_wanted,omitempty"`
	// Signal: standby.signal or recovery.conf is in place.
	Signal bool `json:"standby_signal"`

	// Stamp is the archive's; zero for an archive without one. Gaps are the
	// holes behind what the node needs next, from GapsFrom on.
	Stamp       walcore.Stamp       `json:"stamp,omitzero"`
	Gaps        []walcore.Gap       `json:"gaps,omitempty"`
	GapsFrom    walcore.SegmentName `json:"gaps_from,omitempty"`
	WantHistory walcore.Timeline    `json:"want_history,omitempty"`
	// LastFileAt is when the newest file came into the archive.
	LastFileAt time.Time `json:"last_file_at,omitzero"`
	// KeepBackups is how many base copies keep their WAL here.
	KeepBackups int     `json:"keep_backups,omitempty"`
	Backup      *Backup `json:"last_backup,omitempty"`
	// FreshCopy: the data directory is a base copy with its manifest, from which
	// no server was started yet. CopyState is what came of comparing the two,
	// where that was asked for: empty is not compared.
	FreshCopy bool      `json:"fresh_copy,omitempty"`
	CopyState CopyState `json:"copy_state,omitempty"`
	CopyWrong string    `json:"copy_wrong,omitempty"` // what was found

	// WALRate is how many bytes of WAL a second were written since the last
	// checkpoint; 0 where that is too short ago to tell.
	WALRate float64 `json:"wal_rate,omitempty"`
	Disks   []Disk  `json:"disks,omitempty"`

	Prepared     []Prepared         `json:"prepared_transactions,omitempty"`
	Backups      int                `json:"running_backups,omitempty"`
	LogicalSlots []psql.LogicalSlot `json:"logical_slots,omitempty"`
	// StartupWait is what the startup process of a hot standby waits for (10 and
	// later), Oldest the longest transaction there.
	StartupWait string     `json:"startup_wait,omitempty"`
	Oldest      *OpenQuery `json:"oldest_query,omitempty"`

	// Libc is the C library's version; Collations those that a newer or older
	// library sorts otherwise than the data was sorted with, Closed the databases
	// that the server cannot open here, each with its reason.
	Libc       string   `json:"libc,omitempty"`
	Collations []string `json:"collations,omitempty"`
	Closed     []string `json:"closed_databases,omitempty"`
	// Libraries are the modules that lie in LibDir, without ".so"; Loads those
	// that functions in the databases are from.
	LibDir    string   `json:"lib_dir,omitempty"`
	Libraries []string `json:"libraries,omitempty"`
	Loads     []string `json:"loads,omitempty"`

	// Unit starts the server, and Restart is when it does so by itself.
	Unit    string `json:"unit,omitempty"`
	Restart string `json:"restart,omitempty"`
	// Start is the command that starts the server.
	Start string `json:"start,omitempty"`
	// DataMode is the mode of PGDATA in octal.
	DataMode string `json:"data_mode,omitempty"`

	// Trigger is what the trigger file or pg_ctl's promote file asks for, and
	// TriggerFile which of them it is.
	Trigger     string `json:"trigger,omitempty"`
	TriggerFile string `json:"trigger_file,omitempty"`
	// Said is the last complaint of this program in the server's log, with its
	// hint, where nothing has gone well since; Fatal the server's own last one.
	Said     string `json:"said,omitempty"`
	SaidHint string `json:"said_hint,omitempty"`
	Fatal    string `json:"fatal,omitempty"`
	Log      string `json:"log,omitempty"` // where the server's log is

	Links []Link `json:"links,omitempty"`
	// Secrets are the files that the site's runbooks and extensions read secrets from.
	Secrets []Secret `json:"secrets,omitempty"`
}

// Disk is a file system that the node needs room on.
type Disk struct {
	What string `json:"what"` // "data", "wal" or "archive"
	Path string `json:"path"`
	Free uint64 `json:"free"` // bytes that an ordinary user can still write
	Size uint64 `json:"size"`
}

// Prepared is a transaction that waits for its second phase.
type Prepared struct {
	Name    string  `json:"gid"`
	Seconds float64 `json:"seconds"`
}

// OpenQuery is a session on a standby whose snapshot replay may wait for.
type OpenQuery struct {
	PID     int64   `json:"pid"`
	User    string  `json:"user"`
	Seconds float64 `json:"seconds"`
}

// Backup is the newest base copy that an archive knows of.
type Backup struct {
	File  walcore.FileName `json:"file"`
	At    time.Time        `json:"at"` // when its .backup file came
	Label string           `json:"label,omitempty"`
	// Missing is the first segment that recovery from it lacks here.
	Missing walcore.SegmentName `json:"missing,omitempty"`
}

// CopyState is what comparing a base copy with its manifest has shown.
type CopyState string

// What a comparison can show.
const (
	CopyWhole   CopyState = "whole"
	CopyDamaged CopyState = "damaged"
)

// Link is the way that WAL takes from a node to another: ssh, and the agent at
// its other end.
type Link struct {
	To    cluster.NodeName `json:"to"`
	Error string           `json:"error,omitempty"`
	Hint  string           `json:"hint,omitempty"`
}

// Examination is what Local needs to know besides to find out Facts.
type Examination struct {
	// ArchiveCommand and RestoreCommand are those that this program would write.
	ArchiveCommand, RestoreCommand string
	// SQLIn opens a session in another database of the server.
	SQLIn func(ctx context.Context, database string) (*psql.Conn, error)
	// Links tries the way to every other node.
	Links func(context.Context) []Link
	// Secrets tries to read those of the site's runbooks; nil: there are none.
	Secrets func(context.Context) ([]Secret, error)
	// KeepBackups is archive.keep_backups of the site.
	KeepBackups int
	// LogFile is where a server prints before its own logging begins.
	LogFile string
}

// examine finds out the facts.
func (l *look) examine(ctx context.Context) {
	x := l.Examine
	if x == nil {
		return
	}
	l.n.Facts = &Facts{Began: l.n.At, ArchiveCommand: x.ArchiveCommand, RestoreCommand: x.RestoreCommand, KeepBackups: x.KeepBackups, Settings: map[string]string{}}
	links := make(chan []Link, 1)
	go func() { links <- x.Links(ctx) }()
	if x.Secrets != nil {
		secrets, err := x.Secrets(ctx)
		if err != nil {
			l.n.unknown(err, "secrets")
		}
		l.n.Facts.Secrets = secrets
	}
	l.onDisk(ctx)
	if l.state != nil {
		l.askFacts(ctx)
	}
	l.settingsFromFiles()
	l.logged(ctx)
	l.storedFacts()
	l.n.Facts.Links = <-links
	l.n.At = l.Now().UTC()
}
