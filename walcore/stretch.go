package walcore

import (
	"errors"
	"io"
)

// stretch is the records that begin in one segment, read to their ends even
// where the last one runs on into later segments. Stretches that follow each
// other are one chain of records if each ends where the next begins: that is
// how the segments of an archive can be read side by side.
type stretch struct {
	records int
	// first is where the first record begins and prev where it says that the
	// one before it does. Both are zero where none begins in the segment.
	first, prev LSN
	// last is where the last record begins, next where the one after it will.
	last, next LSN
	lastKind   RecordKind
	timeline   Timeline // of the last page that was read in the segment
	// stop is why the records end before the end of the segment; nil if they
	// do not.
	stop *endError
	// into is the segment in which the record at stop was found wrong, where
	// that is another one than it begins in.
	into SegmentName
	// open: what follows the segment is not there or cannot be read, so that
	// its last record was not proved.
	open bool
	// forked: a record begins or ends at the LSN that was asked about.
	forked bool
}

// stretch reads the records that begin in the segment. fork is an LSN to be
// found between two of them, or 0. The error is that of a failing read or of
// a header that is not the segment's.
func (w *walReader) stretch(r io.ReaderAt, name SegmentName, fork LSN) (stretch, error) {
	if err := w.use(r, name); err != nil {
		return stretch{}, err
	}
	var s stretch
	err := s.read(w, name, fork)
	var stop *endError
	switch {
	case err == nil:
		return s, nil
	case goesOnAt(err, name.End(w.size)):
		s.open = s.first != 0
		return s, nil
	case errors.As(err, &stop):
		s.stop = stop
		if w.name != name {
			s.into = w.name
		}
		return s, nil
	}
	return s, err
}

func (s *stretch) read(w *walReader, name SegmentName, fork LSN) error {
	end := name.End(w.size)
	open := w.open
	w.open = nil // a segment in which no record begins says so without the next one
	at, err := w.skipContinued(name.Start(w.size))
	w.open = open
	if err != nil {
		return err
	}
	s.timeline = w.header.Timeline
	for at < end {
		rec, err := w.record(at, s.last, s.records == 0)
		s.next = at
		if err == nil || goesOnAt(err, end) {
			s.note(w, at, rec, fork)
		}
		if err != nil {
			return err
		}
		if rec.at >= end {
			// The last record that begins here was given up by the server,
			// which wrote another one over its rest in the next segment.
			s.next = rec.at
			return nil
		}
		s.records++
		s.last, s.lastKind, s.next = rec.at, rec.kind, rec.next
		at = rec.next
		if at < end {
			s.timeline = w.header.Timeline
		}
	}
	return nil
}

// goesOnAt reports whether a record could not be read because of what is beyond
// the end of its segment.
func goesOnAt(err error, end LSN) bool {
	var stop *endError
	return errors.Is(err, errRunsOn) || errors.As(err, &stop) && stop.at >= end
}

// note looks at a record that begins at at, or at rec.at where the server gave
// up the one at at.
func (s *stretch) note(w *walReader, at LSN, rec record, fork LSN) {
	if s.first == 0 {
		s.first = w.placeOf(at)
		if rec.at == s.first {
			s.prev = w.part.prev()
		}
	}
	if fork != 0 && (rec.at == w.placeOf(fork) || rec.end == fork) {
		s.forked = true
	}
}

// placeOf is where a record begins that is the first at or behind an LSN: behind
// the page header where the LSN is that of a page.
func (w *walReader) placeOf(at LSN) LSN {
	switch {
	case uint64(at)%uint64(w.size) == 0:
		return at + longHeaderSize
	case uint64(at)%uint64(w.block) == 0:
		return at + shortHeaderSize
	}
	return at
}
