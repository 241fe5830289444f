package walcore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/warmrun/warmrun/walcore/packed"
)

// ListedFile is one file of an archive.
type ListedFile struct {
	Name     string      `json:"name"` // of a packed segment without the suffix of its form
	Kind     Kind        `json:"kind"`
	Form     packed.Form `json:"compress,omitempty"` // of a packed segment
	Bytes    int64       `json:"bytes"`              // as it is stored
	Modified time.Time   `json:"modified"`
}

// Stored is the file's name in its directory.
func (f ListedFile) Stored() string { return f.Name + f.Form.Suffix() }

// Files are all files of the archive, by name, but for warmrun's own directory.
// Kind 0 is everything that is no WAL: files of other names, directories,
// links. A file that is removed meanwhile is left out. Its cost grows with the
// archive, by about two microseconds for each file.
func (a *Archive) Files() ([]ListedFile, error) {
	d, err := os.Open(a.dir)
	if err != nil {
		return nil, a.missing(err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, a.missing(err)
	}
	slices.Sort(names)
	files := make([]ListedFile, 0, len(names))
	for _, name := range names {
		if name == stateDir {
			continue
		}
		file, err := a.listFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (a *Archive) listFile(name string) (ListedFile, error) {
	path := filepath.Join(a.dir, name)
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if target, err := os.Stat(path); err == nil {
			info = target // else it leads nowhere, and is listed as itself
		}
	}
	if err != nil {
		return ListedFile{}, err
	}
	file := ListedFile{Name: name, Bytes: info.Size(), Modified: info.ModTime().UTC()}
	if !info.Mode().IsRegular() {
		return file, nil
	}
	if parsed, form, err := parseStored(name); err == nil {
		file.Name, file.Kind = string(parsed), parsed.Kind()
		if form.Packs() {
			file.Form = form
		}
	}
	return file, nil
}

// Listing is the content of an archive.
type Listing struct {
	Dir string `json:"archive"`
	// Stamped: the archive's stamp says which cluster it belongs to. Without
	// one, what a segment says is taken for it.
	Stamped     bool        `json:"stamped"`
	SystemID    uint64      `json:"system_identifier,string"`
	SegmentSize SegmentSize `json:"segment_size"` // 0 where there is no segment to tell
	Count       int         `json:"files"`        // of WAL
	Bytes       int64       `json:"bytes"`        // of WAL

	Timelines []TimelineListing `json:"timelines"`
	Others    []ListedFile      `json:"others"` // files that are no WAL, by name
	// All are the WAL files one by one.
	All []ListedFile `json:"all,omitempty"`
}

// TimelineListing is what an archive has of one timeline.
type TimelineListing struct {
	Timeline Timeline `json:"timeline"`
	// Parent is the timeline that it came from, at Begin; 0 for the first one
	// and where no history tells.
	Parent Timeline `json:"parent,omitempty"`
	Begin  LSN      `json:"begin"`
	// History: its history file is here. HistoryError says why it is none.
	History      bool   `json:"history"`
	HistoryError string `json:"history_error,omitempty"`
	// Forks are the places where it was left, for all the histories here.
	Forks []Fork `json:"forks"`

	// Own: the archive's node wrote the timeline itself, so its gaps are in the
	// archives of the others; see MarkOwn.
	Own bool `json:"own,omitempty"`

	Runs        []Run                `json:"runs"`
	Gaps        []MissingSegments    `json:"gaps"`
	Provisional []ProvisionalSegment `json:"provisional"`
	Partials    []FileName           `json:"partials"`
	Backups     []FileName           `json:"backups"`
}

// Run is consecutive segments.
type Run struct {
	First    SegmentName `json:"first"`
	Last     SegmentName `json:"last"`
	Segments uint64      `json:"segments"`
	Bytes    int64       `json:"bytes"`
	Start    LSN         `json:"start"`
	End      LSN         `json:"end"`
	// PastFork: the timeline had been left for good before these segments
	// begin. They lead nowhere.
	PastFork bool `json:"past_fork,omitempty"`
	// BeforeBegin: the timeline began only after these segments.
	BeforeBegin bool `json:"before_begin,omitempty"`
	// Packed is how many of them are stored as zstd or lz4 frames; Bytes is what
	// they take.
	Packed uint64 `json:"packed,omitempty"`
	// WrongSize is how many of the others are not as long as a segment is.
	WrongSize int `json:"wrong_size,omitempty"`
}

// MissingSegments are consecutive segments that should be in an archive.
type MissingSegments struct {
	First    SegmentName `json:"first"`
	Last     SegmentName `json:"last"`
	Segments uint64      `json:"segments"`
}

// ProvisionalSegment is a segment that is WAL up to End only.
type ProvisionalSegment struct {
	Segment SegmentName `json:"segment"`
	End     LSN         `json:"end"`
}

// Listing groups the archive's files. Beside the histories, the notes of
// provisional segments and, without a stamp, one segment's header, it reads no
// content: see Verify.
func (a *Archive) Listing() (Listing, error) {
	files, err := a.Files()
	if err != nil {
		return Listing{}, err
	}
	id, stamped, err := a.identify(files)
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Dir: a.dir, Stamped: stamped, SystemID: id.SystemID, SegmentSize: id.SegmentSize, Timelines: []TimelineListing{}, Others: []ListedFile{}}
	files = slices.DeleteFunc(files, func(file ListedFile) bool {
		if file.Kind == 0 || !file.named(id.SegmentSize) {
			file.Kind = 0
			l.Others = append(l.Others, file)
			return true
		}
		l.Count++
		l.Bytes += file.Bytes
		return false
	})
	l.All = files
	tree, err := a.branches(files, cmp.Or(id.SegmentSize, DefaultSegmentSize))
	if err != nil {
		return Listing{}, err
	}
	at := map[Timeline]int{}
	for i, b := range tree.inOrder() {
		at[b.timeline] = i
		l.Timelines = append(l.Timelines, tree.list(b))
	}
	for _, file := range files {
		name := FileName(file.Name)
		switch t := &l.Timelines[at[name.Timeline()]]; file.Kind {
		case KindPartial:
			t.Partials = append(t.Partials, name)
		case KindBackup:
			t.Backups = append(t.Backups, name)
		}
	}
	return l, a.listProvisional(&l, at)
}

// MarkOwn marks the timelines that the archive's node wrote itself, by the cuts that
// were made for its promotions.
func (l *Listing) MarkOwn(cuts []Cut) {
	for i := range l.Timelines {
		t := &l.Timelines[i]
		t.Own = beganAt(cuts, t.Parent, t.Begin)
	}
}

// beganAt reports whether a timeline began at one of the cuts. They are at the end of
// its parent, or past it where an old primary had still shipped something.
func beganAt(cuts []Cut, parent Timeline, begin LSN) bool {
	return slices.ContainsFunc(cuts, func(c Cut) bool { return c.Timeline == parent && begin <= c.LSN })
}

// named reports whether a server with segments of that size gives the file its
// name.
func (f ListedFile) named(size SegmentSize) bool {
	segment := FileName(f.Name).Segment()
	return segment == "" || size == 0 || MakeSegmentName(segment.Timeline(), segment.Number(size), size) == segment
}

func (a *Archive) listProvisional(l *Listing, at map[Timeline]int) error {
	ends, err := a.Provisionals()
	if err != nil {
		return fmt.Errorf("notes of provisional segments: %w", err)
	}
	for segment, end := range ends {
		if i, ok := at[segment.Timeline()]; ok {
			l.Timelines[i].Provisional = append(l.Timelines[i].Provisional, ProvisionalSegment{segment, end})
		}
	}
	for _, t := range l.Timelines {
		slices.SortFunc(t.Provisional, func(x, y ProvisionalSegment) int { return cmp.Compare(x.Segment, y.Segment) })
	}
	return nil
}

func (t *branches) list(b *branch) TimelineListing {
	l := TimelineListing{
		Timeline: b.timeline, Parent: b.parent, Begin: b.begin, History: b.hasHistory,
		Forks: append([]Fork{}, b.forks...), Runs: t.runs(b), Gaps: []MissingSegments{},
		Provisional: []ProvisionalSegment{}, Partials: []FileName{}, Backups: []FileName{},
	}
	if b.historyError != nil {
		l.HistoryError = b.historyError.Error()
	}
	for _, gap := range t.gaps(b) {
		l.Gaps = append(l.Gaps, t.missing(b.timeline, gap))
	}
	return l
}

func (t *branches) missing(timeline Timeline, gap span) MissingSegments {
	return MissingSegments{
		First:    MakeSegmentName(timeline, gap.first, t.size),
		Last:     MakeSegmentName(timeline, gap.last, t.size),
		Segments: gap.last - gap.first + 1,
	}
}

func (t *branches) runs(b *branch) []Run {
	runs := []Run{}
	var last place
	for i, m := range b.segments {
		name, where := MakeSegmentName(b.timeline, m.number, t.size), b.place(m.number, t.size)
		if i == 0 || b.segments[i-1].number+1 != m.number || where != last {
			runs = append(runs, Run{First: name, Start: t.start(m.number), PastFork: where == placePast, BeforeBegin: where == placeBefore})
		}
		last = where
		run := &runs[len(runs)-1]
		run.Last, run.End = name, name.End(t.size)
		run.Segments++
		run.Bytes += m.bytes
		switch {
		case m.packed:
			run.Packed++
		case m.bytes != int64(t.size):
			run.WrongSize++
		}
	}
	return runs
}
