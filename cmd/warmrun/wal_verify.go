package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// verifyLine is one line on a terminal that says how far a check has come.
type verifyLine struct {
	out    io.Writer
	silent bool // nobody looks
	begun  time.Time
	last   time.Time
	shown  bool
}

// linePause is how often the line changes.
const linePause = 200 * time.Millisecond

func (l *verifyLine) show(p walcore.VerifyProgress) {
	now := time.Now()
	if l.silent || now.Sub(l.last) < linePause {
		return
	}
	l.last, l.shown = now, true
	rate := float64(p.Bytes) / now.Sub(l.begun).Seconds()
	left := ""
	if rate > 0 {
		left = ", " + time.Duration(float64(p.TotalBytes-p.Bytes)/rate*float64(time.Second)).Round(time.Second).String() + " left"
	}
	fmt.Fprintf(l.out, "\r\033[K%d of %d segments, %s of %s, %s/s%s", p.Segments, p.TotalSegments,
		bytesText(p.Bytes), bytesText(p.TotalBytes), bytesText(int64(rate)), left)
}

// clear makes room for another line.
func (l *verifyLine) clear() {
	if l.shown {
		fmt.Fprint(l.out, "\r\033[K")
		l.shown = false
	}
}

// summary is the last line of a check.
func summary(r walcore.VerifyReport, took time.Duration) string {
	verdict := "all is well"
	if n := len(r.Findings); n > 0 {
		verdict = counted(n, "finding")
	}
	if r.Segments == 0 {
		return fmt.Sprintf("%s: no segment was there to be checked: %s", r.Dir, verdict)
	}
	timelines := make([]string, len(r.Timelines))
	for i, t := range r.Timelines {
		timelines[i] = fmt.Sprint(uint32(t))
	}
	word := "timeline"
	if len(timelines) > 1 {
		word = "timelines"
	}
	return fmt.Sprintf("%s: %s of %s %s (%s), %s, %s, in %s (%s/s): %s", r.Dir, counted(r.Segments, "segment"),
		word, strings.Join(timelines, ", "), fromTo(r.First, r.Last), bytesText(r.Bytes), counted(r.Records, "record"),
		took.Round(time.Millisecond), bytesText(int64(float64(r.Bytes)/took.Seconds())), verdict)
}

// counted is a number with its noun.
func counted[N int | uint64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// fromTo is a run of segments.
func fromTo(first, last walcore.SegmentName) string {
	if first == last {
		return string(first)
	}
	return fmt.Sprintf("%s .. %s", first, last)
}
