package walcore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDescribeSegment(t *testing.T) {
	build := func(end func(b *walBuilder)) []byte {
		b := newWAL(4)
		for range 10 {
			b.other(9000)
		}
		end(b)
		return b.segment(0)
	}
	unfinished := build(func(b *walBuilder) {})
	full := build(func(b *walBuilder) { b.fill(64, true); b.other(40) })
	runsOn := build(func(b *walBuilder) { b.fill(64, true); b.other(400) })
	flipped := bytes.Clone(full)
	flipped[40_000] ^= 1
	recycled := bytes.Clone(unfinished)
	old := newWAL(1)
	old.fill(64, true)
	copy(recycled[200_000:], old.segment(0)[200_000:])
	renumbered := bytes.Clone(full)
	renumbered[8] ^= 0x80 // part of the address

	tests := []struct {
		name    string
		content []byte
		ending  Ending
		runsOn  bool
		detail  string
		wrong   string
	}{
		{"full", full, EndingFull, false, "", ""},
		{"running on", runsOn, EndingFull, true, "", ""},
		{"ended by a switch", build(func(b *walBuilder) { b.switchSegment() }), EndingSwitch, false, "", ""},
		{"shut down", build(func(b *walBuilder) { b.shutdown() }), EndingShutdown, false, "a record of length 0", ""},
		{"unfinished", unfinished, EndingUnused, false, "a record of length 0", ""},
		{"recycled", recycled, EndingRecycled, false, "a record of length 0", ""},
		{"damaged", flipped, EndingDamaged, false, "checksum does not match", ""},
		{"cut off", full[:100_000], EndingCut, false, "too short", "it has 100000 bytes"},
		{"with another address", renumbered, EndingUnknown, false, "", "is not the start of a segment"},
		{"zeros", make([]byte, 1<<20), EndingUnknown, false, "", "all zeros"},
		{"empty", nil, EndingUnknown, false, "", "too few"},
		{"no WAL", bytes.Repeat([]byte("x"), 1<<20), EndingUnknown, false, "", "no WAL segment"},
	}
	name := newWAL(4).name(0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), string(name))
			writeFile(t, path, tt.content)
			facts, err := DescribeFile(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			s := facts.Segment
			if s.Ending != tt.ending || s.RunsOn != tt.runsOn || !strings.Contains(s.Detail, tt.detail) || (tt.detail == "") != (s.Detail == "") {
				t.Errorf("got ending %q (%s), running on %v, want %q (%s), %v", s.Ending, s.Detail, s.RunsOn, tt.ending, tt.detail, tt.runsOn)
			}
			if !strings.Contains(s.Wrong, tt.wrong) || (tt.wrong == "") != (s.Wrong == "") {
				t.Errorf("got wrong %q, want %q", s.Wrong, tt.wrong)
			}
			if tt.ending != EndingUnknown && (s.SystemID != testSystemID || s.Major != "15" || s.Start != name.Start(1<<20) || s.Records == 0) {
				t.Errorf("got %+v, want the header of PostgreSQL 15 and some records", s)
			}
		})
	}
}

func TestDescribeFile(t *testing.T) {
	dir := t.TempDir()
	b := newWAL(4)
	b.other(10)
	label := "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\nLABEL: nightly\n"
	for name, content := range map[string]string{
		"RECOVERYXLOG": string(b.segment(0)), "00000003.history": "1\t0/5000000\tone\n2\t0/6000000\ttwo\n",
		"backup_label": label, "00000001000000000000000A.partial": string(b.segment(0)), "notes": "x", "00000004.history": "x",
	} {
		writeFile(t, filepath.Join(dir, name), []byte(content))
	}
	facts := func(name string) (FileFacts, error) { return DescribeFile(t.Context(), filepath.Join(dir, name)) }

	if f, err := facts("RECOVERYXLOG"); err != nil || !f.Renamed || f.Name != FileName(b.name(0)) || f.Segment.Records != 1 {
		t.Errorf("a segment of another name: got %+v, %v, want %s", f, err, b.name(0))
	}
	if f, err := facts("00000003.history"); err != nil || len(f.History.Entries) != 2 || f.History.Entries[1].End != 0x6000000 {
		t.Errorf("a history: got %+v, %v", f, err)
	}
	if f, err := facts("backup_label"); err != nil || f.Backup == nil || f.Backup.Label != "nightly" {
		t.Errorf("a backup label: got %+v, %v", f, err)
	}
	if f, err := facts("00000001000000000000000A.partial"); err != nil || !strings.Contains(f.Segment.Wrong, "address") {
		t.Errorf("a partial of another segment: got %+v, %v", f, err)
	}
	for _, name := range []string{"notes", "00000004.history"} {
		if f, err := facts(name); err == nil {
			t.Errorf("%s: got %+v, want an error", name, f)
		}
	}
	if _, err := facts("nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	if _, err := facts("000000010000000000000009"); !errors.Is(err, ErrNotArchived) {
		t.Errorf("no such segment: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := DescribeFile(ctx, filepath.Join(dir, "RECOVERYXLOG")); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled context: got %v", err)
	}
}

func TestMajorOf(t *testing.T) {
	for magic, want := range map[uint16]string{0xD110: "15", 0xD097: "10", 0xD118: "18", 0xD07E: "9.4", 0xD111: ""} {
		if got := MajorOf(magic); got != want {
			t.Errorf("MajorOf(%04X): got %q, want %q", magic, got, want)
		}
	}
}
