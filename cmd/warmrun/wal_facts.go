package main

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/warmrun/warmrun/walcore"
)

// table collects lines of a title and a value.
type table struct {
	buffer bytes.Buffer
	*tabwriter.Writer
}

func newTable() *table {
	t := &table{}
	t.Writer = tabwriter.NewWriter(&t.buffer, 0, 8, 2, ' ', 0)
	return t
}

func (t *table) row(title, value string, args ...any) {
	fmt.Fprintf(t, "%s\t"+value+"\n", append([]any{title}, args...)...)
}

func (t *table) print(out io.Writer) error {
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := t.buffer.WriteTo(out)
	return err
}

// printFacts shows one WAL file to people.
func printFacts(out io.Writer, f walcore.FileFacts) error {
	t := newTable()
	t.row("file", "%s", f.Path)
	switch {
	case f.Renamed && f.Segment != nil:
		t.row("segment", "%s, by its header", f.Name)
	case f.Kind == walcore.KindPartial:
		t.row("segment", "%s, of which a server that left its timeline wrote a part", f.Name.Segment())
	}
	t.row("bytes", "%d", f.Bytes)
	if f.Form.Packs() {
		t.row("stored", "%d bytes of %s frames", f.Stored, f.Form)
	}
	switch {
	case f.Segment != nil:
		segmentRows(t, f.Segment)
	case f.History != nil:
		historyRows(t, f.History)
	case f.Backup != nil:
		backupRows(t, f.Backup)
	}
	return t.print(out)
}

func segmentRows(t *table, s *walcore.SegmentFacts) {
	if s.SegmentSize != 0 {
		t.row("cluster", "%d", s.SystemID)
		major := "an unknown version"
		if s.Major != "" {
			major = s.Major
		}
		t.row("written by", "PostgreSQL %s (page magic %s)", major, s.Magic)
		t.row("segment size", "%s, pages of %d bytes", segmentSizeText(s.SegmentSize), s.BlockSize)
		t.row("first page", "timeline %d, address %s", uint32(s.Timeline), s.Address)
		t.row("LSN range", "%s to %s", s.Start, s.End)
	}
	if s.Wrong != "" {
		t.row("wrong", "%s", s.Wrong)
	}
	if s.Ending == walcore.EndingUnknown {
		if s.Detail != "" {
			t.row("records", "unknown: %s", s.Detail)
		}
		return
	}
	switch {
	case s.Records > 0:
		t.row("records", "%d, from %s; the last at %s (%s)", s.Records, s.FirstRecord, s.LastRecord, s.LastKind)
	default:
		t.row("records", "none begins and ends here")
	}
	t.row("valid up to", "%s", endingText(s))
	if s.Provisional != 0 {
		t.row("provisional", "up to %s; the whole segment may still come", s.Provisional)
	}
}

// endingText says where the valid records of a segment end, and why.
func endingText(s *walcore.SegmentFacts) string {
	why := ""
	switch s.Ending {
	case walcore.EndingFull:
		why = "the segment's last byte"
		if s.RunsOn {
			why += ", and on into the next segment"
		}
	case walcore.EndingSwitch:
		why = "a WAL switch; the rest is unused"
	case walcore.EndingShutdown:
		why = "a shutdown checkpoint; nothing was written after it"
	case walcore.EndingUnused:
		why = "only zeros follow"
	case walcore.EndingRecycled:
		why = fmt.Sprintf("what follows is from an older use of the file, or torn (%s)", s.Detail)
	case walcore.EndingCut:
		why = "the file is CUT OFF there"
	case walcore.EndingDamaged:
		why = fmt.Sprintf("DAMAGED there, WAL goes on beyond (%s)", s.Detail)
	}
	return fmt.Sprintf("%s: %s", s.ValidEnd, why)
}

func historyRows(t *table, h *walcore.HistoryFacts) {
	t.row("timeline", "%d", uint32(h.Timeline))
	if len(h.Entries) == 0 {
		t.row("wrong", "it names no timeline that this one came from")
	}
	for i, entry := range h.Entries {
		next := h.Timeline
		if i+1 < len(h.Entries) {
			next = h.Entries[i+1].Timeline
		}
		t.row("", "timeline %d was left at %s for timeline %d: %s", uint32(entry.Timeline), entry.End, uint32(next), entry.Reason)
	}
}

func backupRows(t *table, b *walcore.BackupLabel) {
	t.row("label", "%s", b.Label)
	t.row("begun", "%s at %s in %s, timeline %d", b.StartTime, b.StartLSN, b.StartSegment, uint32(b.StartTimeline))
	t.row("checkpoint", "%s", b.CheckpointLSN)
	if b.StopSegment != "" {
		t.row("ended", "%s at %s in %s, timeline %d", b.StopTime, b.StopLSN, b.StopSegment, uint32(b.StopTimeline))
	} else {
		t.row("ended", "not said: it is the label in a base copy")
	}
	t.row("method", "%s, from the %s", b.Method, b.From)
	if b.IncrementalLSN != 0 {
		t.row("incremental", "from %s", b.IncrementalLSN)
	}
}
