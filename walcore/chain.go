package walcore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Gap is a hole in the WAL of an archive. After is the segment before it,
// empty where the hole is at the beginning; Want is the first one missing. A
// provisional segment that WAL goes on after is its own gap: both are its name.
type Gap struct {
	After SegmentName `json:"after"`
	Want  SegmentName `json:"want"`
}

// maxGaps bounds what a Chain lists.
const maxGaps = 1000

// Chain is the WAL that leads to the newest timeline of an archive, as the
// names of its files tell it. Segments of timelines that are not ancestors of
// it, and those of ancestors past the fork, are not on it.
type Chain struct {
	// First and Last are the ends of the gap-free run that begins where it was
	// asked for. Both are empty when nothing is there.
	First SegmentName `json:"first"`
	Last  SegmentName `json:"last"`
	// End is where the WAL of that run ends: at the end of Last, or before it
	// where Last is provisional or its timeline was left in its middle.
	End LSN `json:"end"`
	// Segments is how many the run has.
	Segments int `json:"segments"`
	// Newest is the last segment on the chain, beyond all gaps.
	Newest SegmentName `json:"newest"`
	// Gaps are the holes between First and Newest in order, at most a thousand.
	Gaps []Gap `json:"gaps"`
	// SegmentSize is that of all segments, 0 where there are none.
	SegmentSize SegmentSize `json:"segment_size"`
	// Timeline is the newest one, of which no segment may have come yet.
	Timeline Timeline `json:"timeline"`
	// Fork is where Timeline left its parent: the WAL before it is its parent's.
	// 0 where it has none, or its history file is missing.
	Fork LSN `json:"fork,omitzero"`
	// Histories are the timelines whose history files are here, in order.
	Histories []Timeline `json:"histories"`
	// History is that of Timeline, where its file is here.
	History History `json:"history,omitempty"`
	// WantHistory is Timeline when its history file is missing, though it has
	// ancestors; else 0.
	WantHistory Timeline `json:"want_history,omitempty"`
}

// Chain follows the archive's WAL from a segment on, across timelines along
// the newest history. The timeline in from is of no account. From "" means the
// newest gap-free run, wherever it begins. It looks at names only, and reads
// the newest history and the notes of provisional segments.
func (a *Archive) Chain(from SegmentName) (Chain, error) {
	names, err := a.List()
	if err != nil {
		return Chain{}, err
	}
	chain := Chain{Gaps: []Gap{}, Histories: []Timeline{}}
	chain.survey(names)
	line, err := a.descent(&chain)
	if err != nil {
		return Chain{}, err
	}
	if len(line) > 0 {
		chain.Fork = line[len(line)-1].begin
	}
	size, err := a.segmentSize(names)
	if err != nil || size == 0 {
		return chain, err
	}
	chain.SegmentSize = size
	ends, err := a.Provisionals()
	if err != nil {
		return Chain{}, err
	}
	links := line.links(names, size, ends)
	if from == "" {
		chain.followBack(links)
		return chain, nil
	}
	if _, err := ParseSegmentName(string(from)); err != nil {
		return Chain{}, err
	}
	chain.follow(links, from.Number(size), line, size)
	return chain, nil
}

// survey finds the histories and the newest timeline.
func (c *Chain) survey(names []FileName) {
	for _, name := range names {
		switch name.Kind() {
		case KindHistory:
			c.Histories = append(c.Histories, name.Timeline())
			c.Timeline = max(c.Timeline, name.Timeline())
		case KindSegment:
			c.Timeline = max(c.Timeline, name.Timeline())
		}
	}
	slices.Sort(c.Histories)
	if c.Timeline > 1 && !slices.Contains(c.Histories, c.Timeline) {
		c.WantHistory = c.Timeline
	}
}

// descent is the timelines that lead to the newest, oldest first. The oldest
// begins at 0.
type descent []lineage

func (a *Archive) descent(c *Chain) (descent, error) {
	if c.Timeline == 0 {
		return nil, nil
	}
	if c.Timeline == 1 || c.WantHistory != 0 {
		return descent{{timeline: c.Timeline}}, nil
	}
	history, err := a.history(c.Timeline)
	if err != nil {
		return nil, err
	}
	c.History = history
	return history.descent(c.Timeline), nil
}

// descent is the way to timeline of, whose history this is.
func (h History) descent(of Timeline) descent {
	var line descent
	begin := LSN(0)
	for _, entry := range h {
		line = append(line, lineage{entry.Timeline, begin})
		begin = entry.End
	}
	return append(line, lineage{of, begin})
}

func (a *Archive) history(t Timeline) (History, error) {
	f, err := a.Open(t.HistoryName())
	if err != nil {
		return nil, err
	}
	history, err := ParseHistory(f, t)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("archive %s: %w", a.dir, err)
	}
	return history, nil
}

// at is the newest timeline that has WAL in the segment of a position. It is
// whose file recovery looks for first (XLogFileReadAnyTLI in xlogrecovery.c).
func (l descent) at(number uint64, size SegmentSize) (index int) {
	end := LSN((number + 1) * uint64(size))
	for i := len(l) - 1; i > 0; i-- {
		if l[i].begin < end {
			return i
		}
	}
	return 0
}

