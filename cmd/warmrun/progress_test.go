package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// steps are a copy of 4 GB, as its progress is told.
var steps = []filesync.Progress{
	{Elapsed: time.Second / 2}, // still listing
	{TotalBytes: 4_000_000_000, Elapsed: time.Second},
	{Bytes: 1_000_000_000, TotalBytes: 4_000_000_000, Elapsed: 10 * time.Second},
	{Bytes: 1_100_000_000, TotalBytes: 4_000_000_000, Elapsed: 11 * time.Second},
	{Bytes: 2_000_000_000, TotalBytes: 4_000_000_000, Elapsed: 20 * time.Second},
	{Bytes: 4_000_000_000, TotalBytes: 4_000_000_000, Elapsed: 40 * time.Second, Done: true},
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	lines := progress{out: &out, every: 10 * time.Second}
	for _, p := range steps {
		lines.show(p)
	}
	want := "1.0 GB of 4.0 GB (25 %), 100.0 MB/s, 30s left\n2.0 GB of 4.0 GB (50 %), 100.0 MB/s, 20s left\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestProgressBar: the bar is one line that fits the terminal, makes room for
// what is written above it, and is gone at the end.
func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	bar := progress{out: &out, columns: 70, every: time.Second}
	const wiped = "\r\x1b[K\r"
	for i, want := range []string{
		"",
		"0 B of 4.0 GB [                               ] 0% 0 B/s, unknown left",
		"1.0 GB of 4.0 GB [======>                   ] 25% 100.0 MB/s, 30s left",
		"1.1 GB of 4.0 GB [=======>                  ] 28% 100.0 MB/s, 29s left",
		"2.0 GB of 4.0 GB [============>             ] 50% 100.0 MB/s, 20s left",
	} {
		out.Reset()
		bar.show(steps[i])
		if want != "" {
			want = "\r" + want + "\x1b[K\r"
		}
		if got := out.String(); got != want {
			t.Errorf("%d: got %q, want %q", i, got, want)
		}
		if line := strings.Trim(strings.TrimSuffix(out.String(), "\x1b[K\r"), "\r"); len(line) > bar.columns {
			t.Errorf("%d: %d columns, want at most %d", i, len(line), bar.columns)
		}
	}
	out.Reset()
	if _, err := bar.Write([]byte("a name\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), wiped+"a name\n"; got != want {
		t.Errorf("above the bar: got %q, want %q", got, want)
	}
	bar.show(steps[4])
	out.Reset()
	bar.show(steps[5])
	if got := out.String(); got != wiped {
		t.Errorf("at the end: got %q, want %q", got, wiped)
	}
}
