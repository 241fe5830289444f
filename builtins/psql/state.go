package psql

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// ServerState is what a server says of itself. What a version does not have,
// and what the user may not see, is zero.
type ServerState struct {
	// Version is server_version_num: 150018 is 15.18.
	Version    int  `json:"version"`
	InRecovery bool `json:"in_recovery"`
	// SystemID is the cluster's identifier (9.6 and later).
	SystemID uint64 `json:"system_identifier,string,omitempty"`
	// Timeline is the one that a primary writes. In recovery no function tells
	// the one that is replayed: it is then that of the last restartpoint or,
	// if newer, of the last page that replay has flushed (9.6 and later).
	Timeline walcore.Timeline `json:"timeline"`

	// CurrentLSN is how far a primary has written, and CurrentSegment the
	// segment that it writes to.
	CurrentLSN     walcore.LSN         `json:"current_lsn"`
	CurrentSegment walcore.SegmentName `json:"current_segment,omitempty"`
	// ReceiveLSN is how far a standby has received by streaming; a warm
	// standby, which restores files, has none.
	ReceiveLSN walcore.LSN `json:"receive_lsn"`
	// ReplayLSN is how far a standby has replayed.
	ReplayLSN    walcore.LSN `json:"replay_lsn"`
	ReplayPaused bool        `json:"replay_paused"`
	// ReplayTimestamp is the primary's time at the last commit replayed.
	ReplayTimestamp time.Time `json:"replay_timestamp,omitzero"`

	// The archiver's counters (9.4 and later). LastArchived and LastFailed are
	// names of WAL files.
	LastArchived   string    `json:"last_archived,omitempty"`
	LastArchivedAt time.Time `json:"last_archived_at,omitzero"`
	ArchivedCount  int64     `json:"archived_count"`
	LastFailed     string    `json:"last_failed,omitempty"`
	LastFailedAt   time.Time `json:"last_failed_at,omitzero"`
	FailedCount    int64     `json:"failed_count"`

	// Settings in use.
	ArchiveMode    string              `json:"archive_mode"`
	ArchiveCommand string              `json:"archive_command,omitempty"`
	ArchiveLibrary string              `json:"archive_library,omitempty"`
	RestoreCommand string              `json:"restore_command,omitempty"` // 12 and later
	WALLevel       string              `json:"wal_level"`
	HotStandby     bool                `json:"hot_standby"`
	SegmentSize    walcore.SegmentSize `json:"segment_size"`
	DataDirectory  string              `json:"data_directory,omitempty"`
	ConfigFile     string              `json:"config_file,omitempty"`
	Port           int                 `json:"port"`

	StartedAt time.Time `json:"started_at"`
	// Now is the server's clock; times on one node are compared with it.
	Now time.Time `json:"now"`
}

// State asks a server for its state, in one round trip. It works on a primary
// and on a hot standby of any version, for a superuser and for a member of
// pg_monitor.
func (c *Conn) State(ctx context.Context) (ServerState, error) {
	rows, err := c.Query(ctx, stateQuery(c.version))
	if sqlState(err) == stateWrongMoment {
		// A promotion came between two functions; there is no second one.
		rows, err = c.Query(ctx, stateQuery(c.version))
	}
	if err != nil {
		return ServerState{}, fmt.Errorf("read the server's state: %w", err)
	}
	if len(rows.Values) != 1 {
		return ServerState{}, fmt.Errorf("read the server's state: %d rows", len(rows.Values))
	}
	v := map[string]any{}
	for i, name := range rows.Columns {
		v[name] = rows.Values[0][i]
	}
	return stateOf(v), nil
}