// link is a segment on the chain.
type link struct {
	number uint64
	name   SegmentName
	end    LSN // where its WAL ends
	// want is the file that must come before the chain can go on: the
	// segment's own whole copy, or the newer timeline's. Empty for none.
	want SegmentName
}

// links are the segments on the chain in order, one for each position.
func (l descent) links(names []FileName, size SegmentSize, ends map[SegmentName]LSN) []link {
	var links []link
	for _, file := range names {
		if file.Kind() != KindSegment {
			continue
		}
		if this, ok := l.link(SegmentName(file), size); ok {
			if end, provisional := ends[this.name]; provisional {
				this.end = min(this.end, end)
				this.want = cmp.Or(this.want, this.name)
			}
			links = append(links, this)
		}
	}
	// The newer timeline's copy of a position comes first and stays.
	slices.SortFunc(links, func(a, b link) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(b.name, a.name))
	})
	return slices.CompactFunc(links, func(a, b link) bool { return a.number == b.number })
}

// link places a segment on the chain, if it belongs there: it is of the
// timeline that its position asks for, or of one that was left in its middle.
func (l descent) link(name SegmentName, size SegmentSize) (link, bool) {
	number := name.Number(size)
	if len(l) == 0 || MakeSegmentName(name.Timeline(), number, size) != name {
		return link{}, false
	}
	newest := l.at(number, size)
	if l[newest].timeline == name.Timeline() {
		return link{number: number, name: name, end: name.End(size)}, true
	}
	for i := newest - 1; i >= 0; i-- {
		if l[i+1].begin <= name.Start(size) {
			break
		}
		if l[i].timeline == name.Timeline() {
			return link{number: number, name: name, end: l[i+1].begin, want: name.OnTimeline(l[newest].timeline)}, true
		}
	}
	return link{}, false
}

// follow walks the links from a position on.
func (c *Chain) follow(links []link, from uint64, line descent, size SegmentSize) {
	at, _ := slices.BinarySearchFunc(links, from, func(l link, n uint64) int { return cmp.Compare(l.number, n) })
	links = links[at:]
	name := func(number uint64) SegmentName {
		return MakeSegmentName(line[line.at(number, size)].timeline, number, size)
	}
	var last link
	for i, this := range links {
		switch {
		case i == 0 && this.number != from:
			c.gap("", name(from))
		case i > 0 && last.want != "":
			c.gap(last.name, last.want)
		case i > 0 && this.number != last.number+1:
			c.gap(last.name, name(last.number+1))
		}
		if len(c.Gaps) == 0 {
			c.extend(this)
		}
		last, c.Newest = this, this.name
	}
}

// followBack finds the newest gap-free run.
func (c *Chain) followBack(links []link) {
	begin := len(links) - 1
	for begin > 0 && links[begin-1].number+1 == links[begin].number && links[begin-1].want == "" {
		begin--
	}
	for _, this := range links[max(begin, 0):] {
		c.extend(this)
		c.Newest = this.name
	}
}

func (c *Chain) extend(l link) {
	if c.First == "" {
		c.First = l.name
	}
	c.Last, c.End = l.name, l.end
	c.Segments++
}

func (c *Chain) gap(after, want SegmentName) {
	if len(c.Gaps) < maxGaps {
		c.Gaps = append(c.Gaps, Gap{After: after, Want: want})
	}
}

// segmentSize is the stamp's, or the one that a segment's header gives in an
// archive without a stamp; 0 where there is no segment to tell.
func (a *Archive) segmentSize(names []FileName) (SegmentSize, error) {
	stamp, stamped, err := a.readStamp()
	if err != nil || stamped {
		return stamp.SegmentSize, err
	}
	for i := len(names) - 1; i >= 0; i-- {
		if names[i].Kind() != KindSegment {
			continue
		}
		if header, err := a.headerOf(names[i]); err == nil {
			return header.SegmentSize, nil
		}
	}
	return 0, nil
}

// has reports whether a timeline is on the way.
func (l descent) has(t Timeline) bool {
	return slices.ContainsFunc(l, func(step lineage) bool { return step.timeline == t })
}

// after is the step that follows a timeline on the way, if any does.
func (l descent) after(t Timeline) (lineage, bool) {
	for i := range l {
		if l[i].timeline == t && i+1 < len(l) {
			return l[i+1], true
		}
	}
	return lineage{}, false
}

// of is the timeline that a page at an LSN belongs to.
func (l descent) of(at LSN) Timeline {
	for i := len(l) - 1; i > 0; i-- {
		if l[i].begin <= at {
			return l[i].timeline
		}
	}
	return l[0].timeline
}

// String is where the timelines before the last one were left.
func (l descent) String() string {
	var steps []string
	for i := range len(l) - 1 {
		steps = append(steps, fmt.Sprintf("%d at %s", uint32(l[i].timeline), l[i+1].begin))
	}
	return strings.Join(steps, ", ")
}
