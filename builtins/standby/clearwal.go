package standby

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// ClearWAL takes the segments out of the stopped node's pg_wal that begin where the
// primary's history has left their timeline, or later, and their marks. What holds
// WAL is copied into a directory first, durably; the others were made for later and
// never written. It returns how many were kept so.
//
// A server that was promoted again would mark them for its archive_command
// (XLogArchiveCheckDone in xlogarchive.c, from RemoveOldXlogFiles), where nobody
// takes them, and archive nothing after them.
func (n Node) ClearWAL(primary Lineage, to string) (kept int, err error) {
	control, err := n.Server.Control()
	if err != nil {
		return 0, err
	}
	return clearWAL(walcore.WALDir(n.Server.PGData), control.Identity(), primary, to)
}

func clearWAL(dir string, cluster walcore.Identity, primary Lineage, to string) (kept int, err error) {
	names, err := walNames(dir)
	if err != nil {
		return 0, err
	}
	var drop []string
	for _, name := range names {
		file, err := walcore.ParseFileName(filepath.Base(name))
		if err != nil || file.Kind() != walcore.KindSegment || !left(primary, file.Segment(), cluster.SegmentSize) {
			continue
		}
		written, err := holdsWAL(filepath.Join(dir, name), file.Segment(), cluster)
		if err == nil && written {
			kept++
			err = keepFile(filepath.Join(dir, name), filepath.Join(to, name))
		}
		if err != nil {
			return kept, err
		}
		drop = append(drop, name)
	}
	return kept, dropSegments(dir, drop)
}

// left reports whether the primary's history has nothing of a segment.
func left(primary Lineage, segment walcore.SegmentName, size walcore.SegmentSize) bool {
	if segment.Timeline() >= primary.Timeline {
		return false
	}
	fork, onHistory := primary.History.Fork(segment.Timeline())
	return onHistory && segment.Start(size) >= fork
}

// holdsWAL is false for a segment that was recycled or filled with zeros.
func holdsWAL(path string, name walcore.SegmentName, identity walcore.Identity) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	header, err := walcore.ReadPageHeader(f)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return false, err
	}
	return err == nil && header.Check(name, identity) == nil, nil
}

// dropSegments removes segments and their marks, these first: a mark without its
// segment would hold the archiver up.
func dropSegments(dir string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	status := filepath.Join(dir, "archive_status")
	for _, name := range names {
		for _, mark := range []string{".ready", ".done"} {
			if err := os.Remove(filepath.Join(status, name+mark)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := atomicfile.SyncDir(status); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(dir)
}
