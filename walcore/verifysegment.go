package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/warmrun/warmrun/walcore/packed"
)

// checked is what reading one segment gave.
type checked struct {
	stretch
	read        bool // its records were read: stretch is of use
	old         bool // its records have the format of before 9.5
	vanished    bool
	provisional LSN
	block       uint32
	finding     *Finding // why it was not read
	fatal       error
}

// checker reads segments, one after the other.
type checker struct {
	*verification
	ctx    context.Context
	window []byte
}

func (v *verification) newChecker(ctx context.Context) *checker {
	return &checker{verification: v, ctx: ctx, window: make([]byte, 0, windowSize)}
}

func (c *checker) check(j job) (result checked) {
	f, end, err := c.archive.OpenWithEnd(FileName(j.name))
	if err == nil {
		defer f.Close() //nolint:errcheck // only read from
		result, err = c.inspect(j, f)
		result.provisional = end
	}
	switch {
	case err == nil:
	case c.ctx.Err() != nil:
		result.fatal = context.Cause(c.ctx)
	case vanished(err):
		result.vanished = true
	case errors.Is(err, ErrNoArchive):
		result.fatal = err
	default:
		result.finding = c.unreadable(j.name, err)
	}
	return result
}

// inspect checks size and header, and reads the records if they are right.
func (c *checker) inspect(j job, f *os.File) (checked, error) {
	info, err := f.Stat()
	if err != nil {
		return checked{}, err
	}
	header, err := ReadPageHeader(contextReader{c.ctx, f})
	old := errors.Is(err, ErrOldFormat)
	size := c.id.SegmentSize
	if size == 0 && err == nil {
		size = header.SegmentSize
	}
	if size != 0 && info.Size() != int64(size) || size == 0 && !SegmentSize(info.Size()).Valid() {
		return checked{finding: sizeFinding(string(j.name), info.Size(), size)}, nil
	}
	if old {
		return checked{old: true}, nil
	}
	if err == nil {
		err = header.Check(j.name, c.id)
	}
	if err != nil {
		return checked{}, err
	}
	if finding := c.wrongTimeline(j, header); finding != nil {
		return checked{finding: finding}, nil
	}
	if header.Magic < magicRecord95 {
		return checked{old: true}, nil
	}
	return c.records(j, f, header)
}

// wrongTimeline holds the timeline of the first page against the history.
func (c *checker) wrongTimeline(j job, header PageHeader) *Finding {
	if j.branch.place(j.member.number, c.tree.size) == placeBefore {
		return &Finding{FindingTimeline, string(j.name), header.Address, fmt.Sprintf("timeline %d began only at %s, behind this segment (%s to %s)",
			uint32(j.branch.timeline), j.branch.begin, header.Address, j.name.End(c.tree.size)), remedyMoveAside}
	}
	if j.branch.line == nil {
		return nil
	}
	if want := j.branch.line.of(header.Address); header.Timeline != want {
		return &Finding{FindingTimeline, string(j.name), header.Address, fmt.Sprintf("its first page is of timeline %d, and the WAL that leads to timeline %d is of timeline %d at %s",
			uint32(header.Timeline), uint32(j.branch.timeline), uint32(want), header.Address), remedyReplace}
	}
	return nil
}

// records reads the records that begin in the segment.
func (c *checker) records(j job, f *os.File, header PageHeader) (checked, error) {
	w := newWALReader(c.id, j.branch.timeline)
	w.window = c.window
	next := &following{checker: c, branch: j.branch}
	defer next.close()
	w.open, w.known = next.open, next.known
	fork := LSN(0)
	if begin := j.branch.begin; begin >= header.Address && begin < j.name.End(header.SegmentSize) {
		fork = begin
	}
	s, err := w.stretch(contextReader{c.ctx, f}, j.name, fork)
	c.window = w.window[:0]
	return checked{stretch: s, read: true, block: header.BlockSize}, err
}

// following opens the segments that a record runs on into: the timeline's own,
// or those of a child that begins there. The record ends before the fork, so its
// pages are of the old timeline there too.
type following struct {
	*checker
	branch *branch
	file   *os.File
}

func (n *following) open(number uint64) (io.ReaderAt, SegmentName, error) {
	n.close()
	if !n.branch.has(number) {
		child := n.tree.childAt(n.branch, number)
		if child == nil {
			return nil, "", errRunsOn
		}
		n.branch = child
	}
	name := MakeSegmentName(n.branch.timeline, number, n.tree.size)
	f, err := n.archive.Open(FileName(name))
	if vanished(err) {
		return nil, "", errRunsOn
	}
	if err != nil {
		return nil, "", err
	}
	n.file = f
	return contextReader{n.ctx, f}, name, nil
}

// known reports whether pages of a timeline may be in the segment in use.
func (n *following) known(t Timeline) bool {
	if n.branch.line == nil {
		return t <= n.branch.timeline
	}
	return n.branch.line.has(t)
}

func (n *following) close() {
	if n.file != nil {
		n.file.Close() //nolint:errcheck // only read from
		n.file = nil
	}
}

// unreadable says what is wrong with a segment by the error that reading it gave.
func (v *verification) unreadable(name SegmentName, err error) *Finding {
	var header *HeaderError
	var failed *readError
	var damaged *packed.DamagedError
	f := &Finding{Kind: FindingHeader, File: string(name), LSN: name.Start(v.tree.size), Detail: err.Error(), Remedy: remedyReplace}
	switch {
	case errors.As(err, &header):
		f.Detail = header.Detail
		switch header.Mismatch {
		case HeaderCluster:
			f.Kind, f.Remedy = FindingCluster, "find out which cluster archives here beside this one; "+remedyReplace
		case HeaderSize:
			f.Kind = FindingSize
		case HeaderTimeline:
			f.Kind = FindingTimeline
		}
	case errors.As(err, &damaged):
		f.Kind, f.Detail, f.File = FindingFrames, damaged.Error(), string(name)+damaged.Form.Suffix()
	case errors.As(err, &failed), errors.Is(err, os.ErrPermission):
		f.Kind, f.Remedy = FindingRead, "look at the disk and the file's permissions"
	}
	return f
}

func sizeFinding(name string, bytes int64, want SegmentSize) *Finding {
	f := &Finding{Kind: FindingSize, File: name, Remedy: remedyReplace}
	f.Detail = fmt.Sprintf("it has %d bytes, which is the size of no segment", bytes)
	if want != 0 {
		f.Detail = fmt.Sprintf("it has %d bytes, the segments of this cluster have %d", bytes, want)
	}
	return f
}
