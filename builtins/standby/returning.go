package standby

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
)

// Lineage is the history that a running primary writes.
type Lineage struct {
	Opened
	// SystemID is in decimal digits: it passes through scripts, whose numbers have
	// too few bits for it.
	SystemID string          `json:"system_identifier"`
	History  walcore.History `json:"history"`
}

// Lineage asks the node's server, which must accept writes.
func (n Node) Lineage(ctx context.Context) (Lineage, error) {
	now, err := n.Opened(ctx)
	if err != nil {
		return Lineage{}, err
	}
	control, err := n.Server.Control()
	if err != nil {
		return Lineage{}, err
	}
	l := Lineage{Opened: now, SystemID: strconv.FormatUint(control.SystemID, 10), History: walcore.History{}}
	if now.Timeline > 1 {
		l.History, err = n.history(now.Timeline)
	}
	return l, err
}

// Way is what it takes to make a node follow a primary.
type Way string

// The ways, from the one that needs nothing.
const (
	WayFollows Way = "follows" // it does already, or will when it is started
	WayStart   Way = "start"   // everything it wrote is on the primary's history
	WayRewind  Way = "rewind"  // pg_rewind takes back what is not
	WayCopy    Way = "copy"    // a base copy over what is there, which sends what differs
)

// Return is how a node that was a primary, or went its own way, can follow.
type Return struct {
	Way Way    `json:"way"`
	Why string `json:"why"` // for people
	// Running: its server runs and has to be stopped first; Writes: as a primary.
	Running bool `json:"running"`
	Writes  bool `json:"writes"`
	// End is where its own WAL ends, Fork where the primary's history left that
	// timeline. What lies between exists nowhere else.
	End      walcore.LSN      `json:"end_lsn"`
	Timeline walcore.Timeline `json:"timeline"`
	Fork     walcore.LSN      `json:"fork"`
	// Diverged: there is such WAL.
	Diverged bool `json:"diverged"`
	// Empty: there is no data directory.
	Empty bool `json:"empty"`
}

// Returns finds the way. Of a server that runs it is what can be seen from
// outside, and a stop may show more.
func (n Node) Returns(ctx context.Context, primary Lineage) (Return, error) {
	state, err := n.Inspect(ctx)
	if err != nil {
		return Return{}, err
	}
	r := Return{Running: state.Running, Writes: state.Role == RolePrimary}
	switch {
	case state.Role == RoleEmpty:
		r.Empty, r.Way, r.Why = true, WayCopy, fmt.Sprintf("%s has no data directory yet", n.Name)
		return r, nil
	case strconv.FormatUint(state.Control.SystemID, 10) != primary.SystemID:
		return r, fmt.Errorf("%s holds another cluster (system identifier %d, the primary's is %s)", n.Server.PGData, state.Control.SystemID, primary.SystemID)
	}
	if why, err := n.HalfRewound(); err != nil || why != "" {
		r.Way, r.Why = WayCopy, why
		return r, err
	}
	at, err := n.ownEnd(ctx, state)
	if err != nil {
		r.Way, r.Why = WayCopy, fmt.Sprintf("where the WAL of %s ends cannot be told: %v", n.Name, err)
		return r, nil
	}
	r.End, r.Timeline = at.LSN, at.Timeline
	fork, onHistory := forkOf(primary, at.Timeline)
	r.Fork = fork
	switch {
	case onHistory && at.LSN <= fork && state.Role == RoleStandby:
		r.Way, r.Why = WayFollows, fmt.Sprintf("%s is in recovery at %s on timeline %d, which the primary's history has", n.Name, at.LSN, at.Timeline)
	case onHistory && at.LSN <= fork:
		r.Way, r.Why = WayStart, fmt.Sprintf("the WAL of %s ends at %s on timeline %d, and all of it is on the primary's history: it needs neither a rewind nor a copy", n.Name, at.LSN, at.Timeline)
	default:
		r.Diverged = true
		n.mend(&r, onHistory)
	}
	return r, nil
}

// mend chooses between the rewind and the copy.
func (n Node) mend(r *Return, onHistory bool) {
	what := fmt.Sprintf("%s is on timeline %d, which the primary's history does not have", n.Name, r.Timeline)
	if onHistory {
		what = fmt.Sprintf("%s has WAL of its own: it goes on to %s, and the primary left timeline %d at %s", n.Name, r.End, r.Timeline, r.Fork)
	}
	if err := n.Server.Rewindable(r.Running); err != nil {
		r.Way, r.Why = WayCopy, fmt.Sprintf("%s; pg_rewind cannot take that back, for %v", what, err)
		return
	}
	r.Way, r.Why = WayRewind, what+"; pg_rewind takes that back"
}

// ownEnd is where the node's WAL ends, as far as that can be told.
func (n Node) ownEnd(ctx context.Context, state State) (Opened, error) {
	switch {
	case state.Role == RolePrimary:
		return n.Opened(ctx)
	case state.Running:
		return n.Position(ctx)
	case state.WasPrimary():
		point, err := n.LastPoint(ctx)
		return Opened{LSN: point.End, Timeline: point.Timeline}, err
	}
	return n.Replayed(ctx)
}

// forkOf is where the primary's history left a timeline; where it writes now, on
// its own.
func forkOf(primary Lineage, timeline walcore.Timeline) (walcore.LSN, bool) {
	if timeline == primary.Timeline {
		return primary.LSN, true
	}
	return primary.History.Fork(timeline)
}

// KeepWAL copies the node's segments that hold WAL between the fork and the end, and
// their marks, into a directory, durably. It returns how many; files that were copied by
// an earlier call are left as they are.
func (n Node) KeepWAL(timeline walcore.Timeline, fork, end walcore.LSN, to string) (int, error) {
	dir := walcore.WALDir(n.Server.PGData)
	names, err := walNames(dir)
	if err != nil {
		return 0, err
	}
	control, err := n.Server.Control()
	if err != nil {
		return 0, err
	}
	first, last, kept := walcore.SegmentAt(timeline, fork, control.SegmentSize).Position(), walcore.SegmentAt(timeline, end, control.SegmentSize).Position(), 0
	for _, name := range names {
		mark := strings.HasPrefix(name, "archive_status/")
		base := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(name), ".ready"), ".done")
		file, err := walcore.ParseFileName(base)
		if err != nil || file.Timeline() < timeline {
			continue
		}
		if segment := file.Segment(); segment != "" && (segment.Position() < first || segment.Position() > last) {
			continue // behind the end they are empty, made for later
		}
		if err := keepFile(filepath.Join(dir, name), filepath.Join(to, name)); err != nil {
			return kept, fmt.Errorf("keep %s: %w", name, err)
		}
		if !mark {
			kept++
		}
	}
	return kept, nil
}

func keepFile(from, to string) error {
	if _, err := os.Stat(to); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := atomicfile.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return atomicfile.Write(to, atomicfile.Options{Perm: 0o600}, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}
