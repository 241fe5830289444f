package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/filesync"
)

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	lines := progressLines{out: &out, every: 10 * time.Second}
	for _, p := range []filesync.Progress{
		{Bytes: 1, TotalBytes: 4_000_000_000, Elapsed: time.Second},
		{Bytes: 1_000_000_000, TotalBytes: 4_000_000_000, Elapsed: 10 * time.Second},
		{Bytes: 1_100_000_000, TotalBytes: 4_000_000_000, Elapsed: 11 * time.Second},
		{Bytes: 2_000_000_000, TotalBytes: 4_000_000_000, Elapsed: 20 * time.Second},
		{Bytes: 4_000_000_000, TotalBytes: 4_000_000_000, Elapsed: 40 * time.Second, Done: true},
	} {
		lines.show(p)
	}
	want := "1.0 GB of 4.0 GB (25 %), 100.0 MB/s, 30s left\n2.0 GB of 4.0 GB (50 %), 100.0 MB/s, 20s left\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
