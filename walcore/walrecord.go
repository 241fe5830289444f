package walcore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
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
	rmgrXact = 1
)

// record is one valid record.
type record struct {
	at   LSN // its first byte
	end  LSN // its last byte and the padding to where the next may begin
	next LSN // where the next one is: end, but the next segment after an XLOG_SWITCH
	kind RecordKind
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
	// body is the first bytes behind the header, where the reader keeps them.
	body  [landmarkSize]byte
	kept  int
	keeps bool
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
		if p.keeps && p.kept < len(p.body) {
			p.kept += copy(p.body[p.kept:], piece)
		}
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
	*p = partial{at: at, total: binary.LittleEndian.Uint32(first), keeps: w.keeps}
	if p.total < recordHeaderSize || p.total > recordMaxSize {
		return rec, 0, &endError{at: at, reason: fmt.Sprintf("a record of length %d", p.total), unwritten: p.total == 0}
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

// prev is where the record says that the one before it begins; 0 where it has
// not been read so far.
func (p *partial) prev() LSN {
	if p.got < recordPrevAt+8 {
		return 0
	}
	return LSN(binary.LittleEndian.Uint64(p.header[recordPrevAt:]))
}

// checkPrev checks the pointer to the previous record as soon as it has been
// read. It is the guard against an old record that still stands whole in a
// recycled file.
func (p *partial) checkPrev(prev LSN, random bool) error {
	if p.got < recordPrevAt+8 {
		return nil
	}
	got := p.prev()
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
