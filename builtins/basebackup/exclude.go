package basebackup

import (
	"path"
	"strings"

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
	"backup_manifest", // belongs to the backup that the source was made from
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
			patterns = append(patterns, "/"+escape(t.inside))
		}
	}
	return append(patterns, c.Keep...)
}

// escape makes a pattern of a name.
func escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// relation is a file of a relation, by its name (parse_filename_for_nontemp_relation
// and looks_like_temp_rel_name in storage/file).
type relation struct {
	number string // the relation's file number, digits
	fork   string // "", "fsm", "vm" or "init"
	temp   bool   // of a temporary relation
}

// parseRelation takes apart the name of a file in a database's directory, such
// as 16384, 16384.1, 16384_fsm, 16384_init.2 or t3_16384.
func parseRelation(name string) (relation, bool) {
	var r relation
	if rest, ok := strings.CutPrefix(name, "t"); ok {
		backend, rest, found := strings.Cut(rest, "_")
		if !found || !digits(backend) {
			return r, false
		}
		r.temp, name = true, rest
	}
	name, segment, segmented := strings.Cut(name, ".")
	if segmented && !digits(segment) {
		return r, false
	}
	number, fork, forked := strings.Cut(name, "_")
	if !digits(number) || forked && fork != "fsm" && fork != "vm" && fork != "init" {
		return r, false
	}
	r.number, r.fork = number, fork
	return r, true
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// inDatabase reports whether an entry is directly in the directory of a
// database: base/OID, or PG_VERSION_CATALOG/OID in a tablespace.
func inDatabase(name string) bool {
	dir := path.Dir(name)
	if !digits(path.Base(dir)) {
		return false
	}
	parent := path.Dir(dir)
	return parent == "base" || strings.HasPrefix(path.Base(parent), "PG_")
}

// dropRelations leaves out temporary relations, and of unlogged relations all
// but the init fork, from which recovery makes them anew.
func dropRelations(all []filesync.Entry) []filesync.Entry {
	unlogged := map[string]bool{}
	for _, e := range all {
		if r, ok := parseRelation(path.Base(e.Path)); ok && r.fork == "init" && !r.temp && inDatabase(e.Path) {
			unlogged[path.Join(path.Dir(e.Path), r.number)] = true
		}
	}
	chosen := all[:0]
	for _, e := range all {
		if e.Kind == filesync.File && inDatabase(e.Path) {
			r, ok := parseRelation(path.Base(e.Path))
			if ok && (r.temp || r.fork != "init" && unlogged[path.Join(path.Dir(e.Path), r.number)]) {
				continue
			}
		}
		chosen = append(chosen, e)
	}
	return chosen
}
