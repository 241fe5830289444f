package walcore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// BackupLabel is what backup_label in a base copy says of the backup, or, when
// the backup has ended, the .backup file that the server archives
// (build_backup_content in access/transam/xlogbackup.c). Times are in the
// server's words and time zone.
type BackupLabel struct {
	StartLSN       LSN         `json:"start_lsn"`
	StartSegment   SegmentName `json:"start_segment"`
	StopLSN        LSN         `json:"stop_lsn"`     // zero in a backup_label
	StopSegment    SegmentName `json:"stop_segment"` // empty in a backup_label
	CheckpointLSN  LSN         `json:"checkpoint_lsn"`
	StartTimeline  Timeline    `json:"start_timeline"`
	StopTimeline   Timeline    `json:"stop_timeline"`
	Label          string      `json:"label"`
	StartTime      string      `json:"start_time"`
	StopTime       string      `json:"stop_time"`
	Method         string      `json:"method"`          // "streamed", or "pg_start_backup" (exclusive)
	From           string      `json:"from"`            // "primary" ("master" before 14) or "standby"
	IncrementalLSN LSN         `json:"incremental_lsn"` // zero unless it is an incremental backup (17 on)
}

// maxLabelSize bounds what is read of a label: the label text itself is at
// most a path long (MAXPGPATH).
const maxLabelSize = 64 << 10

// ParseBackupLabel reads a backup_label or an archived .backup file. Lines that
// later servers may add are skipped; START WAL LOCATION must be there.
func ParseBackupLabel(r io.Reader) (BackupLabel, error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxLabelSize))
	var b BackupLabel
	seen := map[string]bool{}
	for number := 1; lines.Scan(); number++ {
		key, value, ok := strings.Cut(strings.TrimSuffix(lines.Text(), "\r"), ": ")
		if !ok || seen[key] {
			continue
		}
		seen[key] = true
		if err := b.set(key, value); err != nil {
			return BackupLabel{}, fmt.Errorf("backup label line %d: %s: %w", number, key, err)
		}
	}
	if err := lines.Err(); err != nil {
		return BackupLabel{}, fmt.Errorf("read the backup label: %w", err)
	}
	if b.StartSegment == "" {
		return BackupLabel{}, errors.New("no backup label: it has no line START WAL LOCATION")
	}
	named := b.StartSegment.Timeline()
	if b.StartTimeline == 0 {
		b.StartTimeline = named // written from 11 on
	}
	if b.StartTimeline != named || named == 0 {
		return BackupLabel{}, fmt.Errorf("backup label: it starts on timeline %d, in segment %s of timeline %d", uint32(b.StartTimeline), b.StartSegment, uint32(named))
	}
	return b, nil
}

func (b *BackupLabel) set(key, value string) (err error) {
	switch key {
	case "START WAL LOCATION":
		b.StartLSN, b.StartSegment, err = parseLocation(value)
	case "STOP WAL LOCATION":
		b.StopLSN, b.StopSegment, err = parseLocation(value)
	case "CHECKPOINT LOCATION":
		b.CheckpointLSN, err = ParseLSN(value)
	case "INCREMENTAL FROM LSN":
		b.IncrementalLSN, err = ParseLSN(value)
	case "START TIMELINE":
		b.StartTimeline, err = parseTimeline(value)
	case "STOP TIMELINE":
		b.StopTimeline, err = parseTimeline(value)
	case "BACKUP METHOD":
		b.Method = value
	case "BACKUP FROM":
		b.From = value
	case "START TIME":
		b.StartTime = value
	case "STOP TIME":
		b.StopTime = value
	case "LABEL":
		b.Label = value
	}
	return err
}

// parseLocation reads "0/2000028 (file 000000010000000000000002)".
func parseLocation(value string) (LSN, SegmentName, error) {
	point, file, ok := strings.Cut(value, " (file ")
	name, closed := strings.CutSuffix(file, ")")
	if !ok || !closed {
		return 0, "", fmt.Errorf("%q is not a location: want an LSN and a file in parentheses", value)
	}
	lsn, err := ParseLSN(point)
	if err != nil {
		return 0, "", err
	}
	segment, err := ParseSegmentName(name)
	return lsn, segment, err
}

func parseTimeline(value string) (Timeline, error) {
	number, err := strconv.ParseUint(value, 10, 32)
	if err != nil || number == 0 {
		return 0, fmt.Errorf("%q is not a timeline number", value)
	}
	return Timeline(number), nil
}
