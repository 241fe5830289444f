package walcore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// HistoryEntry is one line of a timeline history file: the timeline that was
// left, where it was left, and why, in the server's words.
type HistoryEntry struct {
	Timeline Timeline `json:"timeline"`
	End      LSN      `json:"end"` // the first byte that is no longer of this timeline
	Reason   string   `json:"reason"`
}

// History is the ancestry of a timeline, oldest first. Timeline 1 has an empty
// one and no history file.
type History []HistoryEntry

// maxHistorySize bounds what is read of a history file. A line has some 60
// bytes, so this is room for more promotions than a cluster can have.
const maxHistorySize = 4 << 20

// ParseHistory reads the history file of timeline of, by the rules of
// readTimeLineHistory in access/transam/timeline.c: lines of parent timeline,
// switch point and reason, timelines growing and all below of; comments and
// empty lines are skipped. An empty file is an empty history.
func ParseHistory(r io.Reader, of Timeline) (History, error) {
	limited := &io.LimitedReader{R: r, N: maxHistorySize + 1}
	lines := bufio.NewScanner(limited)
	var history History
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		entry, err := parseHistoryLine(text)
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", of.HistoryName(), number, err)
		}
		if n := len(history); n > 0 && entry.Timeline <= history[n-1].Timeline {
			return nil, fmt.Errorf("%s line %d: timeline %d after %d, want growing numbers", of.HistoryName(), number, uint32(entry.Timeline), uint32(history[n-1].Timeline))
		}
		if entry.Timeline >= of {
			return nil, fmt.Errorf("%s line %d: timeline %d cannot be an ancestor of %d", of.HistoryName(), number, uint32(entry.Timeline), uint32(of))
		}
		history = append(history, entry)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", of.HistoryName(), err)
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("%s is longer than %d bytes, which no history file is", of.HistoryName(), maxHistorySize)
	}
	return history, nil
}

func parseHistoryLine(text string) (HistoryEntry, error) {
	timeline, rest := cutField(text)
	point, reason := cutField(rest)
	number, err := strconv.ParseUint(timeline, 10, 32)
	if err != nil || number == 0 {
		return HistoryEntry{}, fmt.Errorf("%q is not a timeline number", timeline)
	}
	if point == "" {
		return HistoryEntry{}, errors.New("no switch point after the timeline number")
	}
	end, err := ParseLSN(point)
	if err != nil {
		return HistoryEntry{}, err
	}
	return HistoryEntry{Timeline: Timeline(number), End: end, Reason: reason}, nil
}

// cutField splits text after its first word.
func cutField(text string) (field, rest string) {
	at := strings.IndexAny(text, " \t")
	if at < 0 {
		return text, ""
	}
	return text[:at], strings.TrimLeft(text[at:], " \t")
}

// Fork is the LSN at which parent was left on the way to this timeline; false
// when parent is not among its ancestors.
func (h History) Fork(parent Timeline) (LSN, bool) {
	for _, entry := range h {
		if entry.Timeline == parent {
			return entry.End, true
		}
	}
	return 0, false
}

// Begin is where the timeline that this is the history of began: the end of
// its parent, or 0 for an empty history.
func (h History) Begin() LSN {
	if len(h) == 0 {
		return 0
	}
	return h[len(h)-1].End
}
