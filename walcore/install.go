package walcore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// install gives the received file its name, if it may have it.
func (p *put) install(ctx context.Context) (PutResult, error) {
	unlock, err := p.archive.lock(ctx)
	if err != nil {
		return PutResult{}, err
	}
	var result PutResult
	if err = p.stillThere(); err == nil {
		result, err = p.decide()
	}
	if err := errors.Join(err, unlock()); err != nil {
		return PutResult{}, err
	}
	if result.Identical {
		return p.settle()
	}
	if result.Replaced {
		return result, nil
	}
	// Out of the lock: another writer that finds the file flushes it as well.
	return result, p.syncDir()
}

// stillThere makes sure that the archive has not been retired since the
// temporary file was made: its successor must not get the old one's stamp.
func (p *put) stillThere() error {
	ours, err := p.tmp.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(p.tmp.Name()); err != nil || !os.SameFile(ours, there) {
		return fmt.Errorf("archive %s was moved aside while %s was stored in it, try again", p.archive.dir, p.Name)
	}
	return nil
}

// decide compares the file with what has the name now, which another writer
// may have put there a moment ago, and acts under the archive's lock.
func (p *put) decide() (PutResult, error) {
	if err := p.closeStored(); err != nil {
		return PutResult{}, err
	}
	if err := p.openStored(); err != nil {
		return PutResult{}, err
	}
	if p.stored == nil {
		return p.store()
	}
	end, err := p.endOfStored()
	if err != nil {
		return PutResult{}, err
	}
	offered, err := p.content()
	if err != nil {
		return PutResult{}, err
	}
	part, err := firstDifference(p.stored, offered)
	if err != nil {
		return PutResult{}, fmt.Errorf("compare %s with the copy in %s: %w", p.Name, p.archive.dir, err)
	}
	if part < 0 {
		return PutResult{Identical: true}, nil
	}
	return p.reconcile(end, part)
}

// endOfStored is where the stored copy ends if it is provisional, else 0. The
// lock is held, so its note does not change meanwhile.
func (p *put) endOfStored() (LSN, error) {
	if p.Name.Kind() != KindSegment {
		return 0, nil
	}
	note, err := p.archive.readSidecar(p.Name.Segment())
	if err != nil {
		return 0, err
	}
	return provisionalEnd(p.stored, p.Name.Segment(), note.Ends)
}

// reconcile decides over other bytes under the same name. end is where the
// stored copy ends if it is provisional, part the offset of the first byte
// that differs.
func (p *put) reconcile(end LSN, part int64) (PutResult, error) {
	switch {
	case p.Name.Kind() == KindHistory || p.Name.Kind() == KindBackup:
		return PutResult{}, p.differ(part)
	case p.Provisional != 0 && part >= p.validBytes() && (end == 0 || end >= p.Provisional):
		return PutResult{Identical: true}, nil // all of it is there, and more
	case end != 0 && p.at(part) >= end:
		return p.replace(end)
	case end == 0 && p.Provisional == 0:
		equal, err := p.sameRecords(part)
		if err != nil {
			return PutResult{}, err
		}
		if equal {
			return PutResult{Identical: true}, nil
		}
	}
	if err := p.checkStamp(); err != nil {
		return PutResult{}, err
	}
	if err := p.checkFence(); err != nil {
		return PutResult{}, err
	}
	return PutResult{}, p.differ(part)
}

// at is the LSN of an offset in the segment.
func (p *put) at(offset int64) LSN {
	return p.Name.Segment().Start(SegmentSize(p.Size)) + LSN(offset)
}

