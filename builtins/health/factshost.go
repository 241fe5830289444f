package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/builtins/pgctl"
	"github.com/warmrun/warmrun/walcore"
)

// onDisk is what the node's own files and programs tell.
func (l *look) onDisk(ctx context.Context) {
	f := l.n.Facts
	f.Libc = pgctl.Libc(ctx)
	l.disks()
	l.openingAsked()
	if l.control == nil {
		return
	}
	f.Signal = l.kind != walcore.RecoveryNone
	f.FreshCopy = !l.n.Running && l.hasFile("backup_label") && l.hasFile("backup_manifest")
	if info, err := os.Stat(l.Server.PGData); err == nil {
		f.DataMode = fmt.Sprintf("%04o", info.Mode().Perm())
	}
	manager, err := l.Server.Manager(ctx)
	if err != nil {
		l.n.unknown(err, "start")
	}
	f.Unit, f.Restart, f.Start = manager.Unit, manager.Restart, manager.Start
	if f.LibDir, f.Libraries, err = l.Server.Libraries(); err != nil {
		l.n.unknown(err, "libraries")
	}
}

// hasFile reports whether a file is in the data directory.
func (l *look) hasFile(name string) bool {
	_, err := os.Lstat(filepath.Join(l.Server.PGData, name))
	return err == nil
}

// disks measures the file systems of the data directory, its WAL and the
// archive, each once.
func (l *look) disks() {
	seen := map[syscall.Fsid]bool{}
	for _, place := range []struct{ what, path string }{
		{"wal", walcore.WALDir(l.Server.PGData)}, {"data", l.Server.PGData}, {"archive", l.Node.Archive},
	} {
		var stat syscall.Statfs_t
		if place.path == "" || syscall.Statfs(place.path, &stat) != nil || stat.Blocks == 0 || seen[stat.Fsid] && stat.Fsid != (syscall.Fsid{}) {
			continue
		}
		seen[stat.Fsid] = true
		l.n.Facts.Disks = append(l.n.Facts.Disks, Disk{What: place.what, Path: place.path,
			Free: stat.Bavail * uint64(stat.Bsize), Size: stat.Blocks * uint64(stat.Bsize)})
	}
}

// openingAsked looks for what would open the database.
func (l *look) openingAsked() {
	f := l.n.Facts
	trigger, err := walcore.ReadTrigger(l.Node.Trigger)
	if err != nil || trigger != walcore.TriggerNone {
		f.TriggerFile, f.Trigger = l.Node.Trigger, trigger.String()
		return
	}
	promote := filepath.Join(l.Server.PGData, "promote")
	if _, err := os.Lstat(promote); err == nil {
		f.TriggerFile, f.Trigger = promote, walcore.TriggerSmart.String()
	}
}

// checkedSettings are the settings that matter here, with the value that a
// server has where none of its files sets it.
func checkedSettings() map[string]string {
	return map[string]string{
		"max_connections": "100", "max_worker_processes": "8", "max_wal_senders": "10", "max_prepared_transactions": "0", "max_locks_per_transaction": "64",
		"archive_mode": "off", "archive_command": "", "archive_library": "", "archive_timeout": "0", "wal_level": "replica", "fsync": "on", "full_page_writes": "on",
		"hot_standby": "on", "restore_command": "", "recovery_target_timeline": "", "recovery_prefetch": "", "recovery_min_apply_delay": "0",
		"max_standby_archive_delay": "30s", "shared_preload_libraries": "", "primary_conninfo": "", "primary_slot_name": "",
	}
}

// settingsFromFiles reads what another start would use, and takes it for what
// is in use where the server does not say.
func (l *look) settingsFromFiles() {
	f := l.n.Facts
	if l.control == nil {
		return
	}
	conf, err := l.Server.Conf()
	if err != nil {
		l.n.unknown(err, "settings")
		return
	}
	if old, err := pgctl.ReadConf(filepath.Join(l.Server.PGData, "recovery.conf")); err == nil {
		conf = append(conf, old...)
	} else if !errors.Is(err, fs.ErrNotExist) {
		l.n.unknown(err, "settings")
	}
	f.Next, f.FromFiles = map[string]string{}, l.state == nil
	for name, fallback := range checkedSettings() {
		value, set := conf.Get(name)
		if !set {
			value = fallback
		}
		if used, known := f.Settings[name]; !known {
			f.Settings[name] = value
		} else if set && limitNames[name] && used != value {
			f.Next[name] = value
		}
	}
	// Who can log in as the replication user is no business of a report.
	for _, settings := range []map[string]string{f.Settings, f.Next} {
		if settings["primary_conninfo"] != "" {
			settings["primary_conninfo"] = "set"
		}
	}
}

