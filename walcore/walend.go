package walcore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WALDir is the directory of a cluster's WAL: pgdata/pg_wal, or pgdata/pg_xlog
// before 10. It may be a symbolic link. Where there is neither it is pg_wal.
func WALDir(pgdata string) string {
	dir := filepath.Join(pgdata, "pg_wal")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	old := filepath.Join(pgdata, "pg_xlog")
	if _, err := os.Stat(old); err == nil {
		return old
	}
	return dir
}

// RecordEnd reads the record at at on a timeline and returns where it ends:
// just past it, rounded up to where the next one may begin. The record may
// cross pages and segments; open is called for each segment, and is told the
// error fs.ErrNotExist by returning it. Any record that is not whole and valid
// is an error.
func RecordEnd(open func(SegmentName) (io.ReaderAt, error), at LSN, timeline Timeline, size SegmentSize) (LSN, error) {
	if !size.Valid() {
		return 0, fmt.Errorf("%d bytes is no segment size", size)
	}
	w := newWALReader(Identity{SegmentSize: size}, timeline)
	w.open = func(number uint64) (io.ReaderAt, SegmentName, error) {
		name := MakeSegmentName(timeline, number, size)
		r, err := open(name)
		return r, name, err
	}
	rec, err := w.first(at)
	if err != nil {
		return 0, fmt.Errorf("no valid record at %s on timeline %d: %w", at, uint32(timeline), err)
	}
	return rec.end, nil
}

// first reads the record at at without one before it.
func (w *walReader) first(at LSN) (record, error) {
	if err := w.change(uint64(at)/uint64(w.size), at); err != nil {
		return record{}, err
	}
	return w.record(at, 0, true)
}

// ShutdownEnd is the end of a cleanly stopped cluster's WAL: the LSN just past
// its shutdown checkpoint, and the segment which holds the byte before it.
// A standby that was promoted when it had replayed all of this cluster's WAL
// starts its timeline exactly there. walDir is the cluster's pg_wal and c its
// pg_control, which must say "shut down".
func ShutdownEnd(walDir string, c ControlFile) (LSN, SegmentName, error) {
	if c.State != StateShutDown {
		return 0, "", fmt.Errorf("the server was not stopped cleanly: its control file says %q", c.State)
	}
	dir, err := openWALDir(walDir, c)
	if err != nil {
		return 0, "", err
	}
	defer dir.close()
	rec, err := dir.reader.first(c.Checkpoint)
	if err != nil {
		return 0, "", fmt.Errorf("read the shutdown checkpoint at %s from %s: %w", c.Checkpoint, walDir, err)
	}
	if rec.kind != RecordShutdownCheckpoint {
		return 0, "", fmt.Errorf("the record at %s in %s is no shutdown checkpoint but %q: pg_control and the WAL do not belong together", c.Checkpoint, walDir, rec.kind)
	}
	return rec.end, dir.reader.name, nil
}

// EndOfWAL is where crash recovery of a cluster would end: the LSN just past
// the last valid record that can be reached from the redo point of the last
// checkpoint, through all segments in walDir, and the segment which holds the
// byte before it. For a server that was killed this is the end of what it had
// written; a record of which only a part was written is not counted. After an
// XLOG_SWITCH the end is that of the segment, as the server has it.
//
// The caller has proved that the server is down. Like the server it reads the
// timeline of the control file, or the newer one of a promotion that no
// checkpoint has followed yet, with the ancestors that its history file names.
// WAL that ends before the last checkpoint's own record is an error: such a
// cluster does not start either.
func EndOfWAL(walDir string, c ControlFile) (LSN, SegmentName, error) {
	if c.Redo > c.Checkpoint {
		return 0, "", fmt.Errorf("the control file's redo point %s lies after its checkpoint %s", c.Redo, c.Checkpoint)
	}
	dir, err := openWALDir(walDir, c)
	if err != nil {
		return 0, "", err
	}
	defer dir.close()
	var end LSN
	var segment SegmentName
	var checkpoint RecordKind
	rec, err := dir.reader.first(c.Redo)
	for err == nil {
		end, segment = rec.next, dir.reader.name
		if rec.at == c.Checkpoint {
			checkpoint = rec.kind
		}
		rec, err = dir.reader.record(rec.next, rec.at, false)
	}
	var stop *endError
	if !errors.As(err, &stop) {
		return 0, "", fmt.Errorf("follow the WAL in %s: %w", walDir, err)
	}
	if checkpoint != RecordShutdownCheckpoint && checkpoint != RecordOnlineCheckpoint {
		return 0, "", fmt.Errorf("the WAL in %s does not reach from the redo point %s over the checkpoint at %s: %w", walDir, c.Redo, c.Checkpoint, err)
	}
	return end, segment, nil
}

