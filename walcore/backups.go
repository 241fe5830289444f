package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// backupNotes is the directory with one empty file for each .backup file in
// the archive. A base backup ends with such a file (do_pg_backup_stop in
// xlog.c), whose name begins with the segment that the backup starts in. To
// know which backups there are must not cost a look at every segment.
const backupNotes = "backups"

// noteBackup is called before the .backup file gets its name: a note without
// a file is harmless, a file without its note may lose WAL.
func (a *Archive) noteBackup(name FileName) error {
	return atomicfile.WriteFile(a.state(backupNotes, string(name)), nil, 0o600)
}

// Backups are the newest n .backup files in the archive that are noted, newest
// first. One of a later timeline is newer: what an abandoned timeline has left
// may lie at higher addresses. The cost goes with the number of backups.
func (a *Archive) Backups(n int) ([]FileName, error) {
	entries, err := os.ReadDir(a.state(backupNotes))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, a.present()
	}
	if err != nil {
		return nil, fmt.Errorf("which backups there are: %w", err)
	}
	var kept []FileName
	for _, entry := range slices.Backward(entries) {
		name, err := ParseFileName(entry.Name())
		if err != nil || name.Kind() != KindBackup || len(kept) == n {
			continue
		}
		found, err := exists(filepath.Join(a.dir, string(name)))
		if err != nil {
			return nil, err
		}
		if found {
			kept = append(kept, name)
		}
	}
	return kept, nil
}

// findBackups notes the .backup files that came some other way than through
// this program. It reads the whole directory.
func (a *Archive) findBackups(ctx context.Context) error {
	if err := a.prepare(); err != nil {
		return err
	}
	return a.eachName(ctx, func(name FileName, _ string) error {
		if name.Kind() != KindBackup {
			return nil
		}
		if noted, err := exists(a.state(backupNotes, string(name))); noted || err != nil {
			return err
		}
		return a.noteBackup(name)
	})
}

// eachName calls visit with every WAL file in the archive and the name that it
// is stored under, in the order of the directory, a piece of which is in memory
// at a time.
func (a *Archive) eachName(ctx context.Context, visit func(name FileName, file string) error) (err error) {
	d, err := os.Open(a.dir)
	if err != nil {
		return a.missing(err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		entries, err := d.Readdirnames(1024)
		for _, entry := range entries {
			name, _, errName := parseStored(entry)
			if errName != nil {
				continue
			}
			if err := visit(name, entry); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// keptFrom is the position of the first segment that the backups to be kept
// need. As long as the archive has no backup at all it is unknown, and all WAL
// stays: the first backup may be under way.
func (r *restoring) keptFrom(ctx context.Context) (position string, known bool, err error) {
	kept, err := r.keptBackups(ctx)
	if err != nil || len(kept) == 0 {
		return "", false, err
	}
	position = kept[0].Segment().Position()
	for _, name := range kept {
		position = min(position, name.Segment().Position())
	}
	return position, true, nil
}

// keptBackups are the backups to be kept. Once a day the archive is searched
// for any that are not noted.
func (r *restoring) keptBackups(ctx context.Context) ([]FileName, error) {
	archive := &Archive{dir: r.Archive}
	if now := r.Now().UTC(); now.Sub(r.state.Cleaned.BackupsListed).Abs() > cleanupList {
		if err := archive.findBackups(ctx); err != nil {
			return nil, err
		}
		r.state.Cleaned.BackupsListed, r.dirty = now, true
	}
	return archive.Backups(r.KeepBackups)
}
