package standby

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	Prepared     int64              `json:"prepared"`
	Backups      int64              `json:"backups"`
	LogicalSlots []psql.LogicalSlot `json:"logical_slots"`
	// Databases is what a look into each of them has shown.
	Databases psql.Survey `json:"databases"`
	// LSN is what a primary has written, or a standby has replayed.
	LSN    walcore.LSN `json:"lsn"`
	Paused bool        `json:"paused"` // replay is paused
	// SegmentSize is that of the WAL.
	SegmentSize walcore.SegmentSize `json:"segment_size"`
	// Free is the space left, in bytes: on the data directory's file system, that
	// of pg_wal, and that of the archive.
	Free map[string]int64 `json:"free"`
	// Unknown is what could not be looked at, each with its reason.
	Unknown []string `json:"unknown"`
	Host
}

// Host is what the node's server finds on its host, whether it runs or not, as
// LookAtHost sees it. What cannot be found out is empty.
type Host struct {
	// Libc is the C library and its version.
	Libc string `json:"libc"`
	// Libraries are the modules that lie in LibDir, without ".so"; Preloads those
	// that the next start loads.
	LibDir    string   `json:"lib_dir"`
	Libraries []string `json:"libraries"`
	Preloads  []string `json:"preloads"`
	// Unit starts the server, and Restart is when it does so by itself.
	Unit    string `json:"unit"`
	Restart string `json:"restart"`
	// Refused is why the server's program does not take its configuration, in its
	// own words; empty where it does.
	Refused string `json:"refused"`
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

// Fitness looks at this node, but for its host.
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
		if f.Databases, err = conn.Survey(ctx, n.SQLIn); err != nil {
			f.Unknown = append(f.Unknown, fmt.Sprintf("its databases: %v", err))
		}
	}
	if err := f.configured(n.Server); err != nil {
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
func (f *Fitness) configured(server pgctl.Server) error {
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
	preload, _ := conf.Get("shared_preload_libraries")
	f.Preloads = pgctl.Preloads(preload)
	if !f.SQL {
		f.ArchiveMode, _ = conf.Get("archive_mode")
		f.ArchiveCommand, _ = conf.Get("archive_command")
		f.ArchiveLibrary, _ = conf.Get("archive_library")
		f.WALLevel, _ = conf.Get("wal_level")
	}
	return nil
}

// LookAtHost adds what the server needs of its host. Each look stands alone.
func (n Node) LookAtHost(ctx context.Context, f *Fitness) {
	var err error
	f.Libc = pgctl.Libc(ctx)
	if f.LibDir, f.Libraries, err = n.Server.Libraries(); err != nil {
		f.Unknown = append(f.Unknown, fmt.Sprintf("its libraries: %v", err))
	}
	manager, err := n.Server.Manager(ctx)
	if err != nil {
		f.Unknown = append(f.Unknown, fmt.Sprintf("what starts its server: %v", err))
	}
	f.Unit, f.Restart = manager.Unit, manager.Restart
	// The server's program reads all of its configuration, to tell one setting.
	if _, err := n.Server.Setting(ctx, "max_connections"); err != nil {
		f.Refused = serverWords(err.Error())
	}
}

// serverWords is what a server's program complains of, in one line and without
// what log_line_prefix puts before it.
func serverWords(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		for _, level := range []string{"LOG:  ", "FATAL:  "} {
			if _, said, found := strings.Cut(line, level); found {
				words = append(words, strings.TrimSpace(said))
			}
		}
	}
	if len(words) == 0 {
		return strings.Join(strings.Fields(text), " ") // it speaks another language
	}
	return strings.Join(words, ", ")
}

// ask takes what the server says of itself.
func (f *Fitness) ask(ctx context.Context, conn *psql.Conn) error {
	state, err := conn.State(ctx)
	if err != nil {
		return err
	}
	f.SQL, f.LSN, f.Paused = true, max(state.CurrentLSN, state.ReplayLSN), state.ReplayPaused
	f.ArchiveMode, f.ArchiveCommand, f.ArchiveLibrary, f.WALLevel = state.ArchiveMode, state.ArchiveCommand, state.ArchiveLibrary, state.WALLevel
	if err := f.askShared(ctx, conn); err != nil {
		return err
	}
	if f.Prepared, err = count(ctx, conn, "SELECT count(*) FROM pg_prepared_xacts"); err != nil {
		return err
	}
	if f.Backups, err = conn.RunningBackups(ctx); err != nil {
		return err
	}
	f.LogicalSlots, err = conn.LogicalSlots(ctx)
	return err
}

func (f *Fitness) askShared(ctx context.Context, conn *psql.Conn) error {
	settings, err := conn.Query(ctx, "SELECT name::text, setting::bigint FROM pg_settings WHERE name IN ('"+strings.Join(slices.Sorted(maps.Keys(sharedSettings())), "', '")+"')")
	if err != nil {
		return err
	}
	for _, row := range settings.Values {
		name, isName := row[0].(string)
		value, isNumber := row[1].(int64)
		if !isName || !isNumber {
			return fmt.Errorf("the setting %v is %v", row[0], row[1])
		}
		if f.Major >= walSendersSince || name != "max_wal_senders" {
			f.Shared[name] = value
		}
	}
	return nil
}

func count(ctx context.Context, conn *psql.Conn, query string) (int64, error) {
	value, err := conn.Value(ctx, query)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(fmt.Sprint(value), 10, 64)
}
