package standby

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/builtins/psql"
	"github.com/warmrun/warmrun/walcore"
)

// Fitness is what a change of places wants to know of one node, beyond what its
// control file says. What a server that accepts no connections does not tell is
// zero.
type Fitness struct {
	Node    string        `json:"node"`
	Program string        `json:"program"` // the version of this program there
	Major   pgctl.Version `json:"major"`
	// SQL: the server accepts sessions.
	SQL bool `json:"sql"`
	// Now is the node's clock.
	Now time.Time `json:"now"`
	// Shared are the settings that a hot standby must have at least as high as
	// its primary: in force, and as the next start would find them.
	Shared     map[string]int64 `json:"shared"`
	SharedNext map[string]int64 `json:"shared_next"`
	// The archiver's settings in force.
	ArchiveMode    string `json:"archive_mode"`
	ArchiveCommand string `json:"archive_command"`
	ArchiveLibrary string `json:"archive_library"`
	WALLevel       string `json:"wal_level"`
	// Prepared counts prepared transactions, Backups base backups under way.
	Prepared int64 `json:"prepared"`
	Backups  int64 `json:"backups"`
	// LogicalSlots are replication slots that stay behind on a primary.
	LogicalSlots int64 `json:"logical_slots"`
	// LSN is what a primary has written, or a standby has replayed.
	LSN    walcore.LSN `json:"lsn"`
	Paused bool        `json:"paused"` // replay is paused
	// SegmentSize is that of the WAL.
	SegmentSize walcore.SegmentSize `json:"segment_size"`
	// Free is the space left, in bytes: on the data directory's file system, that
	// of pg_wal, and that of the archive.
	Free map[string]int64 `json:"free"`
}

// sharedSettings are those that the server compares with its primary's
// (CheckRequiredParameterValues in xlogrecovery.c), with what each is where
// nothing is set.
func sharedSettings() map[string]int64 {
	return map[string]int64{
		"max_connections": 100, "max_prepared_transactions": 0, "max_locks_per_transaction": 64,
		"max_worker_processes": 8, "max_wal_senders": 10,
	}
}

// walSendersSince is the first version that compares max_wal_senders.
const walSendersSince = 12

// Fitness looks at this node.
func (n Node) Fitness(ctx context.Context) (Fitness, error) {
	f := Fitness{Node: n.Name, Now: time.Now().UTC(), Shared: map[string]int64{}, SharedNext: map[string]int64{}, Free: map[string]int64{}}
	var err error
	if f.Major, err = n.Server.Version(); err != nil {
		return f, err
	}
	control, err := n.Server.Control()
	if err != nil {
		return f, err
	}
	f.SegmentSize = control.SegmentSize
	if conn, hot := n.hotStandby(ctx); hot {
		defer conn.Close(ctx)
		if err := f.ask(ctx, conn); err != nil {
			return f, fmt.Errorf("ask the server on %s: %w", n.Name, err)
		}
	}
	if err := f.configured(ctx, n.Server); err != nil {
		return f, err
	}
	for _, dir := range []string{n.Server.PGData, walcore.WALDir(n.Server.PGData), n.Archive} {
		var disk syscall.Statfs_t
		// An archive that is not there is reported by the check that is for it.
		if err := syscall.Statfs(dir, &disk); err == nil {
			f.Free[dir] = int64(disk.Bavail) * disk.Bsize
		}
	}
	return f, nil
}

// configured reads what the next start would find; of a server that accepts no
// sessions that is also taken for what is in force.
func (f *Fitness) configured(ctx context.Context, server pgctl.Server) error {
	conf, err := server.Conf()
	if err != nil {
		return err
	}
	for name, usual := range sharedSettings() {
		if f.Major < walSendersSince && name == "max_wal_senders" {
			continue
		}
		f.SharedNext[name] = usual
		if text, set := conf.Get(name); set {
			if f.SharedNext[name], err = strconv.ParseInt(text, 10, 64); err != nil {
				return fmt.Errorf("%s of the server on %s: %w", name, f.Node, err)
			}
		}
		if !f.SQL {
			f.Shared[name] = f.SharedNext[name]
		}
	}
	if !f.SQL {
		f.ArchiveMode, _ = conf.Get("archive_mode")
		f.ArchiveCommand, _ = conf.Get("archive_command")
		f.ArchiveLibrary, _ = conf.Get("archive_library")
		f.WALLevel, _ = conf.Get("wal_level")
	}
	return nil
}

// ask takes what the server says of itself.
func (f *Fitness) ask(ctx context.Context, conn *psql.Conn) error {
	state, err := conn.State(ctx)
	if err != nil {
		return err
	}
	f.SQL, f.LSN, f.Paused = true, max(state.CurrentLSN, state.ReplayLSN), state.ReplayPaused
	f.ArchiveMode, f.ArchiveCommand, f.ArchiveLibrary, f.WALLevel = state.ArchiveMode, state.ArchiveCommand, state.ArchiveLibrary, state.WALLevel
	for name := range sharedSettings() {
		if f.Major < walSendersSince && name == "max_wal_senders" {
			continue
		}
		if f.Shared[name], err = count(ctx, conn, "SELECT setting FROM pg_settings WHERE name = '"+name+"'"); err != nil {
			return err
		}
	}
	if f.Prepared, err = count(ctx, conn, "SELECT count(*) FROM pg_prepared_xacts"); err != nil {
		return err
	}
	// A base backup over the replication protocol. The exclusive mode of old has a
	// file instead.
	if f.Backups, err = count(ctx, conn, "SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'"); err != nil {
		return err
	}
	if f.Major < 15 {
		exclusive, err := count(ctx, conn, "SELECT pg_is_in_backup()::int")
		if err != nil {
			return err
		}
		f.Backups += exclusive
	}
	f.LogicalSlots, err = count(ctx, conn, "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT temporary")
	return err
}

func count(ctx context.Context, conn *psql.Conn, query string) (int64, error) {
	value, err := conn.Value(ctx, query)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(fmt.Sprint(value), 10, 64)
}
