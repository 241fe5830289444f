package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"

	"github.com/warmrun/warmrun/builtins/filesync"
)

// progress tells how far a copy has come: as a bar where somebody looks at a
// terminal, else as a line every so often, so that neither a person nor a log
// is left without a sign of life. What is written through it stands above the
// bar.
type progress struct {
	out     io.Writer
	columns int           // of the terminal; 0 prints lines
	every   time.Duration // how often there is a line

	mu    sync.Mutex
	bar   *pb.ProgressBar
	shown bool
	last  time.Duration // when there was a line
}

// linesEvery is how often a line tells how far a copy has come.
const linesEvery = 15 * time.Second

// barTemplate is the bar between what has been copied, and how fast.
const barTemplate = pb.ProgressBarTemplate(`{{string . "done"}} {{bar . "[" "=" ">" " " "]"}} {{percent . "%.0f%%"}} {{string . "speed"}}`)

// show takes how far the copy has come.
func (p *progress) show(now filesync.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Elapsed < p.last {
		p.last = 0 // the next tree has begun
	}
	switch {
	case now.Done:
		p.clear()
		p.bar = nil
	case now.TotalBytes == 0:
	case p.columns > 0:
		p.draw(now)
	case now.Elapsed-p.last >= p.every:
		p.last = now.Elapsed
		fmt.Fprintf(p.out, "%s (%d %%), %s\n", amountText(now), now.Bytes*100/now.TotalBytes, speedText(now))
	}
}

func (p *progress) draw(now filesync.Progress) {
	if p.bar == nil {
		p.bar = pb.New64(now.TotalBytes).SetTemplate(barTemplate).SetWidth(p.columns)
	}
	p.bar.Set("done", amountText(now)).Set("speed", speedText(now)).SetCurrent(now.Bytes)
	p.shown = true
	fmt.Fprint(p.out, "\r"+p.bar.String()+"\x1b[K\r")
}

// clear makes room for a line.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K\r")
		p.shown = false
	}
}

// Write writes lines above the bar.
func (p *progress) Write(text []byte) (int, error) { return p.above(p.out, text) }

// above writes lines to another stream, which may lead to the same terminal.
func (p *progress) above(to io.Writer, text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return to.Write(text)
}

// amountText is how much of a copy is done.
func amountText(p filesync.Progress) string {
	return bytesText(p.Bytes) + " of " + bytesText(p.TotalBytes)
}

// speedText is how fast a copy is and how long it will take.
func speedText(p filesync.Progress) string {
	rate := float64(p.Bytes) / max(p.Elapsed.Seconds(), 0.001)
	left := "unknown"
	if rate > 0 {
		left = time.Duration(float64(p.TotalBytes-p.Bytes) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%s/s, %s left", bytesText(int64(rate)), left)
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
