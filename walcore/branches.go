package walcore

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// Fork is a place where a timeline was left for another one.
type Fork struct {
	Timeline Timeline `json:"timeline"` // the one that began there
	At       LSN      `json:"at"`
}

// branch is one timeline as an archive shows it: where it began and was left,
// which the histories tell, and the segments of it that are there.
type branch struct {
	timeline Timeline
	line     descent // to this timeline, itself last; nil when its history is missing
	parent   Timeline
	begin    LSN    // 0 where unknown, and of the first timeline
	forks    []Fork // by place

	hasHistory   bool
	historyError error // its history file is no history

	segments []member // by number
}

// member is a segment on a branch.
type member struct {
	number uint64
	bytes  int64 // as it is stored
	packed bool
}

// place says how a segment lies to the beginning and the end of its timeline.
type place int

const (
	placeOn     place = iota
	placeBefore       // it ends before its timeline began
	placePast         // it begins where its timeline had been left for good
)

// left is the last place at which the timeline was left for another one: WAL
// of it beyond leads nowhere. It is false for a timeline that was not left.
func (b *branch) left() (Fork, bool) {
	if len(b.forks) == 0 {
		return Fork{}, false
	}
	return b.forks[len(b.forks)-1], true
}

func (b *branch) place(number uint64, size SegmentSize) place {
	start := LSN(number * uint64(size))
	if start+LSN(size-1) < b.begin { // the end of the last segment of all would be 0
		return placeBefore
	}
	if fork, ok := b.left(); ok && start >= fork.At {
		return placePast
	}
	return placeOn
}

// find is where the segment of a number is among the branch's, if it is.
func (b *branch) find(number uint64) (at int, found bool) {
	return slices.BinarySearchFunc(b.segments, number, func(m member, n uint64) int { return cmp.Compare(m.number, n) })
}

func (b *branch) has(number uint64) bool {
	_, found := b.find(number)
	return found
}

// branches are all timelines of an archive.
type branches struct {
	size SegmentSize
	all  map[Timeline]*branch
}

// branches is the archive's timelines, from the names of its files and the
// content of its histories.
func (a *Archive) branches(files []ListedFile, size SegmentSize) (*branches, error) {
	t := &branches{size: size, all: map[Timeline]*branch{}}
	for _, file := range files {
		switch name := FileName(file.Name); file.Kind {
		case KindHistory:
			if err := a.addHistory(t, name.Timeline()); err != nil {
				return nil, err
			}
		case KindSegment, KindPartial, KindBackup:
			b := t.branch(name.Timeline())
			if file.Kind == KindSegment {
				b.segments = append(b.segments, member{SegmentName(name).Number(size), file.Bytes, file.Form.Packs()})
			}
		}
	}
	for _, b := range t.all {
		// Of a segment that is there plain and packed, the plain one comes first.
		slices.SortStableFunc(b.segments, func(x, y member) int { return cmp.Compare(x.number, y.number) })
		b.segments = slices.CompactFunc(b.segments, func(x, y member) bool { return x.number == y.number })
		slices.SortFunc(b.forks, func(x, y Fork) int {
			return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.Timeline, y.Timeline))
		})
		b.forks = slices.Compact(b.forks)
	}
	return t, nil
}

func (t *branches) branch(timeline Timeline) *branch {
	b := t.all[timeline]
	if b == nil {
		b = &branch{timeline: timeline}
		if timeline == 1 {
			b.line = descent{{timeline: 1}}
		}
		t.all[timeline] = b
	}
	return b
}