// logged is what the server's log tells of trouble that has not ended.
func (l *look) logged(ctx context.Context) {
	f := l.n.Facts
	if l.control == nil {
		return
	}
	lines, where, err := l.Server.LastLogged(ctx, "warmrun: error: ", l.Examine.LogFile)
	if err != nil {
		return // a log that cannot be read says nothing
	}
	f.Log = where
	f.Said, f.SaidHint = lastComplaint(lines)
	if l.n.Running {
		return
	}
	if lines, _, err = l.Server.LastLogged(ctx, "FATAL: ", l.Examine.LogFile); err == nil && len(lines) > 0 {
		f.Fatal = lines[0][strings.Index(lines[0], "FATAL: ")+len("FATAL: "):]
		f.Fatal = strings.TrimSpace(f.Fatal)
	}
}

// lastComplaint reads this program's last error and its hint from the end of a
// log, unless the server has restored a file since.
func lastComplaint(lines []string) (said, next string) {
	if len(lines) == 0 {
		return "", ""
	}
	for _, line := range lines {
		if strings.Contains(line, "restored log file") {
			return "", ""
		}
	}
	_, said, _ = strings.Cut(lines[0], "warmrun: error: ")
	if len(lines) > 1 {
		_, next, _ = strings.Cut(lines[1], "warmrun: hint: ")
	}
	return said, next
}

// storedFacts is what the archive tells beside its ends.
func (l *look) storedFacts() {
	f := l.n.Facts
	if l.store == nil {
		return
	}
	var err error
	if f.Stamp, _, err = l.store.Stamp(); err != nil {
		l.n.unknown(err, "stamp")
	}
	files, err := l.store.Files()
	if err != nil {
		l.n.unknown(err, "last_file_at")
		return
	}
	for _, file := range files {
		if file.Kind != 0 && file.Modified.After(f.LastFileAt) {
			f.LastFileAt = file.Modified.UTC()
		}
	}
	l.lastBackup()
	from := l.neededFrom()
	if from == "" {
		return
	}
	chain, err := l.store.Chain(from)
	if err != nil {
		l.n.unknown(err, "gaps")
		return
	}
	f.GapsFrom, f.Gaps, f.WantHistory = from, chain.Gaps, chain.WantHistory
}

// neededFrom is the segment from which the archive must have everything: what
// the node's own recovery needs next. A node that never recovers, as the
// primary, needs nothing of its archive.
func (l *look) neededFrom() walcore.SegmentName {
	if l.control == nil || !l.n.follows() && l.n.Role != RoleRelay {
		return ""
	}
	at := l.control.Redo
	if l.n.Running && l.n.ReplayedLSN > 0 {
		at = l.n.ReplayedLSN
	}
	return walcore.SegmentAt(l.n.Timeline, at, l.control.SegmentSize)
}

// lastBackup finds the newest base copy, and whether recovery from it would
// come to the end of the archive.
func (l *look) lastBackup() {
	kept, err := l.store.Backups(1)
	if err != nil {
		l.n.unknown(err, "last_backup")
	}
	if err != nil || len(kept) == 0 {
		return
	}
	b := &Backup{File: kept[0]}
	file, err := l.store.Open(kept[0])
	if err != nil {
		l.n.unknown(err, "last_backup")
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil {
		b.At = info.ModTime().UTC()
	}
	if label, err := walcore.ParseBackupLabel(file); err == nil {
		b.Label = label.Label
		if at, err := time.Parse("2006-01-02 15:04:05 MST", label.StopTime); err == nil && strings.HasSuffix(label.StopTime, "UTC") {
			b.At = at
		}
	}
	if chain, err := l.store.Chain(kept[0].Segment()); err == nil && len(chain.Gaps) > 0 {
		b.Missing = chain.Gaps[0].Want
	}
	l.n.Facts.Backup = b
}