// stateQuery is the query for a version. Functions that fail on the other kind
// of server stand in a CASE: they are volatile, and so are not evaluated ahead.
func stateQuery(version int) string {
	columns := []string{
		"current_setting('server_version_num')::int AS version",
		"r.recovering AS in_recovery",
		"CASE WHEN NOT r.recovering THEN pg_current_wal_lsn()::text END AS current_lsn",
		"CASE WHEN NOT r.recovering THEN pg_walfile_name(pg_current_wal_lsn()) END AS current_segment",
		"CASE WHEN r.recovering THEN pg_last_wal_receive_lsn()::text END AS receive_lsn",
		"CASE WHEN r.recovering THEN pg_last_wal_replay_lsn()::text END AS replay_lsn",
		"CASE WHEN r.recovering THEN pg_is_wal_replay_paused() END AS replay_paused",
		"CASE WHEN r.recovering THEN pg_last_xact_replay_timestamp() END AS replay_timestamp",
		"pg_postmaster_start_time() AS started_at",
		"clock_timestamp() AS now",
	}
	// A setting that does not exist, or that the user may not see, has no row.
	for _, name := range []string{"archive_mode", "archive_command", "archive_library", "restore_command", "wal_level", "hot_standby", "data_directory", "config_file", "port"} {
		columns = append(columns, fmt.Sprintf("(SELECT setting FROM pg_settings WHERE name = '%s') AS %s", name, name))
	}
	// Before 11 the setting counts blocks.
	columns = append(columns, `(SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END
		FROM pg_settings WHERE name = 'wal_segment_size') AS segment_size`)
	from := "(SELECT pg_is_in_recovery() AS recovering) AS r"
	if version >= 90400 {
		columns = append(columns, "a.last_archived_wal AS last_archived", "a.last_archived_time AS last_archived_at", "a.archived_count",
			"a.last_failed_wal AS last_failed", "a.last_failed_time AS last_failed_at", "a.failed_count")
		from += ", pg_stat_archiver AS a"
	}
	if version >= 90600 {
		columns = append(columns, "(SELECT system_identifier::text FROM pg_control_system()) AS system_identifier",
			"greatest((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery())) AS control_timeline")
	}
	query := "SELECT " + strings.Join(columns, ", ") + " FROM " + from
	if version < 100000 {
		query = strings.NewReplacer("_wal_lsn()", "_xlog_location()", "pg_walfile_name(", "pg_xlogfile_name(",
			"_wal_receive_lsn()", "_xlog_receive_location()", "_wal_replay_lsn()", "_xlog_replay_location()",
			"pg_is_wal_replay_paused()", "pg_is_xlog_replay_paused()").Replace(query)
	}
	return query
}

// stateOf takes the values of a row by their columns' names.
func stateOf(v map[string]any) ServerState {
	s := ServerState{
		Version: int(number(v["version"])), InRecovery: v["in_recovery"] == true,
		Timeline:   walcore.Timeline(number(v["control_timeline"])),
		CurrentLSN: lsn(v["current_lsn"]), ReceiveLSN: lsn(v["receive_lsn"]), ReplayLSN: lsn(v["replay_lsn"]),
		ReplayPaused: v["replay_paused"] == true, ReplayTimestamp: moment(v["replay_timestamp"]),
		LastArchived: text(v["last_archived"]), LastArchivedAt: moment(v["last_archived_at"]), ArchivedCount: number(v["archived_count"]),
		LastFailed: text(v["last_failed"]), LastFailedAt: moment(v["last_failed_at"]), FailedCount: number(v["failed_count"]),
		ArchiveMode: text(v["archive_mode"]), ArchiveCommand: text(v["archive_command"]), ArchiveLibrary: text(v["archive_library"]),
		RestoreCommand: text(v["restore_command"]), WALLevel: text(v["wal_level"]), HotStandby: v["hot_standby"] == "on",
		SegmentSize: walcore.SegmentSize(number(v["segment_size"])), DataDirectory: text(v["data_directory"]),
		ConfigFile: text(v["config_file"]), Port: int(number(v["port"])),
		StartedAt: moment(v["started_at"]), Now: moment(v["now"]),
	}
	if id, err := strconv.ParseInt(text(v["system_identifier"]), 10, 64); err == nil {
		s.SystemID = uint64(id) // the function shows it with a sign
	}
	if name, err := walcore.ParseSegmentName(text(v["current_segment"])); err == nil {
		// The control file has a primary's timeline only after its first
		// checkpoint on it.
		s.Timeline, s.CurrentSegment = name.Timeline(), name
		if s.SegmentSize.Valid() {
			// At the border of two segments, servers before 17 name the one
			// that has ended.
			s.CurrentSegment = walcore.SegmentAt(s.Timeline, s.CurrentLSN, s.SegmentSize)
		}
	}
	return s
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case string:
		if i, err := strconv.ParseInt(n, 10, 64); err == nil {
			return i
		}
	}
	return 0
}

func lsn(v any) walcore.LSN {
	l, err := walcore.ParseLSN(text(v))
	if err != nil {
		return 0
	}
	return l
}

func moment(v any) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text(v))
	if err != nil {
		return time.Time{}
	}
	return t
}
