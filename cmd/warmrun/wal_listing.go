package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/warmrun/warmrun/walcore"
)

// printListing shows an archive to people.
func printListing(out io.Writer, l walcore.Listing) error {
	b := bufio.NewWriter(out)
	fmt.Fprintf(b, "archive  %s\n", l.Dir)
	if l.SegmentSize != 0 {
		unsure := ""
		if !l.Stamped {
			unsure = " (by its segments: the archive has no stamp)"
		}
		fmt.Fprintf(b, "cluster  %d, segments of %s%s\n", l.SystemID, segmentSizeText(l.SegmentSize), unsure)
	}
	fmt.Fprintf(b, "holds    %s, %s\n", counted(l.Count, "WAL file"), bytesText(l.Bytes))
	for _, t := range l.Timelines {
		fmt.Fprintf(b, "\n%s\n", timelineTitle(t))
		if err := printTimeline(b, t); err != nil {
			return err
		}
	}
	if len(l.Others) > 0 {
		fmt.Fprintf(b, "\nno WAL\n")
		printFiles(b, l.Others)
	}
	if len(l.All) > 0 {
		fmt.Fprintf(b, "\nfiles\n")
		printFiles(b, l.All)
	}
	return b.Flush()
}

func segmentSizeText(size walcore.SegmentSize) string { return fmt.Sprintf("%d MB", size>>20) }

func timelineTitle(t walcore.TimelineListing) string {
	title := fmt.Sprintf("timeline %d", uint32(t.Timeline))
	switch {
	case t.Parent != 0:
		title += fmt.Sprintf(", begun at %s on timeline %d", t.Begin, uint32(t.Parent))
	case t.HistoryError != "":
		title += ", whose history cannot be used: " + t.HistoryError
	case t.Timeline != 1:
		title += ", whose history is missing"
	}
	for _, fork := range t.Forks {
		title += fmt.Sprintf(", left at %s for timeline %d", fork.At, uint32(fork.Timeline))
	}
	return title
}

// row is one line of a timeline.
type row struct {
	at    walcore.SegmentName // its place
	cells []string
}

// printTimeline shows runs and gaps in the order of the WAL, then the rest.
func printTimeline(out io.Writer, t walcore.TimelineListing) error {
	var rows []row
	for _, run := range t.Runs {
		rows = append(rows, runRow(run))
	}
	for _, gap := range t.Gaps {
		word := "MISSING"
		if t.Own {
			word = "elsewhere" // this node wrote them
		}
		rows = append(rows, row{gap.First, []string{word, fromTo(gap.First, gap.Last), counted(gap.Segments, "segment")}})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.at, b.at) })
	for _, p := range t.Provisional {
		rows = append(rows, row{cells: []string{"provisional", string(p.Segment), "valid up to " + p.End.String()}})
	}
	if t.History {
		rows = append(rows, row{cells: []string{"history", string(t.Timeline.HistoryName())}})
	}
	for _, name := range t.Partials {
		rows = append(rows, row{cells: []string{"partial", string(name)}})
	}
	for _, name := range t.Backups {
		rows = append(rows, row{cells: []string{"backup", string(name)}})
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "  %s\n", strings.Join(r.cells, "\t"))
	}
	return w.Flush()
}

func runRow(run walcore.Run) row {
	kind, remark := "segments", ""
	switch {
	case run.PastFork:
		kind = "past fork"
	case run.BeforeBegin:
		kind = "TOO EARLY"
	}
	if run.Packed > 0 {
		remark = ", all compressed"
		if run.Packed < run.Segments {
			remark = fmt.Sprintf(", %d compressed", run.Packed)
		}
	}
	if run.WrongSize > 0 {
		remark += fmt.Sprintf(", %d OF WRONG SIZE", run.WrongSize)
	}
	return row{run.First, []string{kind, fromTo(run.First, run.Last), counted(run.Segments, "segment") + remark,
		bytesText(run.Bytes), fmt.Sprintf("%s to %s", run.Start, run.End)}}
}

// printFiles lists files one by one.
func printFiles(out io.Writer, files []walcore.ListedFile) {
	for _, f := range files {
		fmt.Fprintf(out, "  %-40s  %-7s  %10d  %s\n", f.Stored(), f.Kind, f.Bytes, f.Modified.Local().Format("2006-01-02 15:04:05"))
	}
}
