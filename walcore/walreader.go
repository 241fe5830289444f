package walcore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
)

// Facts of a record's header (XLogRecord in access/xlogrecord.h): total
// length, transaction, start of the previous record, info, resource manager,
// two bytes of padding, CRC-32C of the body and then of the header up to here.
const (
	recordHeaderSize = 24
	recordAlignment  = 8
	recordMaxSize    = 1<<30 - 1 // MaxAllocSize; a server from 16 on refuses even 1020 MB

	recordPrevAt = 8
	recordInfoAt = 16
	recordRmgrAt = 17
	recordCRCAt  = 20

	rmgrXLOG = 0
)

// endError says that valid WAL ends, and why. Whether that is a failure is for
// the caller to know.
type endError struct {
	at     LSN
	reason string
	cause  error // may be nil
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

// record is one valid record.
type record struct {
	at   LSN // its first byte
	end  LSN // its last byte and the padding to where the next may begin
	next LSN // where the next one is: end, but the next segment after an XLOG_SWITCH
	kind RecordKind
}

// walReader reads WAL records as xlogreader.c does, page by page.
type walReader struct {
	id     Identity
	newest Timeline                                       // pages of a later one are none of ours
	known  func(Timeline) bool                            // nil: all up to newest
	open   func(uint64) (io.ReaderAt, SegmentName, error) // segment number; nil: there is only the one in use

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
		w.window = make([]byte, 0, max(windowSize, int(w.block)))
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

// record reads and checks the record at at, which is where one begins or the
// beginning of a page. It must point back to prev; with random set, to
// anything before itself. On errRunsOn, the record's start is set.
func (w *walReader) record(at, prev LSN, random bool) (record, error) {
	for {
		rec, again, err := w.assemble(at, prev, random)
		if err != nil || again == 0 {
			return rec, err
		}
		at = again // the record was never finished: another one was written over its rest
	}
}

// partial is a record that is being put together.
type partial struct {
	at     LSN
	total  uint32
	got    uint32
	header [recordHeaderSize]byte
	crc    uint32
}

// take adds the next piece.
func (p *partial) take(piece []byte, table *crc32.Table) {
	if p.got < recordHeaderSize {
		n := copy(p.header[p.got:], piece)
		p.got += uint32(n)
		piece = piece[n:]
	}
	if len(piece) > 0 {
		p.crc = crc32.Update(p.crc, table, piece)
		p.got += uint32(len(piece))
	}
}

// assemble reads one record. again is not zero when the record turns out to
// have been given up by the server, and is the page to go on with.
func (w *walReader) assemble(at, prev LSN, random bool) (rec record, again LSN, err error) {
	pageAt := at - at%LSN(w.block)
	if err := w.load(pageAt); err != nil {
		return record{at: at}, 0, err
	}
	if at == pageAt {
		at += LSN(w.headerLen)
	}
	rec.at = at
	offset := int(at - pageAt)
	if offset < w.headerLen || at%recordAlignment != 0 {
		return rec, 0, endAt(at, "not a place where a record can begin")
	}
	if offset == w.headerLen && w.header.Info&pageFirstIsContinued != 0 {
		return rec, 0, endAt(at, "the rest of an earlier record instead of a record")
	}
	first := w.page[offset:]
	p := &w.part
	*p = partial{at: at, total: binary.LittleEndian.Uint32(first)}
	if p.total < recordHeaderSize || p.total > recordMaxSize {
		return rec, 0, endAt(at, "a record of length %d", p.total)
	}
	p.take(first[:min(int(p.total), len(first))], w.table)
	if err := p.checkPrev(prev, random); err != nil {
		return rec, 0, err
	}
	rec.end = at + alignRecord(p.got)
	for p.got < p.total {
		pageAt += LSN(w.block)
		again, err := w.continueRecord(p, pageAt, prev, random)
		if again != 0 || err != nil {
			return rec, again, err
		}
		rec.end = pageAt + LSN(w.headerLen) + alignRecord(min(w.header.Remaining, w.block-uint32(w.headerLen)))
	}
	return w.finish(rec, p)
}

// continueRecord adds the piece on the page at pageAt.
func (w *walReader) continueRecord(p *partial, pageAt, prev LSN, random bool) (again LSN, err error) {
	if err := w.load(pageAt); err != nil {
		return 0, err
	}
	switch {
	case w.header.Info&w.overwrite != 0:
		return pageAt, nil
	case w.header.Info&pageFirstIsContinued == 0:
		return 0, endAt(p.at, "an unfinished record (nothing of it on the page at %s)", pageAt)
	case w.header.Remaining != p.total-p.got:
		return 0, endAt(p.at, "an unfinished record (%d bytes of it on the page at %s, want %d)", w.header.Remaining, pageAt, p.total-p.got)
	}
	body := w.page[w.headerLen:]
	whole := p.got >= recordHeaderSize
	p.take(body[:min(int(w.header.Remaining), len(body))], w.table)
	if whole {
		return 0, nil
	}
	return 0, p.checkPrev(prev, random)
}

// checkPrev checks the pointer to the previous record as soon as it has been
// read. It is the guard against an old record that still stands whole in a
// recycled file.
func (p *partial) checkPrev(prev LSN, random bool) error {
	if p.got < recordPrevAt+8 {
		return nil
	}
	got := LSN(binary.LittleEndian.Uint64(p.header[recordPrevAt:]))
	if random && got >= p.at || !random && got != prev {
		return endAt(p.at, "a record that points back to %s and not to the record before it", got)
	}
	return nil
}

// finish checks the record's checksum and says what it is.
func (w *walReader) finish(rec record, p *partial) (record, LSN, error) {
	crc := crc32.Update(p.crc, w.table, p.header[:recordCRCAt])
	if crc != binary.LittleEndian.Uint32(p.header[recordCRCAt:]) {
		return rec, 0, endAt(rec.at, "a record whose checksum does not match")
	}
	rec.kind = kindOfRecord(p.header[recordRmgrAt], p.header[recordInfoAt])
	rec.next = rec.end
	if rec.kind == RecordSwitch {
		rec.next = w.name.End(w.size)
	}
	return rec, 0, nil
}

// kindOfRecord looks at the upper four info bits; the lower four are not the
// resource manager's.
func kindOfRecord(rmgr, info byte) RecordKind {
	if rmgr != rmgrXLOG {
		return RecordOther
	}
	switch info & 0xF0 {
	case 0x00:
		return RecordShutdownCheckpoint
	case 0x10:
		return RecordOnlineCheckpoint
	case 0x40:
		return RecordSwitch
	case 0x90:
		return RecordEndOfRecovery
	}
	return RecordOther
}

func alignRecord(n uint32) LSN {
	return (LSN(n) + recordAlignment - 1) &^ (recordAlignment - 1)
}
