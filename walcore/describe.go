package walcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/warmrun/warmrun/walcore/packed"
)

// FileFacts is what one file holds. One of Segment, History and Backup is set,
// by its kind.
type FileFacts struct {
	Path  string   `json:"path"`
	Name  FileName `json:"name"` // of the file, or what its header says that it should be
	Kind  Kind     `json:"kind"`
	Bytes int64    `json:"bytes"`
	// Form is that of a packed segment; Bytes is what it holds, Stored what it
	// takes.
	Form   packed.Form `json:"compress,omitempty"`
	Stored int64       `json:"stored_bytes,omitempty"`
	// Renamed: the file has the name of no WAL file; Name is from its content.
	Renamed bool `json:"renamed,omitempty"`

	Segment *SegmentFacts `json:"segment,omitempty"`
	History *HistoryFacts `json:"history,omitempty"`
	Backup  *BackupLabel  `json:"backup,omitempty"`
}

// HistoryFacts is a history file.
type HistoryFacts struct {
	Timeline Timeline `json:"timeline"`
	Entries  History  `json:"entries"`
}

// Describe reads one file of the archive. What the file says is part of the
// answer, also that it says nothing; only failing to read it is an error.
func (a *Archive) Describe(ctx context.Context, name FileName) (FileFacts, error) {
	f, end, err := a.OpenWithEnd(name)
	if err != nil {
		return FileFacts{}, err
	}
	facts, err := describe(ctx, f, name, end)
	if err := errors.Join(err, f.Close()); err != nil {
		return facts, err
	}
	return facts, facts.lookAtStored()
}

// lookAtStored adds how a packed segment is stored; a plain file's path says it.
func (f *FileFacts) lookAtStored() error {
	_, form := packed.Split(f.Path)
	if !form.Packs() {
		return nil
	}
	info, err := os.Stat(f.Path)
	if err != nil {
		return err
	}
	f.Form, f.Stored = form, info.Size()
	return nil
}

// DescribeFile is Describe for a file anywhere: in another archive, in pg_wal,
// or under a name of its own, which its content then tells.
func DescribeFile(ctx context.Context, path string) (FileFacts, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return FileFacts{}, err
	}
	if name, _, err := parseStored(filepath.Base(abs)); err == nil {
		a, err := OpenArchive(filepath.Dir(abs))
		if err != nil {
			return FileFacts{}, err
		}
		return a.Describe(ctx, name)
	}
	f, err := os.Open(abs)
	if err != nil {
		return FileFacts{}, err
	}
	facts, err := describeRenamed(ctx, f)
	return facts, errors.Join(err, f.Close())
}

func describe(ctx context.Context, f *os.File, name FileName, provisional LSN) (FileFacts, error) {
	info, err := f.Stat()
	if err != nil {
		return FileFacts{}, err
	}
	facts := FileFacts{Path: f.Name(), Name: name, Kind: name.Kind(), Bytes: info.Size()}
	switch facts.Kind {
	case KindHistory:
		history, err := ParseHistory(f, name.Timeline())
		facts.History = &HistoryFacts{name.Timeline(), append(History{}, history...)}
		return facts, err
	case KindBackup:
		label, err := ParseBackupLabel(f)
		facts.Backup = &label
		return facts, err
	}
	facts.Segment, err = describeSegment(ctx, f, name.Segment(), facts.Bytes)
	facts.Segment.Provisional = provisional
	return facts, err
}

// describeRenamed finds out what a file is by its content.
func describeRenamed(ctx context.Context, f *os.File) (FileFacts, error) {
	header, err := ReadPageHeader(f)
	if err == nil {
		name := SegmentAt(header.Timeline, header.Address, header.SegmentSize)
		facts, err := describe(ctx, f, FileName(name), 0)
		facts.Renamed = true
		return facts, err
	}
	label, labelErr := ParseBackupLabel(io.NewSectionReader(f, 0, maxLabelSize))
	if labelErr != nil {
		return FileFacts{}, fmt.Errorf("%s is no WAL file: it has the name of none, and %w", f.Name(), err)
	}
	info, err := f.Stat()
	if err != nil {
		return FileFacts{}, err
	}
	return FileFacts{Path: f.Name(), Name: FileName(filepath.Base(f.Name())), Kind: KindBackup, Bytes: info.Size(), Renamed: true, Backup: &label}, nil
}
