package walcore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
)

// endError says that valid WAL ends, and why. Whether that is a failure is for
// the caller to know.
type endError struct {
	at     LSN
	reason string
	cause  error // may be nil
	// unwritten: zeros are where a record would begin.
	unwritten bool
}

func (e *endError) Error() string { return fmt.Sprintf("%s at %s", e.reason, e.at) }
func (e *endError) Unwrap() error { return e.cause }

func endAt(at LSN, format string, args ...any) error {
	return &endError{at: at, reason: fmt.Sprintf(format, args...)}
}

// readError is a failing read, as opposed to content that is not valid.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// errRunsOn says that WAL goes on in a segment that the reader has not got.
var errRunsOn = errors.New("the WAL runs on into another segment")

// walReader reads WAL records as xlogreader.c does, page by page.
type walReader struct {
	id     Identity
	newest Timeline                                       // pages of a later one are none of ours
	known  func(Timeline) bool                            // nil: all up to newest
	open   func(uint64) (io.ReaderAt, SegmentName, error) // segment number; nil: there is only the one in use

	keeps bool // the bytes that landmark looks at

	size      SegmentSize
	block     uint32 // this and the next two are of the first segment used, zero before
	magic     uint16
	overwrite uint16 // that magic's flag for an overwritten record
	table     *crc32.Table

	file   io.ReaderAt
	name   SegmentName
	number uint64

	window   []byte // a run of pages of file
	windowAt int64  // its offset there

	page      []byte // the page in use, a part of window; nil if none is
	header    PageHeader
	headerLen int

	part partial // here so that it is allocated once

	lastPage     LSN // the farthest page seen, and its timeline
	lastTimeline Timeline
}

const windowSize = 256 << 10

func newWALReader(id Identity, newest Timeline) *walReader {
	return &walReader{id: id, newest: newest, size: id.SegmentSize, table: crc32.MakeTable(crc32.Castagnoli)}
}

