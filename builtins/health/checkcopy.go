package health

import (
	"fmt"
	"slices"
)

// backups judges the newest base copy that any archive knows of. That of a
// primary is from the time when it was none.
func (j *judge) backups() {
	var newest *Backup
	var at NodeStatus
	for _, n := range j.c.Nodes {
		if n.Facts != nil && n.Facts.Backup != nil && !n.writes() && (newest == nil || n.Facts.Backup.At.After(newest.At)) {
			newest, at = n.Facts.Backup, n
		}
	}
	if newest == nil {
		if slices.ContainsFunc(j.c.Nodes, func(n NodeStatus) bool { return n.Facts != nil && n.Facts.Stamp.SystemID != 0 }) {
			j.add(Warning, NodeStatus{Node: "cluster"}, "backup", "warmrun copyToDR, or copyToStandby", "no archive knows of a base copy")
		}
		return
	}
	age := at.At.Sub(newest.At)
	whole := "all WAL since is in the archive"
	if at.Facts.KeepBackups == 0 && newest.Missing != "" {
		whole = "its WAL is not kept (archive.keep_backups is 0)"
	}
	switch {
	case at.Facts.KeepBackups > 0 && newest.Missing != "":
		j.add(Critical, at, "backup", "make another base copy: warmrun copyToDR on the primary", "the base copy of %s cannot be recovered past %s, which is missing in the archive", clock(newest.At), newest.Missing)
	case j.BackupAge > 0 && age > j.BackupAge:
		j.add(Warning, at, "backup", "warmrun copyToDR on the primary", "the last base copy is %s old", duration(age))
	default:
		j.add(OK, at, "backup", "", "the last base copy is %s old, and %s", duration(age), whole)
	}
}

// freshCopy judges a base copy from which no server was started, where its
// files were compared.
func (j *judge) freshCopy(n NodeStatus) {
	switch n.Facts.CopyState {
	case CopyWhole:
		j.add(OK, n, "copy", "", "its base copy is as its manifest says")
	case CopyDamaged:
		j.add(Critical, n, "copy", fmt.Sprintf("warmrun verifyCopy on %s lists what is wrong; look for a failing disk, then copy anew", n.Node), "%s", n.Facts.CopyWrong)
	}
}
