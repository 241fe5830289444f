package ship

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore"
)

// openFile opens what a client asks for: in the archive, else in the pg_wal of
// the server on this node, where that has finished with it.
func (s *session) openFile(archive *walcore.Archive, name walcore.FileName) (io.ReadCloser, fileReply, error) {
	f, end, err := archive.OpenWithEnd(name)
	var reader io.ReadCloser = f
	if errors.Is(err, walcore.ErrNotArchived) && s.cfg.WALDir != "" {
		var finished *finishedFile
		if finished, err = openFinished(s.cfg.WALDir, archive, name); err == nil {
			f, reader = finished.file, finished
		}
	}
	if err != nil {
		return nil, fileReply{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fileReply{}, errors.Join(err, f.Close())
	}
	return reader, fileReply{Size: info.Size(), Provisional: end}, nil
}

// openFinished opens a segment or history of a server's pg_wal. The server
// marks one with .ready once it will write no more to it, and that becomes
// .done when it has been archived (XLogArchiveNotify and XLogArchiveDone in
// xlogarchive.c). The segment that is being written has no mark, nor has one
// that was recycled under a name of the future. A segment that reaches past
// the cut of its timeline is not handed out.
func openFinished(dir string, archive *walcore.Archive, name walcore.FileName) (*finishedFile, error) {
	if name.Kind() != walcore.KindSegment && name.Kind() != walcore.KindHistory {
		return nil, fmt.Errorf("%s: %w", name, walcore.ErrNotArchived)
	}
	f, err := os.Open(filepath.Join(dir, string(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, walcore.ErrNotArchived)
	}
	if err != nil {
		return nil, err
	}
	finished := &finishedFile{file: f, dir: dir, name: name}
	err = finished.check()
	if err == nil && name.Kind() == walcore.KindSegment {
		err = finished.within(archive)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return finished, nil
}

// finishedFile is a file of pg_wal that is read to its end only if it was that
// file all the time: a server renames a segment that it needs no more and
// writes over it.
type finishedFile struct {
	file *os.File // not embedded: all reading goes through Read
	dir  string
	name walcore.FileName
}

func (f *finishedFile) Read(b []byte) (int, error) {
	n, err := f.file.Read(b)
	if errors.Is(err, io.EOF) {
		if changed := f.check(); changed != nil {
			return n, changed
		}
	}
	return n, err
}

// Close closes the file.
func (f *finishedFile) Close() error { return f.file.Close() }

// check sees that the file still has its name and its mark. A server that
// recycles a segment renames it first and then takes the mark away
// (RemoveXlogFile in xlog.c), so the name is looked at last.
func (f *finishedFile) check() error {
	marked := false
	for _, mark := range []string{".ready", ".done"} {
		_, err := os.Stat(filepath.Join(f.dir, "archive_status", string(f.name)+mark))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		marked = marked || err == nil
	}
	ours, err := f.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.file.Name())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !marked || err != nil || !os.SameFile(ours, there) {
		return fmt.Errorf("%s is not one that the server here has finished with: %w", f.name, walcore.ErrNotArchived)
	}
	return nil
}

// within checks the segment against its name and against the fence.
func (f *finishedFile) within(archive *walcore.Archive) error {
	header, err := walcore.ReadPageHeader(f.file)
	if err != nil {
		return err
	}
	segment := f.name.Segment()
	if err := header.Check(segment, walcore.Identity{}); err != nil {
		return err
	}
	fence, err := archive.Fence()
	if err != nil {
		return err
	}
	if cut, ok := fence.Cut(segment.Timeline()); ok && segment.End(header.SegmentSize) > cut.LSN {
		return fmt.Errorf("%s reaches past %s, where its timeline was cut: %w", f.name, cut.LSN, walcore.ErrNotArchived)
	}
	return nil
}
