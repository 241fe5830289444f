package health

import (
	"slices"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/builtins/pgctl"
)

// limitNames are settings that a server takes over only at its start.
var limitNames = map[string]bool{
	"max_connections": true, "max_worker_processes": true, "max_wal_senders": true, "max_prepared_transactions": true, "max_locks_per_transaction": true,
	"archive_mode": true, "wal_level": true, "shared_preload_libraries": true,
}

// settings judges what the server is set to, in its present role and in the
// one that it may be promoted to.
func (j *judge) settings(n NodeStatus) {
	f := n.Facts
	if len(f.Settings) == 0 || n.Role == RoleNoData {
		return
	}
	j.archiveSettings(n)
	j.recoverySettings(n)
	j.preloads(n)
	j.databases(n)
	for _, safe := range []string{"fsync", "full_page_writes"} {
		if f.Settings[safe] == "off" {
			j.add(Critical, n, safe, "set "+safe+" = on, and restart the server", "%s is off: a crash of the host damages the data", safe)
		}
	}
}

func (j *judge) archiveSettings(n NodeStatus) {
	f := n.Facts
	set := f.Settings
	// What a standby does not archive matters after its promotion.
	level := Warning
	if n.writes() {
		level = Critical
	}
	switch mode := set["archive_mode"]; {
	case mode == "off" && f.Next["archive_mode"] == "on":
		j.add(level, n, "archive_mode", "restart its server", "archive_mode is off in the running server, and on after its next start")
	case mode == "off":
		j.add(level, n, "archive_mode", "ALTER SYSTEM SET archive_mode = on there, and restart the server", "archive_mode is off: it ships nothing")
	case mode == "always":
		j.add(Warning, n, "archive_mode", "set archive_mode = on", "archive_mode is always: as a standby it calls archive_command for what it has restored, too")
	default:
		j.add(OK, n, "archive_mode", "", "archive_mode is %s", mode)
	}
	switch command := set["archive_command"]; {
	case set["archive_library"] != "":
		j.add(level, n, "archive_command", "ALTER SYSTEM SET archive_library = ''", "archive_library is %q, so archive_command is not called", set["archive_library"])
	case command == "(disabled)":
		// What the server shows while archive_mode is off.
	case command == "" || !ours(command):
		j.add(level, n, "archive_command", "set archive_command = '"+f.ArchiveCommand+"'", "archive_command is %q, which does not ship to the other nodes", command)
	case f.ArchiveCommand != "" && !sameCommand(command, f.ArchiveCommand) && !strings.Contains(command, "archiveWALFile"):
		j.add(Warning, n, "archive_command", "set archive_command = '"+f.ArchiveCommand+"'", "archive_command is %q", command)
	default:
		j.add(OK, n, "archive_command", "", "archive_command calls warmrun")
	}
	if n.writes() {
		if timeoutSeconds(set["archive_timeout"]) == 0 {
			j.add(Warning, n, "archive_timeout", "ALTER SYSTEM SET archive_timeout = '60s', and reload", "archive_timeout is 0: what a quiet primary writes is shipped only when a segment is full")
		} else {
			j.add(OK, n, "archive_timeout", "", "a segment is shipped after %s at the latest", duration(spanOf(timeoutSeconds(set["archive_timeout"]))))
		}
	}
	if set["wal_level"] == "minimal" {
		j.add(Critical, n, "wal_level", "set wal_level = replica, and restart the server", "wal_level is minimal: no standby can follow")
	}
}

// recoverySettings judges what makes a server a standby.
func (j *judge) recoverySettings(n NodeStatus) {
	f := n.Facts
	if !n.follows() {
		return
	}
	set := f.Settings
	if !f.Signal {
		j.add(Critical, n, "signal", "leave it running; warmrun configStandby makes it a standby again while it is stopped", "no standby.signal (recovery.conf) is there: its next start makes it a primary")
	} else {
		j.add(OK, n, "signal", "", "it can start only as a standby")
	}
	switch restore := set["restore_command"]; {
	case restore == "" && f.FromFiles == n.Running:
		// The user may not see it.
	case restore == "" || !ours(restore):
		j.add(Critical, n, "restore_command", "set restore_command = '"+f.RestoreCommand+"'", "restore_command is %q, which does not read this archive", restore)
	case f.RestoreCommand != "" && !sameCommand(restore, f.RestoreCommand):
		j.add(Warning, n, "restore_command", "configStandby would write: "+f.RestoreCommand, "restore_command is %q", restore)
	default:
		j.add(OK, n, "restore_command", "", "restore_command is as configStandby writes it")
	}
	if target := set["recovery_target_timeline"]; target != "latest" && (target != "" || before12(n.ServerVersion)) {
		j.add(Critical, n, "recovery_target_timeline", "set recovery_target_timeline = 'latest', and restart the server", "recovery_target_timeline is %q: it cannot follow after a switchover", target)
	}
	if set["recovery_prefetch"] != "off" && set["recovery_prefetch"] != "" && waits(set["restore_command"]) {
		j.add(Critical, n, "recovery_prefetch", "set recovery_prefetch = off, or take --wait out of restore_command", "recovery_prefetch is %s, and restore_command waits: replay hangs behind it", set["recovery_prefetch"])
	}
	if n.ReplayPaused {
		j.add(Critical, n, "replay", "SELECT pg_wal_replay_resume() there", "replay is paused")
	}
	if delay := set["recovery_min_apply_delay"]; delay != "0" && delay != "" {
		j.add(OK, n, "delay", "", "it replays late on purpose (recovery_min_apply_delay = %s)", delay)
	}
}

