package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/warmrun/warmrun/walcore"
)

// DrillFile is the name, in the local part of a home directory, of the note of
// the last drill.
const DrillFile = "drill.json"

// Drill is how the last drill on a node went.
type Drill struct {
	At time.Time `json:"at"`
	OK bool      `json:"ok"`
	// Why is what was wrong.
	Why string `json:"why,omitempty"`
	// Seconds is how long the recovery took, from the first byte copied to a
	// server that accepts connections.
	Seconds float64     `json:"seconds,omitempty"`
	Backup  string      `json:"backup,omitempty"`
	LSN     walcore.LSN `json:"lsn,omitzero"` // replayed up to here
}

// Kept is the base copies that a node keeps.
type Kept struct {
	Good   int       `json:"good"`
	Newest time.Time `json:"newest,omitzero"` // when the newest good one was complete
}

// keeping looks at what the node keeps for recoveries.
func (l *look) keeping() {
	data, err := os.ReadFile(l.DrillPath)
	if err == nil {
		var drill Drill
		if err = json.Unmarshal(data, &drill); err == nil {
			l.n.Drill = &drill
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && l.DrillPath != "" {
		l.n.unknown(err, "drill")
	}
	if l.n.follows() {
		l.n.Delay = l.Node.Delay.String()
	}
	if l.Kept == nil {
		return
	}
	kept, err := l.Kept()
	if err != nil {
		l.n.unknown(err, "base_copies")
	}
	if kept.Good > 0 {
		l.n.BaseCopies = &kept
	}
}

func copiesCell(n NodeStatus) string {
	if n.BaseCopies == nil {
		return ""
	}
	return fmt.Sprintf("%d, newest %s", n.BaseCopies.Good, n.BaseCopies.Newest.UTC().Format("2006-01-02 15:04Z"))
}

func drillCell(n NodeStatus) string {
	switch {
	case n.Drill == nil:
		return ""
	case !n.Drill.OK:
		return fmt.Sprintf("FAILED %s", n.Drill.At.UTC().Format("2006-01-02 15:04Z"))
	}
	took := time.Duration(n.Drill.Seconds * float64(time.Second)).Round(100 * time.Millisecond)
	return fmt.Sprintf("%s, took %s", n.Drill.At.UTC().Format("2006-01-02 15:04Z"), took)
}

// delayCell says how far a node is behind on purpose.
func delayCell(n NodeStatus) string {
	switch {
	case n.ReplayPaused && n.Delay != "":
		return n.Delay + ", paused"
	case n.ReplayPaused:
		return "paused"
	}
	return n.Delay
}