// addHistory enters what a history tells of its timeline and its ancestors. One
// that cannot be understood leaves its timeline without ancestors.
func (a *Archive) addHistory(t *branches, of Timeline) error {
	b := t.branch(of)
	b.hasHistory = true
	history, err := a.history(of)
	if errors.Is(err, ErrNoArchive) {
		return err
	}
	if err == nil && len(history) == 0 {
		err = errors.New("it names no timeline that it came from")
	}
	if err != nil {
		b.historyError = err
		return nil
	}
	b.line = history.descent(of)
	for i, step := range b.line[1:] {
		parent, child := t.branch(b.line[i].timeline), t.branch(step.timeline)
		parent.forks = append(parent.forks, Fork{step.timeline, step.begin})
		if child.line == nil || child == b {
			child.parent, child.begin = parent.timeline, step.begin
		}
		if child.line == nil {
			child.line = b.line[:i+2] // of a history that may be missing here
		}
	}
	return nil
}

// inOrder are the timelines by number: parents come before their children.
func (t *branches) inOrder() []*branch {
	var all []*branch
	for _, timeline := range slices.Sorted(maps.Keys(t.all)) {
		all = append(all, t.all[timeline])
	}
	return all
}

// newest is the timeline that recovery would go for, or 0 for none.
func (t *branches) newest() Timeline {
	var newest Timeline
	for timeline := range t.all {
		newest = max(newest, timeline)
	}
	return newest
}

// span is a run of segment numbers, both ends in it.
type span struct{ first, last uint64 }

// gaps are the holes in a timeline's WAL. What cleanup removed at the beginning
// of all WAL is none, nor what is still to come at its end; WAL that is before
// the timeline's beginning or past its end neither makes a hole nor fills one.
func (t *branches) gaps(b *branch) []span {
	need, ok := t.needed(b)
	if !ok {
		return nil
	}
	return b.holes(need)
}

// holes are the numbers of a span that the branch has no segment for.
func (b *branch) holes(need span) []span {
	var holes []span
	next := need.first
	at, _ := b.find(need.first)
	for _, m := range b.segments[at:] {
		if m.number > need.last {
			break
		}
		if m.number > next {
			holes = append(holes, span{next, m.number - 1})
		}
		next = m.number + 1
	}
	if next <= need.last {
		holes = append(holes, span{next, need.last})
	}
	return holes
}

// needed is the span of a timeline's segments that the archive's other files
// promise.
func (t *branches) needed(b *branch) (span, bool) {
	first, begun := t.firstNeeded(b)
	last, more := t.lastNeeded(b)
	return span{first, last}, begun && more && first <= last
}

// firstNeeded is the timeline's own first segment, unless there is earlier WAL
// on the way to it: then it is the one that its beginning is in.
func (t *branches) firstNeeded(b *branch) (uint64, bool) {
	begin := uint64(b.begin) / uint64(t.size)
	for i := len(b.line) - 2; i >= 0; i-- {
		ancestor := t.all[b.line[i].timeline]
		end := b.line[i+1].begin
		for _, m := range ancestor.segments {
			if t.start(m.number) >= end {
				break
			}
			if ancestor.place(m.number, t.size) != placeBefore {
				return begin, true
			}
		}
	}
	for _, m := range b.segments {
		if m.number >= begin {
			return m.number, true
		}
	}
	return 0, false
}

// lastNeeded is the timeline's own last segment, or the last before the place
// where it was left for one that has WAL.
func (t *branches) lastNeeded(b *branch) (last uint64, ok bool) {
	fork, left := b.left()
	for i := len(b.segments) - 1; i >= 0 && !ok; i-- {
		if number := b.segments[i].number; !left || t.start(number+1) <= fork.At {
			last, ok = number, true
		}
	}
	for _, fork := range b.forks {
		if number := uint64(fork.At) / uint64(t.size); number > 0 && t.goesOn(fork.Timeline) {
			last, ok = max(last, number-1), true
		}
	}
	return last, ok
}

// goesOn reports whether there is WAL of a timeline or of those that it leads to.
func (t *branches) goesOn(timeline Timeline) bool {
	b := t.all[timeline]
	for _, m := range b.segments {
		if b.place(m.number, t.size) != placeBefore {
			return true
		}
	}
	return slices.ContainsFunc(b.forks, func(f Fork) bool { return t.goesOn(f.Timeline) })
}

func (t *branches) start(number uint64) LSN { return LSN(number * uint64(t.size)) }
