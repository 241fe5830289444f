package main

import (
	"fmt"
	"io"
	"time"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// progressLines prints a line on how far a long copy has come, every so often,
// so that neither a person nor a log is left without a sign of life.
type progressLines struct {
	out   io.Writer
	every time.Duration
	last  time.Duration
}

func (l *progressLines) show(p filesync.Progress) {
	if p.Elapsed < l.last {
		l.last = 0 // the next tree has begun
	}
	if p.Done || p.Elapsed-l.last < l.every || p.TotalBytes == 0 {
		return
	}
	l.last = p.Elapsed
	rate := float64(p.Bytes) / p.Elapsed.Seconds()
	left := "unknown"
	if rate > 0 {
		left = time.Duration(float64(p.TotalBytes-p.Bytes) / rate * float64(time.Second)).Round(time.Second).String()
	}
	fmt.Fprintf(l.out, "%s of %s (%d %%), %s/s, %s left\n", bytesText(p.Bytes), bytesText(p.TotalBytes),
		p.Bytes*100/p.TotalBytes, bytesText(int64(rate)), left)
}

// bytesText prints a number of bytes in the unit that suits it.
func bytesText(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if value < 1000 {
			break
		}
		value, unit = value/1000, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
