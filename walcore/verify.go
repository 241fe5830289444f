package walcore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// VerifyRequest says what of an archive Verify checks, and who hears of it.
type VerifyRequest struct {
	// From and To bound the segments, by position: the timelines in the names
	// are of no account. With one given, WAL must be there up to it. Empty: no
	// bound.
	From, To SegmentName
	// Timeline confines the check to the WAL that leads to it, its own and that
	// of its ancestors up to where each was left; 0 is all timelines.
	Timeline Timeline
	// Own are the cuts that were made for a promotion of the node whose archive this
	// is. The timelines that began there it has written itself, and what a node
	// writes is in the archives of the others alone: where that is not here it is a
	// note, unless it is named by From or To.
	Own []Cut
	// Workers is how many segments are read side by side; 0 is one for each CPU.
	Workers int

	// Found is called for each finding as soon as it is certain, and Progress
	// after each segment; both may be nil. The calls are made by one goroutine.
	Found    func(Finding)
	Progress func(VerifyProgress)
}

// VerifyProgress is how far a check has come.
type VerifyProgress struct {
	Segments      int
	TotalSegments int
	Bytes         int64
	TotalBytes    int64
}

// VerifyReport is what a check found.
type VerifyReport struct {
	Dir         string      `json:"archive"`
	SystemID    uint64      `json:"system_identifier,string"`
	SegmentSize SegmentSize `json:"segment_size"`
	Timelines   []Timeline  `json:"timelines"` // those that were checked
	Segments    int         `json:"segments"`
	Bytes       int64       `json:"bytes"`
	Records     uint64      `json:"records"`
	// First and Last are the ends of what was checked.
	First SegmentName `json:"first,omitempty"`
	Last  SegmentName `json:"last,omitempty"`

	Findings []Finding `json:"findings"`
	// Notes are worth knowing and nothing wrong.
	Notes []Finding `json:"notes"`
}

// Verify checks an archive from end to end: that no segment is missing, that
// each is of the right size, cluster, timeline and address, that every record
// has its checksum and points back to the one before it, also from one segment
// to the next and from one timeline to the next, that the histories agree with
// each other and with the WAL.
//
// It reads each byte about once and holds a fixed amount of memory for each
// worker, beside the names of the files. What is wrong is in the report; an
// error is ErrNoArchive, ErrNotArchived for a timeline that is not there, or
// the context's cause. The archive may be in use: what comes while Verify
// reads is not looked at, what cleanup removes is left out.
func (a *Archive) Verify(ctx context.Context, r VerifyRequest) (VerifyReport, error) {
	v, err := a.newVerification(r)
	if err != nil {
		return VerifyReport{}, err
	}
	v.checkHistories()
	v.checkGaps()
	v.checkOthers()
	if err := v.checkTwins(ctx); err != nil {
		return VerifyReport{}, err
	}
	if err := v.run(ctx); err != nil {
		return VerifyReport{}, err
	}
	return v.report, nil
}

// verification is one run of Verify.
type verification struct {
	VerifyRequest
	archive *Archive
	id      Identity
	files   []ListedFile
	tree    *branches
	path    descent // what From and To, or Timeline, are about
	first   uint64  // From and To as numbers
	last    uint64
	report  VerifyReport
	jobs    []job
	total   int64 // bytes of the jobs
	links   links
	seenOld bool // a note says so
}

// job is one segment to be read.
type job struct {
	branch *branch
	member member
	name   SegmentName
}

func (a *Archive) newVerification(r VerifyRequest) (*verification, error) {
	files, err := a.Files()
	if err != nil {
		return nil, err
	}
	id, _, err := a.identify(files)
	if err != nil {
		return nil, err
	}
	size := cmp.Or(id.SegmentSize, DefaultSegmentSize)
	v := &verification{VerifyRequest: r, archive: a, id: id, last: 1<<64 - 1}
	v.report = VerifyReport{
		Dir: a.dir, SystemID: id.SystemID, SegmentSize: id.SegmentSize,
		Timelines: []Timeline{}, Findings: []Finding{}, Notes: []Finding{},
	}
	for _, file := range files {
		if file.Kind != 0 && file.named(id.SegmentSize) {
			v.files = append(v.files, file)
			continue
		}
		v.note(FindingOther, file.Name, "not a WAL file")
	}
	if v.tree, err = a.branches(v.files, size); err != nil {
		return nil, err
	}
	if r.From != "" {
		v.first = r.From.Number(size)
	}
	if r.To != "" {
		v.last = r.To.Number(size)
	}
	return v, v.plan()
}

