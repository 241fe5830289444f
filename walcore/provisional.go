package walcore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// sidecar is the note beside a provisional segment: a segment that is valid
// up to an end in its middle and zero beyond. It is written before the
// segment appears under its name and removed after a whole one has taken its
// place, so it may speak of a file that is not there yet or no longer. The
// file itself decides: where WAL goes on, the bytes at the old end are not
// zero (each record begins with its length, each page with its magic number).
type sidecar struct {
	// Ends holds the end of the segment that is there and, while a longer one
	// replaces it, that one's end too.
	Ends []LSN `json:"ends"`
}

// Provisional reports whether the archive's copy of a segment is a
// provisional one, and if so the LSN up to which it is valid. A segment that
// is not there is not provisional.
func (a *Archive) Provisional(name SegmentName) (LSN, bool, error) {
	if err := a.present(); err != nil {
		return 0, false, err
	}
	note, err := a.readSidecar(name)
	if err != nil || len(note.Ends) == 0 {
		return 0, false, err
	}
	f, end, err := a.OpenWithEnd(FileName(name))
	if errors.Is(err, ErrNotArchived) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return end, end != 0, f.Close()
}

// Provisionals is Provisional for every segment that has a note.
func (a *Archive) Provisionals() (map[SegmentName]LSN, error) {
	found := map[SegmentName]LSN{}
	entries, err := os.ReadDir(a.state("provisional"))
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name, err := ParseSegmentName(entry.Name())
		if err != nil {
			continue
		}
		end, provisional, err := a.Provisional(name)
		if err != nil {
			return nil, err
		}
		if provisional {
			found[name] = end
		}
	}
	return found, nil
}

func (a *Archive) sidecarPath(name SegmentName) string {
	return a.state("provisional", string(name))
}

func (a *Archive) readSidecar(name SegmentName) (sidecar, error) {
	var note sidecar
	_, err := readState(a.sidecarPath(name), &note)
	return note, err
}

// writeSidecar makes the note durable before the segment gets its name.
func (a *Archive) writeSidecar(name SegmentName, ends ...LSN) error {
	slices.Sort(ends)
	return writeState(a.sidecarPath(name), sidecar{Ends: slices.Compact(ends)})
}

// removeSidecar makes sure that no note is left, flushed only if there was one.
func (a *Archive) removeSidecar(name SegmentName) error {
	path := a.sidecarPath(name)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return atomicfile.Remove(path)
}

// provisionalEnd is the first of the ends at which the segment's WAL stops,
// or 0 when it goes on past all of them.
func provisionalEnd(f *os.File, name SegmentName, ends []LSN) (LSN, error) {
	slices.Sort(ends)
	for _, end := range ends {
		stops, err := stopsAt(f, name, end)
		if err != nil {
			return 0, err
		}
		if stops {
			return end, nil
		}
	}
	return 0, nil
}

// stopsAt reports whether the eight bytes from end on are zero. The segment's
// size is taken from its file's size, which Put has checked.
func stopsAt(f *os.File, name SegmentName, end LSN) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	segmentSize := SegmentSize(info.Size())
	if info.Size() > 1<<30 || !segmentSize.Valid() || end <= name.Start(segmentSize) || end >= name.End(segmentSize) {
		return false, nil
	}
	next := make([]byte, 8)
	n, err := f.ReadAt(next, int64(end-name.Start(segmentSize)))
	if err != nil && !(errors.Is(err, io.EOF) && n > 0) {
		return false, fmt.Errorf("read %s at its end %s: %w", name, end, err)
	}
	return allZero(next[:n]), nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
