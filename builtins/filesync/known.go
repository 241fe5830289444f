package filesync

import (
	"errors"
	"time"
)

// sums hashes a span of what is there already.
func (r *receiver) sums(d *decoder) error {
	id, in, err := r.job(d)
	if err != nil {
		return err
	}
	offset := d.int()
	if err := d.finish(); err != nil {
		return err
	}
	if offset < max(in.asked, in.from) || offset%spanSize != 0 || offset >= in.known() {
		return protocolError("hashes asked for at %d of %d", offset, in.known())
	}
	in.asked = offset + spanSize
	hashes, err := r.hashes(in, offset)
	if err != nil {
		return in.fail(err)
	}
	return r.answer(frameHashes, new(encoder).uint(uint64(id)).int(offset).b, hashes)
}

// hashes are those of what an earlier copy has written of a span, or else of
// the file that it was to replace.
func (r *receiver) hashes(in *incoming, offset int64) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, readSize)
	}
	if end := min(in.to, in.partial, offset+spanSize); end > offset {
		if err := r.openOut(in); err != nil {
			return nil, err
		}
		if in.temp != "" && !(knowsHoles(in.out) && inHole(in.out, offset, end-offset)) {
			in.keep(offset)
			return r.hash.span(in.out, offset, end, r.buf)
		}
	}
	end := min(in.to, in.basis, offset+spanSize)
	if end <= offset {
		return nil, nil
	}
	if err := r.openOld(in); err != nil {
		return nil, err
	}
	hashes, err := r.hash.span(in.old, offset, end, r.buf)
	if err == nil && in.known() <= in.from+spanSize {
		err = in.closeOld() // many small files may be compared ahead
	}
	return hashes, err
}

// keep notes that a span is compared with what an earlier copy has written.
func (in *incoming) keep(offset int64) {
	if in.kept == nil {
		in.kept = make([]bool, (in.to-in.from+spanSize-1)/spanSize)
	}
	in.kept[(offset-in.from)/spanSize] = true
}

// openOld opens the file that is there already.
func (r *receiver) openOld(in *incoming) error {
	if in.old != nil {
		return nil
	}
	f, info, err := openRegular(r.tree.root, in.entry.Path)
	if err != nil {
		return err
	}
	// Another stream may be writing its own part of the file, even past its
	// end; nobody may write to a whole one.
	before := in.oldInfo
	if info.Size() < in.basis || !in.shared && (info.Size() != in.basis || before != nil && !sameState(info, before)) {
		return errors.Join(errBasisChanged, f.Close())
	}
	in.old, in.oldInfo = f, info
	return nil
}

// checkOld reports that the file that is there already was written to while it
// was compared and copied from.
func (in *incoming) checkOld() error {
	if in.old == nil || in.temp == "" {
		return nil
	}
	now, err := in.old.Stat()
	if err == nil && !sameState(now, in.oldInfo) {
		err = errBasisChanged
	}
	return err
}

// checkSince is checkOld for a file whose parts were compared when it had the
// given time, which is zero where none was. What is written in place gives the
// file another time itself.
func (in *incoming) checkSince(compared time.Time) error {
	inPlace := in.out != nil && in.temp == ""
	if in.old != nil && !inPlace && !compared.IsZero() && !in.oldInfo.ModTime().Equal(compared) {
		return errBasisChanged
	}
	return in.checkOld()
}

func (in *incoming) closeOld() error {
	if in.old == nil {
		return nil
	}
	err := in.old.Close()
	in.old = nil
	return err
}
