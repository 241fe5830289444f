package walcore

import (
	"errors"
	"fmt"
	"slices"
)

// checkGaps finds what is missing, by name.
func (v *verification) checkGaps() {
	for _, b := range v.tree.inOrder() {
		if !v.covers(b) {
			continue
		}
		if need, ok := v.need(b); ok {
			for _, hole := range b.holes(need) {
				if v.wroteItself(b, hole) {
					v.noteOwn(b, hole)
					continue
				}
				v.found(v.tree.missingFinding(v.tree.missing(b.timeline, hole)))
			}
		}
		past := uint64(0)
		for _, run := range v.tree.runs(b) {
			if run.PastFork {
				past += run.Segments
			}
		}
		if fork, ok := b.left(); ok && past > 0 && v.Timeline == 0 {
			v.note(FindingOther, b.timeline.String(), "%d segments of timeline %d lie past %s, where it was left for timeline %d; they lead nowhere",
				past, uint32(b.timeline), fork.At, uint32(fork.Timeline))
		}
	}
}

// wroteItself reports whether what is not there cannot be there: the node was the
// primary when it was written.
func (v *verification) wroteItself(b *branch, hole span) bool {
	named := v.From != "" && hole.first == v.first || v.To != "" && hole.last == v.last
	return !named && beganAt(v.Own, b.parent, b.begin)
}

func (v *verification) noteOwn(b *branch, hole span) {
	m, all := v.tree.missing(b.timeline, hole), ""
	if m.Segments > 1 {
		all = fmt.Sprintf(", with all up to %s: %d segments", m.Last, m.Segments)
	}
	v.note(FindingOther, string(m.First), "not looked at%s; this node wrote timeline %d itself, and what it writes is in the archives of the others: warmrun wal verify there", all, uint32(b.timeline))
}

func (t *branches) missingFinding(m MissingSegments) Finding {
	f := Finding{FindingMissing, string(m.First), m.First.Start(t.size), "missing", remedyBringIt}
	if m.Segments > 1 {
		f.Detail = fmt.Sprintf("missing, with all up to %s: %d segments", m.Last, m.Segments)
	}
	return f
}

// need is the span of a timeline's segments that must be there. Where the
// request names a first or a last segment, that one is promised too.
func (v *verification) need(b *branch) (span, bool) {
	first, begun := v.tree.firstNeeded(b)
	last, more := v.tree.lastNeeded(b)
	if v.path.has(b.timeline) {
		own, inside := v.pathSpan(b)
		if v.From != "" {
			first, begun = max(own.first, v.first), true
			if inside && v.first >= own.first && v.first <= own.last {
				last, more = max(last, v.first), true
			}
		}
		if v.To != "" {
			last, more = own.last, inside
		}
		if v.Timeline != 0 {
			last = min(last, own.last)
		}
	}
	need := span{max(first, v.first), min(last, v.last)}
	return need, begun && more && need.first <= need.last
}

// pathSpan are the numbers at which the path is on a timeline; inside is false
// where that is at none.
func (v *verification) pathSpan(b *branch) (own span, inside bool) {
	own = span{0, 1<<64 - 1}
	if len(b.line) > 1 {
		own.first = uint64(b.begin) / uint64(v.tree.size)
	}
	if next, ok := v.path.after(b.timeline); ok {
		number := uint64(next.begin) / uint64(v.tree.size)
		if number == 0 {
			return own, false
		}
		own.last = number - 1
	}
	return own, own.first <= own.last
}

// checkHistories compares the histories with each other and with what is there
// of their timelines.
func (v *verification) checkHistories() {
	for _, b := range v.tree.inOrder() {
		name := string(b.timeline.HistoryName())
		switch {
		case !v.covers(b), b.timeline == 1 && !b.hasHistory:
		case b.historyError != nil:
			v.found(Finding{FindingHistory, name, 0, fmt.Sprintf("it cannot be used: %v", b.historyError), remedyReplace})
		case !b.hasHistory && len(b.segments) > 0:
			v.found(Finding{FindingMissing, name, 0,
				fmt.Sprintf("missing, and %d segments of timeline %d are here: nothing tells where it began", len(b.segments), uint32(b.timeline)), remedyBringIt})
		case b.hasHistory:
			v.checkHistory(b, name)
		}
	}
}

// checkHistory compares a history with those of its ancestors: each begins with
// the lines of the one before.
func (v *verification) checkHistory(b *branch, name string) {
	for i := 1; i < len(b.line); i++ {
		if b.line[i].begin < b.line[i-1].begin {
			v.found(Finding{FindingHistory, name, b.line[i].begin, fmt.Sprintf("timeline %d was left at %s, before it began at %s",
				uint32(b.line[i-1].timeline), b.line[i].begin, b.line[i-1].begin), remedyReplace})
			return
		}
	}
	for i := len(b.line) - 2; i > 0; i-- {
		ancestor := v.tree.all[b.line[i].timeline]
		if !ancestor.hasHistory || ancestor.historyError != nil {
			continue
		}
		if !slices.Equal(ancestor.line, b.line[:i+1]) {
			v.found(Finding{FindingHistory, name, ancestor.begin,
				fmt.Sprintf("it contradicts %s: timeline %d came from %s by the one, and from %s by the other",
					ancestor.timeline.HistoryName(), uint32(ancestor.timeline), b.line[:i+1], ancestor.line),
				"find out which node wrote each of the two: two servers were promoted to the same timeline, and only one of them may go on"})
			return
		}
	}
}

// checkOthers looks at the files that are neither segments nor histories.
func (v *verification) checkOthers() {
	for _, file := range v.files {
		name := FileName(file.Name)
		if b := v.tree.all[name.Timeline()]; b == nil || !v.covers(b) {
			continue
		}
		switch file.Kind {
		case KindBackup:
			v.checkBackup(name)
		case KindPartial:
			v.checkPartial(file, name)
		}
	}
}

func (v *verification) checkBackup(name FileName) {
	label, err := v.archive.label(name)
	if vanished(err) {
		return
	}
	if err == nil && label.StartSegment != name.Segment() {
		err = fmt.Errorf("it is of a backup that began in %s", label.StartSegment)
	}
	if err != nil {
		v.found(Finding{FindingBackup, string(name), 0, err.Error(), remedyMoveAside})
	}
}

func (a *Archive) label(name FileName) (BackupLabel, error) {
	f, err := a.Open(name)
	if err != nil {
		return BackupLabel{}, err
	}
	label, err := ParseBackupLabel(f)
	return label, errors.Join(err, f.Close())
}

// checkPartial looks at the end of a timeline that was left: a whole file whose
// records may end anywhere.
func (v *verification) checkPartial(file ListedFile, name FileName) {
	header, err := v.archive.headerOf(name)
	switch {
	case vanished(err):
		return
	case v.id.SegmentSize != 0 && file.Bytes != int64(v.id.SegmentSize):
		v.found(*sizeFinding(string(name), file.Bytes, v.id.SegmentSize))
		return
	case errors.Is(err, ErrOldFormat):
		return
	case err == nil:
		err = header.Check(name.Segment(), v.id)
	}
	if err != nil {
		finding := v.unreadable(name.Segment(), err)
		finding.File, finding.Remedy = string(name), remedyMoveAside
		v.found(*finding)
	}
}
