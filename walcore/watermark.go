package walcore

import (
	"fmt"
	"time"

	"github.com/warmrun/warmrun/walcore/hint"
)

// watermark is how far the relay is known to hold everything.
type watermark struct {
	Segment SegmentName `json:"segment"`
	At      time.Time   `json:"at"`
}

// Watermark is the last segment of the gap-free prefix that the disaster
// recovery node was last seen to hold; false when none was ever noted. A
// watermark that cannot be read is an error, and then nothing may be removed.
func (a *Archive) Watermark() (SegmentName, bool, error) {
	var mark watermark
	found, err := readState(a.state("watermark"), &mark)
	if err == nil && found {
		_, err = ParseSegmentName(string(mark.Segment))
	}
	if err != nil {
		return "", false, hint.Wrap(fmt.Errorf("relay watermark: %w", err),
			"remove %s: the next relay run writes it again", a.state("watermark"))
	}
	return mark.Segment, found, nil
}

// SetWatermark notes, durably, that the relay holds everything up to and
// including the segment.
func (a *Archive) SetWatermark(name SegmentName) error {
	if _, err := ParseSegmentName(string(name)); err != nil {
		return err
	}
	if err := a.prepare(); err != nil {
		return err
	}
	return writeState(a.state("watermark"), watermark{Segment: name, At: time.Now().UTC()})
}
