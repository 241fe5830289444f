package basebackup

import (
	"github.com/warmrun/warmrun/builtins/basebackup/manifest"
	"github.com/warmrun/warmrun/builtins/filesync"
)

// Names in a data directory (xlog.h, miscadmin.h, pg_control.h).
const (
	labelFile   = "backup_label"
	mapFile     = "tablespace_map"
	controlFile = "global/pg_control"
	pidFile     = "postmaster.pid"
)

// emptied are directories whose contents a server removes or makes anew when
// it starts: they are copied empty (excludeDirContents in
// backup/basebackup.c). Where one is a symbolic link, the copy has a directory.
var emptied = []string{
	"pg_stat_tmp", // also from 15 on, where extensions use it
	"pg_replslot", // a slot in a copy would hold back WAL for nobody
	"pg_dynshmem",
	"pg_notify",
	"pg_serial",
	"pg_snapshots",
	"pg_subtrans",
}

// excluded are files that are not copied, at any depth (excludeFiles in
// backup/basebackup.c and PG_TEMP_FILE_PREFIX in storage/fd.h), and those that
// tell one node's state.
var excluded = []string{
	"postmaster.pid",
	"postmaster.opts",
	"postgresql.auto.conf.tmp",
	"current_logfiles.tmp",
	"pg_internal.init*",
	"pgsql_tmp*",
	"backup_label",
	"backup_label.old",
	"tablespace_map",
	"tablespace_map.old",
	manifest.Name, // belongs to the backup that the source was made from
	"/recovery.signal",
	"/recovery.done",
}

// kept are the target's own: they say what it is, and that a copy into it is
// under way.
var kept = []string{
	"/standby.signal",
	"/recovery.conf",
	"/lost+found",
	"/" + markerFile,
}

// excludePatterns is everything of a data directory that is not copied and
// must not be in a copy.
func (c *copier) excludePatterns() []string {
	patterns := append([]string{"/" + controlFile}, excluded...)
	for _, dir := range emptied {
		patterns = append(patterns, "/"+dir+"/*")
	}
	return append(patterns, c.Exclude...)
}

// keepPatterns is everything that is left alone on the target. pg_wal has its
// own treatment, and tablespaces inside the data directory theirs.
func (c *copier) keepPatterns() []string {
	patterns := append([]string{"/" + c.walDir}, kept...)
	for _, t := range c.tablespaces {
		if t.inside != "" {
			patterns = append(patterns, "/"+filesync.Escape(t.inside))
		}
		if inside, ok := t.insideTarget(c.TargetPGData); ok {
			patterns = append(patterns, "/"+filesync.Escape(inside))
		}
	}
	return append(patterns, c.Keep...)
}
