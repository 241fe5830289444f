package filesync

import (
	"sync"
	"time"
)

// job is a file to copy, or a range of one.
type job struct {
	id       uint32
	entry    *Entry
	from, to int64  // what of the file: all of it, but for a part
	basis    int64  // size of the file that the target has; -1 for none worth comparing
	partial  int64  // size of what an earlier copy left under the temporary name; -1 for none
	sure     []span // what of that needs no comparing: an earlier copy has noted it; of partial where there is one, else of basis
	stale    bool   // what is noted of the file there is void
	kept     bool   // the target has it: it is only to be looked at, by an Inspector
	split    *split // the file that this is a part of; nil for a whole file
}

// size is how many bytes of the file the job is for.
func (j job) size() int64 { return j.to - j.from }

// known is up to where the target may have content worth comparing.
func (j job) known() int64 { return min(j.to, max(j.basis, j.partial)) }

// isPart reports whether the job is for a range of a file and not for all of it.
func (j job) isPart() bool { return j.from > 0 || j.to < j.entry.Size }

// check refuses a job from a peer that cannot be right.
func (j job) check() error {
	size := j.entry.Size
	switch {
	case j.entry.Kind != File:
		return protocolError("%q is sent as a file but is none", j.entry.Path)
	case j.from < 0 || j.from > j.to || j.to > size || j.from%spanSize != 0 || j.size() > rangeOf(size):
		return protocolError("%q is sent from %d to %d of %d", j.entry.Path, j.from, j.to, size)
	case j.basis < -1 || j.partial < -1:
		return protocolError("%q is sent over a file of an impossible size", j.entry.Path)
	}
	for _, s := range j.sure {
		if s.from < j.from || s.to > j.to || s.from%spanSize != 0 || s.to%spanSize != 0 && s.to != j.to {
			return protocolError("%q is sent with %d to %d as known, of %d to %d", j.entry.Path, s.from, s.to, j.from, j.to)
		}
	}
	return nil
}

// isSure reports whether the target has what begins at an offset, up to the end
// of its span.
func (j job) isSure(offset int64) bool {
	for _, s := range j.sure {
		if offset >= s.from && offset < s.to {
			return true
		}
	}
	return false
}

// resumes reports whether the target has some of the job under its temporary
// name for sure.
func (j job) resumes() bool { return len(j.sure) > 0 && j.partial >= 0 }

const (
	// rangeSize is how much of a large file one stream takes at a time, so that
	// no file is left to one stream at the end.
	rangeSize = 16 << 20
	// maxParts bounds the parts of a file; a huge one has larger ranges.
	maxParts = 1024
)

// rangeOf is how large the parts of a file are. It is a multiple of spanSize.
func rangeOf(size int64) int64 {
	spans := (size/maxParts + spanSize - 1) / spanSize
	return max(rangeSize, spans*spanSize)
}

// split is a file whose parts are copied by several streams.
type split struct {
	whole job

	mu      sync.Mutex
	inspect Inspector
	reading int // parts that are still to be read
	copying int // parts whose outcome is still to come
	told    bool
	gone    bool
	stamp   time.Time
	same    []span    // parts that are the same as in the basis and have been left there
	old     time.Time // modification time that the basis had then
	touched bool      // some part differed
}

func newSplit(j job) *split {
	step := rangeOf(j.entry.Size)
	n := int((j.entry.Size + step - 1) / step)
	return &split{whole: j, reading: n, copying: n}
}

// part is the job for the part of the file that begins at an offset.
func (s *split) part(from int64) job {
	p := s.whole
	p.from, p.to, p.split = from, min(from+rangeOf(p.entry.Size), p.entry.Size), s
	p.sure = within(s.whole.sure, p.from, p.to)
	return p
}

// outcome is what became of a job at the target.
type outcome struct {
	gone    bool
	touched bool      // the target has, or gets, other content than before
	stamp   time.Time // modification time for the copy
	old     time.Time // that of the basis as it was compared; zero where it was not
}

// span is a stretch of a file.
type span struct{ from, to int64 }

// within is what of some stretches lies in a range.
func within(all []span, from, to int64) []span {
	var some []span
	for _, s := range all {
		if s = (span{max(s.from, from), min(s.to, to)}); s.from < s.to {
			some = append(some, s)
		}
	}
	return some
}

// inspector returns the one who looks at the file as a whole.
func (s *split) inspector(find func(Entry) Inspector) Inspector {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inspect == nil {
		s.inspect = find(*s.whole.entry)
	}
	return s.inspect
}

// read notes that a part has been read, and tells the inspector when all are.
func (s *split) read() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading--; s.reading > 0 || s.gone {
		return nil
	}
	return s.inspect.Done(s.whole.entry.Size)
}

// changed reports whether a change of the file is news.
func (s *split) changed(c Change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = s.gone || c == Vanished
	news := !s.told
	s.told = true
	return news
}

// done notes what became of a part. It reports whether it was the last one, and
// whether the file was written to between two of them, or replaced, which no
// part by itself can see. That is told once, like every change.
func (s *split) done(j job, o outcome) (last, mixed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = s.gone || o.gone
	s.touched = s.touched || o.touched
	if !o.touched {
		s.same = append(s.same, span{j.from, j.to})
		if s.old.IsZero() {
			s.old = o.old
		}
	}
	switch {
	case s.stamp.IsZero():
		s.stamp = o.stamp
	case !s.stamp.Equal(o.stamp):
		// Times that verdict moved by a nanosecond may be those of one state.
		mixed = s.stamp.Sub(o.stamp).Abs() > time.Nanosecond && !s.told && !s.gone
		s.told = s.told || mixed
		// The copy gets a time that the source never has, so that the next
		// copy compares it.
		if o.stamp.After(s.stamp) {
			s.stamp = o.stamp
		}
		s.stamp = s.stamp.Add(-time.Nanosecond)
	}
	s.copying--
	return s.copying == 0, mixed
}

// differs reports whether the target gets other content than it had.
func (s *split) differs() bool { return !s.gone && (s.touched || s.whole.basis != s.whole.entry.Size) }

// finish is what the target is told once all parts are there.
func (s *split) finish() finishRequest {
	return finishRequest{ID: s.whole.id, Entry: *s.whole.entry, Basis: s.whole.basis, Gone: s.gone, Stamp: s.stamp, Same: joined(s.same), Old: s.old}
}
