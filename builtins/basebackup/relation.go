package basebackup

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// relation is a file of a relation, by its name (parse_filename_for_nontemp_relation
// and looks_like_temp_rel_name in storage/file).
type relation struct {
	number  string // the relation's file number, digits
	fork    string // "", "fsm", "vm" or "init"
	segment uint32 // which of the fork's files, from 0
	temp    bool   // of a temporary relation
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
	if segmented {
		number, err := strconv.ParseUint(segment, 10, 32)
		if err != nil {
			return r, false
		}
		r.segment = uint32(number)
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

// needed says of the files of a tree whether recovery needs them: not those of
// temporary relations, and of unlogged relations only the init fork, from which
// it makes them anew.
type needed struct {
	root string // of the tree
	// What was found out last: most relations have several files.
	last     string
	unlogged bool
}

// file reports whether recovery needs a file.
func (n *needed) file(e *filesync.Entry) (bool, error) {
	if e.Kind != filesync.File || !inDatabase(e.Path) {
		return true, nil
	}
	r, ok := parseRelation(path.Base(e.Path))
	if !ok || r.fork == "init" && !r.temp {
		return true, nil
	}
	if r.temp {
		return false, nil
	}
	// As the server's own base backup finds it out (sendDir in
	// backup/basebackup.c).
	init := path.Join(path.Dir(e.Path), r.number+"_init")
	if n.last != init {
		_, err := os.Lstat(filepath.Join(n.root, init))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		n.last, n.unlogged = init, err == nil
	}
	return !n.unlogged, nil
}

// place is where a relation's file belongs, in OIDs.
type place struct {
	tablespace string
	database   string // empty: shared by all
	number     string // the relation's file number
}

// The tablespaces that every cluster has (catalog/pg_tablespace.dat).
const (
	defaultTablespace = "1663" // base
	globalTablespace  = "1664" // global
)

// placeOf takes apart the path of a relation's file in the data directory:
// global/NUMBER, base/DATABASE/NUMBER, pg_tblspc/OID/VERSION/DATABASE/NUMBER.
func placeOf(name string) (place, bool) {
	r, ok := parseRelation(path.Base(name))
	if !ok {
		return place{}, false
	}
	switch parts := strings.Split(name, "/"); {
	case len(parts) == 2 && parts[0] == "global":
		return place{globalTablespace, "", r.number}, true
	case len(parts) == 3 && parts[0] == "base":
		return place{defaultTablespace, parts[1], r.number}, true
	case len(parts) == 5 && parts[0] == "pg_tblspc":
		return place{parts[1], parts[3], r.number}, true
	}
	return place{}, false
}
