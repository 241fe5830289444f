// Package manifest reads and writes the backup_manifest of a base backup: the
// list of its files with sizes and checksums, and of the WAL that it needs, in
// the form that PostgreSQL 13 and later write and pg_verifybackup reads
// (backup/backup_manifest.c; "Backup Manifest Format" in the documentation).
package manifest

import (
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// Name is the manifest's name in a data directory.
const Name = "backup_manifest"

// The versions of the format. The second, of PostgreSQL 17, has the system
// identifier.
const (
	Version1 = 1
	Version2 = 2
)

// Manifest is what a backup consists of.
type Manifest struct {
	Version  int
	SystemID uint64 // of Version2
	Files    []File
	WAL      []Range
}

// File is one file of a backup.
type File struct {
	Path      string // below the data directory, with slashes; of a tablespace below pg_tblspc/OID
	Size      int64
	ModTime   time.Time // kept to the second
	Algorithm Algorithm // None: there is no checksum
	Checksum  []byte
}

// Range is WAL that must be replayed before a backup is consistent.
type Range struct {
	Timeline walcore.Timeline `json:"timeline"`
	Start    walcore.LSN      `json:"start_lsn"`
	End      walcore.LSN      `json:"end_lsn"`
}