// plan lists the segments to be read, each timeline's in order and parents
// before their children.
func (v *verification) plan() error {
	newest := cmp.Or(v.Timeline, v.tree.newest())
	if b := v.tree.all[newest]; b != nil {
		v.path = b.line
	} else if v.Timeline != 0 {
		return fmt.Errorf("timeline %d in %s: %w", uint32(v.Timeline), v.archive.dir, ErrNotArchived)
	}
	if v.path == nil && newest != 0 {
		v.path = descent{{timeline: newest}}
	}
	for _, b := range v.tree.inOrder() {
		if !v.covers(b) {
			continue
		}
		v.report.Timelines = append(v.report.Timelines, b.timeline)
		for _, m := range b.segments {
			if m.number < v.first || m.number > v.last || v.Timeline != 0 && !v.onPath(b, m.number) {
				continue
			}
			v.jobs = append(v.jobs, job{b, m, MakeSegmentName(b.timeline, m.number, v.tree.size)})
			v.total += m.bytes
		}
	}
	v.links = v.tree.links()
	return nil
}

// covers reports whether a timeline is checked at all.
func (v *verification) covers(b *branch) bool {
	return v.Timeline == 0 || v.path.has(b.timeline)
}

// onPath reports whether WAL of a timeline's segment is on the path.
func (v *verification) onPath(b *branch, number uint64) bool {
	next, ok := v.path.after(b.timeline)
	return !ok || v.tree.start(number) < next.begin
}

// run reads the segments side by side and puts the results together in order.
func (v *verification) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	workers := cmp.Or(v.Workers, runtime.GOMAXPROCS(0))
	type task struct {
		job
		result chan checked
	}
	tasks := make(chan task)
	inOrder := make(chan task, 2*workers) // bounds how far ahead of the oldest the newest is
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() {
		defer close(tasks)
		defer close(inOrder)
		for _, job := range v.jobs {
			t := task{job, make(chan checked, 1)}
			for _, to := range []chan task{inOrder, tasks} {
				select {
				case to <- t:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	for range workers {
		group.Go(func() {
			c := v.newChecker(ctx)
			for t := range tasks {
				t.result <- c.check(t.job)
			}
		})
	}
	for t := range inOrder {
		if ctx.Err() != nil { // a result that is there, too, comes too late
			break
		}
		select {
		case result := <-t.result:
			if result.fatal != nil {
				return result.fatal
			}
			v.take(t.job, result)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// take enters the result for one segment, the next in order.
func (v *verification) take(j job, c checked) {
	if !c.vanished {
		v.report.First = cmp.Or(v.report.First, j.name)
		v.report.Last = j.name
		v.report.Segments++
		v.report.Bytes += j.member.bytes
		v.report.Records += uint64(c.records)
	}
	if c.finding != nil {
		v.found(*c.finding)
	}
	v.judge(j, c)
	if v.Progress != nil {
		v.Progress(VerifyProgress{v.report.Segments, len(v.jobs), v.report.Bytes, v.total})
	}
}

func (v *verification) found(f Finding) {
	v.report.Findings = append(v.report.Findings, f)
	if v.Found != nil {
		v.Found(f)
	}
}

func (v *verification) note(kind, file, detail string, args ...any) {
	v.report.Notes = append(v.report.Notes, Finding{Kind: kind, File: file, Detail: fmt.Sprintf(detail, args...)})
}

// vanished reports whether an error says that cleanup was faster.
func vanished(err error) bool { return errors.Is(err, ErrNotArchived) }