// use makes the segment the one that is read, once its first page is proved
// to be what the name and the cluster say.
func (w *walReader) use(r io.ReaderAt, name SegmentName) error {
	if kindOf(string(name)) != KindSegment {
		return fmt.Errorf("%q is not the name of a WAL segment", string(name))
	}
	h, err := ReadPageHeader(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := h.Check(name, w.id); err != nil {
		return err
	}
	if h.Magic < magicRecord95 {
		return fmt.Errorf("%s: %w", name, ErrOldFormat)
	}
	if w.block == 0 {
		w.size, w.block, w.magic, w.overwrite = h.SegmentSize, h.BlockSize, h.Magic, overwriteFlag(h.Magic)
		w.id = h.Identity()
		if cap(w.window) < int(w.block) {
			w.window = make([]byte, 0, max(windowSize, int(w.block)))
		}
	}
	if h.BlockSize != w.block || h.Magic != w.magic {
		return fmt.Errorf("%s was written by another version of the server than the segment before it (%04X, was %04X)", name, h.Magic, w.magic)
	}
	w.file, w.name, w.number = r, name, name.Number(w.size)
	w.window, w.page = w.window[:0], nil
	return nil
}

// load makes the page at at, a multiple of the block size, the one in use.
func (w *walReader) load(at LSN) error {
	if w.page != nil && w.header.Address == at {
		return nil
	}
	if number := uint64(at) / uint64(w.size); w.file == nil || number != w.number {
		if err := w.change(number, at); err != nil {
			return err
		}
	}
	offset := int64(uint64(at) % uint64(w.size))
	page, err := w.read(offset, at)
	if err != nil {
		return err
	}
	h := decodeHeader(page)
	length := shortHeaderSize
	if h.Info&pageLongHeader != 0 {
		length = longHeaderSize
	}
	if err := w.checkPage(h, page, at, offset); err != nil {
		return err
	}
	w.page, w.header, w.headerLen = page, h, length
	if at >= w.lastPage {
		w.lastPage, w.lastTimeline = at, h.Timeline
	}
	return nil
}

// change opens another segment for the page at at.
func (w *walReader) change(number uint64, at LSN) error {
	if w.open == nil {
		return errRunsOn
	}
	w.page = nil
	r, name, err := w.open(number)
	if errors.Is(err, fs.ErrNotExist) {
		return &endError{at: at, reason: "there is no segment", cause: err}
	}
	if err != nil {
		return err
	}
	err = w.use(r, name)
	var failed *readError
	if err != nil && !errors.As(err, &failed) {
		return &endError{at: at, reason: err.Error() + "; no WAL", cause: err}
	}
	return err
}

// read returns the page at offset of the segment in use, from the window.
func (w *walReader) read(offset int64, at LSN) ([]byte, error) {
	from := offset - w.windowAt
	if len(w.window) == 0 || from < 0 || from+int64(w.block) > int64(len(w.window)) {
		w.page = nil // it lies in the window
		length := min(int64(cap(w.window)), int64(w.size)-offset)
		n, err := w.file.ReadAt(w.window[:length], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, &readError{fmt.Errorf("read %s: %w", w.name, err)}
		}
		w.window, w.windowAt, from = w.window[:n], offset, 0
	}
	if from+int64(w.block) > int64(len(w.window)) {
		w.window = w.window[:0]
		return nil, endAt(at, "the file of segment %s is too short: it ends", w.name)
	}
	return w.window[from : from+int64(w.block)], nil
}

// checkPage is XLogReaderValidatePageHeader. Most often it fails on a page of
// a recycled segment that has not been written again, by its address.
func (w *walReader) checkPage(h PageHeader, page []byte, at LSN, offset int64) error {
	switch {
	case h.Magic != w.magic:
		return endAt(at, "a page with magic number %04X instead of %04X", h.Magic, w.magic)
	case h.Info&^flagsOf(w.magic) != 0:
		return endAt(at, "a page with unknown info bits %04X", h.Info)
	case h.Info&pageLongHeader == 0 && offset == 0:
		return endAt(at, "a segment without a long page header")
	case h.Address != at:
		return endAt(at, "a page with the address %s, left from an older use of the file,", h.Address)
	case h.Timeline > w.newest || w.known != nil && !w.known(h.Timeline):
		return endAt(at, "a page of timeline %d, which is not in this history,", uint32(h.Timeline))
	case at > w.lastPage && h.Timeline < w.lastTimeline:
		return endAt(at, "a page of timeline %d after timeline %d", uint32(h.Timeline), uint32(w.lastTimeline))
	}
	if h.Info&pageLongHeader == 0 {
		return nil
	}
	system := binary.LittleEndian.Uint64(page[24:])
	size := SegmentSize(binary.LittleEndian.Uint32(page[32:]))
	block := binary.LittleEndian.Uint32(page[36:])
	if system != w.id.SystemID || size != w.size || block != w.block {
		return endAt(at, "a page of another cluster")
	}
	return nil
}

// skipContinued returns where the first record of the segment in use begins,
// past the rest of one from the segment before.
func (w *walReader) skipContinued(start LSN) (LSN, error) {
	at, want := start, uint32(0)
	for {
		if err := w.load(at); errors.Is(err, errRunsOn) {
			return at, err
		} else if err != nil {
			return start, err
		}
		if w.header.Info&pageFirstIsContinued == 0 || w.header.Info&w.overwrite != 0 {
			if want != 0 && w.header.Info&w.overwrite == 0 {
				return start, endAt(at, "a page that does not go on with the record before it")
			}
			return at, nil
		}
		rest, space := w.header.Remaining, w.block-uint32(w.headerLen)
		if rest == 0 || rest > recordMaxSize || want != 0 && rest != want {
			return start, endAt(at, "a page with %d bytes of the record before it instead of %d", rest, want)
		}
		if rest <= space {
			return at + LSN(w.headerLen) + alignRecord(rest), nil
		}
		want = rest - space
		at += LSN(w.block)
	}
}