// walDirectory opens the segments of a cluster's own pg_wal.
type walDirectory struct {
	dir     string
	size    SegmentSize
	lines   []lineage // newest first
	file    *os.File
	current Timeline // of file
	reader  *walReader
}

// lineage is one timeline and the LSN at which it began.
type lineage struct {
	timeline Timeline
	begin    LSN
}

func openWALDir(dir string, c ControlFile) (*walDirectory, error) {
	if !c.SegmentSize.Valid() {
		return nil, fmt.Errorf("the control file gives a segment size of %d bytes", c.SegmentSize)
	}
	// A promotion writes the new timeline into the minimum recovery point at
	// once, and into the checkpoint only when the next one is done.
	target := max(c.Timeline, c.MinRecoveryTimeline)
	d := &walDirectory{dir: dir, size: c.SegmentSize}
	if err := d.readLineage(target); err != nil {
		return nil, err
	}
	if !d.has(c.Timeline) {
		return nil, fmt.Errorf("timeline %d of the last checkpoint is not in the history of timeline %d in %s", uint32(c.Timeline), uint32(target), dir)
	}
	d.reader = newWALReader(c.Identity(), target)
	d.reader.known = d.has
	d.reader.open = d.open
	return d, nil
}

// readLineage fills lines from the history file. Without the file a timeline
// has no ancestors, and the first one has no file, as in readTimeLineHistory.
func (d *walDirectory) readLineage(target Timeline) error {
	var history History
	if target == 1 {
		d.lines = []lineage{{timeline: target}}
		return nil
	}
	f, err := os.Open(filepath.Join(d.dir, string(target.HistoryName())))
	if err == nil {
		history, err = ParseHistory(f, target)
		f.Close() //nolint:errcheck // only read from
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.lines = []lineage{{target, history.Begin()}}
	for i := len(history) - 1; i >= 0; i-- {
		d.lines = append(d.lines, lineage{history[i].Timeline, history[:i].Begin()})
	}
	return nil
}

func (d *walDirectory) has(t Timeline) bool {
	for _, l := range d.lines {
		if l.timeline == t {
			return true
		}
	}
	return false
}

// open finds a segment on the newest timeline that had begun by its end and
// has the file, never going back to an older one (XLogFileReadAnyTLI in
// access/transam/xlogrecovery.c).
func (d *walDirectory) open(number uint64) (io.ReaderAt, SegmentName, error) {
	last := d.current
	d.close()
	for _, l := range d.lines {
		if l.timeline < last {
			break
		}
		if number < uint64(l.begin)/uint64(d.size) {
			continue
		}
		name := MakeSegmentName(l.timeline, number, d.size)
		f, err := os.Open(filepath.Join(d.dir, string(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		d.file, d.current = f, l.timeline
		return f, name, nil
	}
	return nil, "", fmt.Errorf("%s in %s: %w", SegmentAt(d.lines[0].timeline, LSN(number*uint64(d.size)), d.size), d.dir, fs.ErrNotExist)
}

func (d *walDirectory) close() {
	if d.file != nil {
		d.file.Close() //nolint:errcheck // only read from
		d.file = nil
	}
}