// sameRecords reports whether both copies hold the same records to the same
// end, so that only bytes differ which mean nothing. The end must be one
// where WAL stops by itself: a flipped bit in the stored copy ends its
// records early, too, and must not pass for that. A partial segment stops
// anywhere, and no server restores it by itself.
func (p *put) sameRecords(part int64) (bool, error) {
	offered, err := p.content()
	if err != nil {
		return false, err
	}
	ours, errOurs := p.scan(p.stored)
	theirs, errTheirs := p.scan(offered)
	if errOurs != nil || errTheirs != nil || ours.End != theirs.End || p.at(part) < ours.End {
		return false, nil // differ says what is wrong with which
	}
	switch {
	case p.Name.Kind() == KindPartial:
		return true, nil
	case ours.LastKind == RecordSwitch || ours.LastKind == RecordShutdownCheckpoint:
		return ours.LastKind == theirs.LastKind, nil
	}
	return false, nil
}

// store gives the name to the file; nothing has it yet.
func (p *put) store() (PutResult, error) {
	if err := p.checkStamp(); err != nil {
		return PutResult{}, err
	}
	if err := p.checkFence(); err != nil {
		return PutResult{}, err
	}
	if err := p.noteEnds(0); err != nil {
		return PutResult{}, err
	}
	if p.Name.Kind() == KindBackup {
		if err := p.archive.noteBackup(p.Name); err != nil {
			return PutResult{}, err
		}
	}
	if err := p.rename(); err != nil {
		return PutResult{}, err
	}
	return PutResult{Bytes: p.Size}, nil
}

// replace puts the file in the place of the provisional one that ends at end.
// The note that makes that one provisional goes when the new one is safely in
// place; until then the reader of the note sees from the file that it is old.
func (p *put) replace(end LSN) (PutResult, error) {
	if err := p.checkStamp(); err != nil {
		return PutResult{}, err
	}
	if err := p.checkFence(); err != nil {
		return PutResult{}, err
	}
	if p.Provisional != 0 {
		if err := p.noteEnds(end); err != nil {
			return PutResult{}, err
		}
	}
	if err := p.rename(); err != nil {
		return PutResult{}, err
	}
	if p.there.form.Packs() { // by hand: the plain one counts as soon as it is there
		if err := os.Remove(p.there.Name()); err != nil {
			return PutResult{}, err
		}
	}
	if err := p.syncDir(); err != nil {
		return PutResult{}, err
	}
	if err := p.Step("unsidecar"); err != nil {
		return PutResult{}, err
	}
	result := PutResult{Replaced: true, Bytes: p.Size}
	if p.Provisional != 0 {
		return result, p.archive.writeSidecar(p.Name.Segment(), p.Provisional)
	}
	return result, p.archive.removeSidecar(p.Name.Segment())
}

// noteEnds writes the note of a provisional segment, with the end of the one
// it is about to replace if there is one, and removes a stale note otherwise.
func (p *put) noteEnds(old LSN) error {
	if p.Name.Kind() != KindSegment {
		return nil
	}
	if p.Provisional == 0 {
		return p.archive.removeSidecar(p.Name.Segment())
	}
	if err := p.Step("sidecar"); err != nil {
		return err
	}
	if old == 0 {
		return p.archive.writeSidecar(p.Name.Segment(), p.Provisional)
	}
	return p.archive.writeSidecar(p.Name.Segment(), p.Provisional, old)
}

func (p *put) rename() error {
	if err := p.Step("rename"); err != nil {
		return err
	}
	if err := os.Rename(p.tmp.Name(), p.path+p.form.Suffix()); err != nil {
		return err
	}
	p.named = true
	return nil
}

// firstDifference is the offset of the first byte in which two files differ,
// the length of the shorter where it is the beginning of the longer, and -1
// where they are the same.
func firstDifference(a, b io.ReaderAt) (int64, error) {
	left, right := make([]byte, copyBuffer), make([]byte, copyBuffer)
	for at := int64(0); ; {
		n, err := a.ReadAt(left, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		m, err := b.ReadAt(right, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if n != m || !bytes.Equal(left[:n], right[:m]) {
			return at + int64(commonPrefix(left[:n], right[:m])), nil
		}
		if n < len(left) {
			return -1, nil
		}
		at += int64(n)
	}
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