// databases judges whether the server can open all of them.
func (j *judge) databases(n NodeStatus) {
	if len(n.Facts.Closed) > 0 {
		j.add(Critical, n, "databases", "make the missing locales there (locale -a lists those that are), as on the other nodes", "databases cannot be opened here: %s", strings.Join(n.Facts.Closed, "; "))
	}
}

// preloads judges whether the server finds what it loads at its start.
func (j *judge) preloads(n NodeStatus) {
	if n.Facts.LibDir == "" {
		return
	}
	for _, settings := range []map[string]string{n.Facts.Settings, n.Facts.Next} {
		for _, name := range pgctl.Preloads(settings["shared_preload_libraries"]) {
			if !slices.Contains(n.Facts.Libraries, name) {
				j.add(Critical, n, "preload", "install the package that has it, on "+string(n.Node), "%s.so of shared_preload_libraries is not in %s: the server would not start", name, n.Facts.LibDir)
			}
		}
	}
}

// ships judges how a primary gets rid of its WAL.
func (j *judge) ships(n NodeStatus) {
	if len(j.c.Nodes) > 1 && n.Unknown["archiving_active"] == "" {
		if n.Archiving {
			j.add(OK, n, "archiving", "", "archiving_active is there")
		} else {
			j.add(Critical, n, "archiving", cmpNext(j.c.shipAgain(n), "warmrun copyToStandby --start on "+string(n.Node)), "archiving_active is not there: WAL is acknowledged and dropped")
		}
	}
	switch {
	case n.LastFailedAt.After(n.LastArchivedAt) && n.Backlog > 0:
		j.add(Critical, n, "archiver", "warmrun why", "archive_command fails for %s, last %s; %d segments wait", n.LastFailed, clock(n.LastFailedAt), n.Backlog)
	case n.Unknown["backlog"] != "":
	case n.Backlog >= backlogCritical:
		j.add(Critical, n, "archiver", "warmrun why", "%d segments wait to be archived", n.Backlog)
	case n.Backlog >= backlogWarning:
		j.add(Warning, n, "archiver", "warmrun why", "%d segments wait to be archived", n.Backlog)
	default:
		j.add(OK, n, "archiver", "", "%s, the last one archived is %s", backlogCell(n)+" to archive", orNone(n.LastArchived))
	}
}

// How many segments may wait for archive_command.
const (
	backlogWarning  = 8
	backlogCritical = 32
)

// handover judges what a switchover would meet.
func (j *judge) handover(n NodeStatus) {
	f := n.Facts
	if !n.Running {
		return
	}
	if len(f.Prepared) > 0 {
		j.add(Warning, n, "prepared", "end them: COMMIT PREPARED or ROLLBACK PREPARED", "%d prepared transactions, the oldest %q for %s: they hold locks after a switchover, too", len(f.Prepared), f.Prepared[0].Name, seconds(f.Prepared[0].Seconds))
	} else {
		j.add(OK, n, "prepared", "", "no prepared transactions")
	}
	if f.Backups > 0 {
		j.add(Warning, n, "backup_mode", "wait for its end before a switchover", "%d backups are under way: a stop of the server ends them", f.Backups)
	} else {
		j.add(OK, n, "backup_mode", "", "no backup is under way")
	}
	if len(f.Collations) > 0 {
		j.add(Warning, n, "collations", "REINDEX what depends on them, then ALTER COLLATION (or DATABASE) ... REFRESH VERSION", "%s", strings.Join(f.Collations, "; "))
	}
	var lost []string
	for _, slot := range f.LogicalSlots {
		if !slot.Failover {
			lost = append(lost, slot.Name)
		}
	}
	if len(lost) > 0 {
		j.add(Warning, n, "slots", "after a promotion its subscribers must be set up again; from 17 on a slot with failover = true can be kept on the standby", "logical slots do not go over to the standby: %s", strings.Join(lost, ", "))
	} else {
		j.add(OK, n, "slots", "", "no logical slot would be lost")
	}
}

func cmpNext(next, otherwise string) string {
	if next == "" {
		return otherwise
	}
	return next
}

func orNone(name string) string {
	if name == "" {
		return "none yet"
	}
	return name
}

func before12(version string) bool {
	number, err := strconv.ParseFloat(major(version), 64)
	return err == nil && number < 12
}

// timeoutSeconds reads a setting in seconds, with or without its unit.
func timeoutSeconds(value string) float64 {
	digits := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyz ")
	number, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0
	}
	factor, known := map[string]float64{"": 1, "s": 1, "ms": 0.001, "min": 60, "h": 3600, "d": 86400}[strings.TrimSpace(value[len(digits):])]
	if !known {
		return 0
	}
	return number * factor
}
