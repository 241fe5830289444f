package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

func TestVerifyLine(t *testing.T) {
	var out bytes.Buffer
	line := verifyLine{out: &out, begun: time.Now().Add(-10 * time.Second)}
	line.show(walcore.VerifyProgress{Segments: 10, TotalSegments: 40, Bytes: 1_000_000_000, TotalBytes: 4_000_000_000})
	line.show(walcore.VerifyProgress{Segments: 11, TotalSegments: 40}) // too soon
	line.clear()
	line.clear()
	if got, want := out.String(), "\r\033[K10 of 40 segments, 1.0 GB of 4.0 GB, 100.0 MB/s, 30s left\r\033[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	silent := verifyLine{out: &out, silent: true, begun: line.begun}
	out.Reset()
	silent.show(walcore.VerifyProgress{Segments: 10, TotalSegments: 40, Bytes: 1, TotalBytes: 4})
	silent.clear()
	if out.Len() > 0 {
		t.Errorf("where nobody looks: got %q", out.String())
	}
}

func TestSummary(t *testing.T) {
	report := walcore.VerifyReport{
		Dir: "/a", Timelines: []walcore.Timeline{3}, Segments: 1, Bytes: 16 << 20, Records: 1,
		First: "000000030000000000000001", Last: "000000030000000000000001",
	}
	if got, want := summary(report, time.Second), "/a: 1 segment of timeline 3 (000000030000000000000001), 16.8 MB, 1 record, in 1s (16.8 MB/s): all is well"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	report.Findings = make([]walcore.Finding, 2)
	if got := summary(report, time.Second); !strings.HasSuffix(got, ": 2 findings") {
		t.Errorf("got %q, want two findings at its end", got)
	}
	if got, want := summary(walcore.VerifyReport{Dir: "/a"}, time.Second), "/a: no segment was there to be checked: all is well"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
