package walcore

import "fmt"

// tail is how the records of a segment end.
type tail struct {
	name       SegmentName
	number     uint64
	last, next LSN // where the last record begins, and where the next one must
	valid      bool
}

// seam is a segment after which another timeline goes on.
type seam struct {
	timeline Timeline
	number   uint64
}

// links ties the segments together in the order in which they are read.
type links struct {
	branch  *branch
	current tail
	seams   map[seam]tail // of segments that a child goes on after; zero until read
}

func (t *branches) links() links {
	l := links{seams: map[seam]tail{}}
	for _, b := range t.all {
		if s, ok := t.seam(b); ok {
			l.seams[s] = tail{}
		}
	}
	return l
}

// seam is the segment before the first one of a timeline.
func (t *branches) seam(b *branch) (seam, bool) {
	first := uint64(b.begin) / uint64(t.size)
	if len(b.line) < 2 || first == 0 {
		return seam{}, false
	}
	return seam{b.line[b.line.at(first-1, t.size)].timeline, first - 1}, true
}

// childAt is the timeline that goes on after b with a segment of its own at
// number, if there is one.
func (t *branches) childAt(b *branch, number uint64) *branch {
	for _, child := range t.inOrder() {
		if s, ok := t.seam(child); ok && s == (seam{b.timeline, number - 1}) && child.has(number) {
			return child
		}
	}
	return nil
}

// before is how the segment before ended; not valid where that is not known.
func (l *links) before(t *branches, j job) tail {
	if l.branch == j.branch && l.current.number+1 == j.member.number {
		return l.current
	}
	if s, ok := t.seam(j.branch); ok && s.number+1 == j.member.number {
		return l.seams[s]
	}
	return tail{}
}

func (l *links) set(j job, end tail) {
	end.name, end.number = j.name, j.member.number
	l.branch, l.current = j.branch, end
	key := seam{j.branch.timeline, j.member.number}
	if _, wanted := l.seams[key]; wanted {
		l.seams[key] = end
	}
}

// judge says what the records of a segment mean for the archive.
func (v *verification) judge(j job, c checked) {
	if c.old && !v.seenOld {
		v.seenOld = true
		v.note(FindingOther, string(j.name), "%s; of such segments only size and header are checked", ErrOldFormat)
	}
	before := v.links.before(v.tree, j)
	if !c.read {
		v.links.set(j, tail{})
		return
	}
	only := c.first == 0 && c.stop != nil && c.stop.unwritten // the rest of a record, and zeros
	if only && (!before.valid || before.next >= j.name.End(v.tree.size)) {
		// That record is a WAL switch, or nobody can tell what it is.
		c.stop = nil
	}
	linked := before.valid && v.judgeLink(j, c, before)
	v.judgeFork(j, c)
	v.judgeEnd(j, c)
	end := tail{last: c.last, next: c.next, valid: c.stop == nil && !c.open && (c.first != 0 || linked)}
	if c.records == 0 {
		end.last = before.last
	}
	if c.first == 0 {
		end.next = before.next
	}
	v.links.set(j, end)
}

// judgeLink compares where the records of the segment begin with where those
// of the one before it end, and reports whether they are one chain.
func (v *verification) judgeLink(j job, c checked, before tail) bool {
	w := walReader{size: v.tree.size, block: c.block}
	want := w.placeOf(before.next)
	finding := func(at LSN, detail string, args ...any) {
		v.found(Finding{FindingLink, string(j.name), at, fmt.Sprintf(detail, args...), v.oneOf(before.name, j.name)})
	}
	switch {
	case c.first == 0 && c.stop != nil:
		return false // damaged from its beginning on, which is a finding of its own
	case c.first == 0 && want < j.name.End(v.tree.size):
		finding(want, "no record begins in it, but the last one before it (at %s, in %s) ends at %s", before.last, before.name, before.next)
	case c.first != 0 && c.first != want:
		finding(c.first, "its first record is at %s, but the last one before it (at %s, in %s) ends at %s", c.first, before.last, before.name, before.next)
	case c.prev != 0 && before.last != 0 && c.prev != before.last:
		finding(c.first, "its first record, at %s, points back to one at %s, but the last one before it is at %s, in %s", c.first, c.prev, before.last, before.name)
	default:
		return true
	}
	return false
}

// judgeFork looks for the place where the history says that the timeline
// began, which is between two records.
func (v *verification) judgeFork(j job, c checked) {
	b, start, end := j.branch, j.name.Start(v.tree.size), j.name.End(v.tree.size)
	if len(b.line) < 2 || b.begin >= end {
		return
	}
	remedy := fmt.Sprintf("find out which node wrote the segment and which one %s: they are of two promotions", b.timeline.HistoryName())
	passed := c.stop == nil || c.next > b.begin
	if b.begin >= start && passed && !c.forked {
		v.found(Finding{FindingHistory, string(j.name), b.begin,
			fmt.Sprintf("no record begins or ends at %s, where timeline %d began by its history", b.begin, uint32(b.timeline)), remedy})
		return
	}
	if page := c.last - c.last%LSN(max(c.block, 1)); c.last != 0 && page >= b.begin && c.timeline != b.timeline {
		v.found(Finding{FindingTimeline, string(j.name), page,
			fmt.Sprintf("its pages at %s are of timeline %d, behind the beginning of timeline %d at %s", page, uint32(c.timeline), uint32(b.timeline), b.begin), remedy})
	}
}

// judgeEnd says whether the records may end where they do. A segment is full,
// or ended by a WAL switch, or provisional up to its note's end; or what
// follows was left for another timeline.
func (v *verification) judgeEnd(j job, c checked) {
	b := j.branch
	end := c.next
	if c.stop != nil && end == 0 {
		end = c.stop.at
	}
	next := j.member.number + 1
	goesOn := b.has(next) && b.place(next, v.tree.size) == placeOn
	fork, left := b.left()
	switch {
	case c.provisional != 0 && goesOn:
		v.found(Finding{FindingMissing, string(j.name), c.provisional,
			fmt.Sprintf("it is provisional, valid up to %s, but WAL goes on in %s: the whole segment is missing", c.provisional, j.name.Next(v.tree.size)), remedyBringIt})
	case c.provisional != 0 && c.stop != nil && end != c.provisional:
		v.found(v.recordFinding(j, c, end, fmt.Sprintf("it is provisional, valid up to %s, but ", c.provisional)))
	case c.stop == nil, c.provisional != 0, left && end >= fork.At:
	case c.lastKind == RecordShutdownCheckpoint && !b.has(next):
		v.note(FindingOther, string(j.name), "its records end with a shutdown checkpoint at %s, and the archive has no note of that", end)
	default:
		v.found(v.recordFinding(j, c, end, ""))
	}
}

func (v *verification) recordFinding(j job, c checked, end LSN, but string) Finding {
	f := Finding{FindingRecord, string(j.name), end, fmt.Sprintf("%sits records end at %s, %d bytes before the segment's end: %s",
		but, end, j.name.End(v.tree.size)-end, c.stop), remedyReplace}
	if c.into != "" {
		f.Remedy = v.oneOf(j.name, c.into)
	}
	return f
}

// oneOf is the remedy where segments do not belong together.
func (v *verification) oneOf(first, last SegmentName) string {
	if last.Number(v.tree.size) > first.Number(v.tree.size)+1 {
		return fmt.Sprintf("one of the segments %s to %s is damaged or of another history: compare them with their copies in another archive", first, last)
	}
	return fmt.Sprintf("either %s or %s is damaged or of another history: compare both with their copies in another archive", first, last)
}
